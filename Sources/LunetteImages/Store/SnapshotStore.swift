internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// Keeps each layer unpacked once, as `<root>/snapshots/<diff id's hex>/fs`; half-made ones have names that begin with `.new-`.
final class SnapshotStore: Sendable {
    let directory: Directory
    let path: String

    init(root: Directory, path: String) throws(SystemCallError) {
        directory = try root.makeDirectory("snapshots")
        self.path = path + "/snapshots"
    }

    /// A layer that is unpacked but not yet in its place.
    struct Pending: Sendable {
        var name: String
        /// What it becomes.
        var final: String
        var folder: Directory
    }

    func path(of name: String) -> String { "\(path)/\(name)/fs" }

    func has(_ name: String) throws(LunetteError) -> Bool {
        try atBorder("look for snapshot \(name.prefix(12))") { () throws(SystemCallError) in try directory.exists(name) }
    }

    func begin(_ final: String) throws(LunetteError) -> Pending {
        let name = ".new-\(final.prefix(12))-\(UInt64.random(in: 0...UInt64.max))"
        return try atBorder("make snapshot \(final.prefix(12))") { () throws(SystemCallError) in
            Pending(name: name, final: final, folder: try directory.makeDirectory(name).makeDirectory("fs"))
        }
    }

    /// Notes beside the tree what its tar told: the bytes of its files, and which folders no entry described (`""` is the root).
    func note(_ report: UnpackedLayer, of pending: Pending) throws(LunetteError) {
        let implied = Array(report.implied.joined(separator: "\0").utf8)
        try atBorder("note snapshot \(pending.final.prefix(12))") { () throws(SystemCallError) in
            let folder = try directory.openDirectory(pending.name)
            try folder.write("size", Array(String(report.bytes).utf8))
            if !report.implied.isEmpty { try folder.write("implied", implied) }
        }
    }

    /// Bytes of a layer's files; 0 when the layer isn't there.
    func size(of name: String) throws(LunetteError) -> Int64 {
        let bytes = try atBorder("read snapshot \(name.prefix(12))") { () throws(SystemCallError) in
            try directory.read("\(name)/size", limit: 64)
        }
        return bytes.flatMap { Int64(String(decoding: $0, as: UTF8.self)) } ?? 0
    }

    /// - Returns: the folders that no entry of the layer described.
    func implied(of name: String) throws(LunetteError) -> [String] {
        let bytes = try atBorder("read snapshot \(name.prefix(12))") { () throws(SystemCallError) in
            try directory.openDirectory(name).read("implied", limit: 64 << 20)
        }
        guard let bytes else { return [] }
        return bytes.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Moves a whole layer to its place; one that another pull put there meanwhile is as good.
    func publish(_ pending: Pending) throws(LunetteError) {
        do throws(SystemCallError) {
            try directory.rename(pending.name, to: pending.final, exclusive: true)
        } catch {
            guard error.errno == ErrorNumber.exists || error.errno == ErrorNumber.notEmpty else { throw error.lunette }
            discard(pending)
        }
    }

    func discard(_ pending: Pending) {
        // Best effort: what stays is swept when the store is opened.
        try? directory.removeTree(pending.name)
    }

    /// Takes a snapshot out of sight in one step, then removes it.
    func remove(_ name: String) throws(LunetteError) {
        let doomed = ".old-\(name)"
        try atBorder("remove snapshot \(name.prefix(12))") { () throws(SystemCallError) in
            guard try directory.exists(name) else { return }
            try directory.removeTree(doomed)
            try directory.rename(name, to: doomed)
            try directory.removeTree(doomed)
        }
    }

    func all() throws(LunetteError) -> [String] {
        try atBorder("list snapshots") { () throws(SystemCallError) in try directory.entries() }
    }

    /// Waits until everything written below the store is on the disk.
    func synchronize() throws(LunetteError) {
        let result = lnt_host_syncfs(directory.descriptor.number)
        if result < 0 {
            throw LunetteError(errorCode(forErrno: -result), "write the unpacked layers to disk: \(errnoText(-result))", errno: -result)
        }
    }
}
