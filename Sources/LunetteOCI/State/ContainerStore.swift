internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// All containers below one root: a folder each, named by the id.
///
/// ```
/// <root>/                 0700
///   <id>/state.json       the record           config.json   the bundle's, as it was at create
///   <id>/gate.sock        the start gate, until it has been opened
///   .seccomp/             compiled filters by digest        .gone.…  a folder that is just being removed
/// ```
/// One command at a time makes, starts or removes a container: it holds flock(2) on the folder, which the kernel lets go with a killed process.
struct ContainerStore: Sendable {
    let root: String

    static let seccompFolder = ".seccomp"
    static let gonePrefix = ".gone."

    /// Makes the folder of a new container and holds it.
    /// - Throws: `already_exists`.
    func make(_ id: String) throws(LunetteError) -> HeldFolder {
        do throws(SystemCallError) {
            let store = try Directory(making: root)
            try check(lnt_host_mkdirat(store.descriptor.number, id, 0o700), "make directory", "\(root)/\(id)")
            let folder = try store.openDirectory(id)
            guard let held = try HeldFolder(folder, wait: false) else {
                // Somebody deletes what isn't there yet: they won.
                throw SystemCallError("lock", folder.label, errno: ErrorNumber.again)
            }
            return held
        } catch {
            if error.errno == ErrorNumber.exists {
                throw LunetteError(
                    .alreadyExists, "create container \(id): container with given ID already exists", target: id,
                    hint: "delete it, or take another id")
            }
            throw error.lunette
        }
    }

    /// - Throws: `not_found`.
    func find(_ id: String) throws(LunetteError) -> Container {
        guard let folder = try folder(id) else { throw Self.unknown(id) }
        return try Container(folder, store: self)
    }

    /// A container that isn't just being created: `run` writes down what there is while its program runs already, so whoever has seen the program may
    /// come a moment early. Waits two seconds at most, for a `create` may take as long as its hooks like.
    /// - Throws: `not_found`.
    func findSettled(_ id: String) throws(LunetteError) -> Container {
        let deadline = SystemClock.monotonic + 2
        while true {
            let container = try find(id)
            guard container.record.phase == .creating, container.record.creator.isAlive, SystemClock.monotonic < deadline else {
                return container
            }
            SystemClock.block(seconds: 0.005)
        }
    }

    /// The folder of a container, held; waits for whoever holds it.
    /// - Throws: `not_found` also when it went while waiting.
    func hold(_ id: String, to operation: String) throws(LunetteError) -> HeldFolder {
        guard let folder = try folder(id) else { throw Self.unknown(id) }
        try refuseCreating(folder, id, operation)
        return try hold(folder, id)
    }

    /// A `create` may take as long as its hooks like: nobody waits for that.
    func refuseCreating(_ folder: Directory, _ id: String, _ operation: String) throws(LunetteError) {
        // Without a record, or with a damaged one, whoever asks finds out more below.
        guard let container = try? Container(folder, store: self), container.record.phase == .creating, container.record.creator.isAlive
        else { return }
        throw LunetteError(
            .invalidState, "\(operation) container \(id): it is just being created", target: id,
            hint: operation == "delete" ? "lunette-oci delete --force \(id) ends that" : nil)
    }

    func hold(_ folder: Directory, _ id: String) throws(LunetteError) -> HeldFolder {
        while true { if let held = try hold(folder, id, patience: nil) { return held } }
    }

    /// - Parameter seconds: nil waits however long it takes.
    /// - Returns: nil when somebody holds it all that time.
    func hold(_ folder: Directory, _ id: String, patience seconds: Double?) throws(LunetteError) -> HeldFolder? {
        let deadline = SystemClock.monotonic + (seconds ?? 0)
        do throws(SystemCallError) {
            while true {
                if let held = try HeldFolder(folder, wait: seconds == nil) {
                    guard try isThere(folder, id) else { throw SystemCallError("lock", folder.label, errno: ErrorNumber.noEntry) }
                    return held
                }
                guard SystemClock.monotonic < deadline else { return nil }
                SystemClock.block(seconds: 0.01)
            }
        } catch {
            if error.errno == ErrorNumber.noEntry { throw Self.unknown(id) }
            throw error.lunette
        }
    }

    /// Whether that folder is still the container's: it may have been taken away, and another may be there under the same name.
    func isThere(_ folder: Directory, _ id: String) throws(SystemCallError) -> Bool {
        var now = lnt_host_stat()
        var mine = lnt_host_stat()
        try check(lnt_host_stat(folder.descriptor.number, "", 0x1000, &mine), "stat", folder.label)
        return lnt_host_stat(-100, "\(root)/\(id)", 0x100, &now) == 0 && now.inode == mine.inode && now.device == mine.device
    }

    /// The folder, whatever is in it; nil when there is none.
    func folder(_ id: String) throws(LunetteError) -> Directory? {
        do throws(SystemCallError) { return try Directory("\(root)/\(id)") } catch {
            if error.errno == ErrorNumber.noEntry { return nil }
            var failure = error.lunette
            failure.message = "find container \(id): \(failure.message)"
            throw failure
        }
    }

    /// Ids of all containers, whole or half-made, sorted.
    func ids() throws(LunetteError) -> [String] {
        do throws(SystemCallError) { return try Directory(root).entries().filter { $0.first != "." }.sorted() } catch {
            if error.errno == ErrorNumber.noEntry { return [] }
            throw error.lunette
        }
    }

    /// What `list` shows of a folder without a record: its `create` is just beginning, or was killed there.
    /// - Returns: nil when it has gone meanwhile.
    func halfMade(_ id: String) throws(LunetteError) -> Value? {
        guard let folder = try folder(id) else { return nil }
        let isHeld = try atBorder("look at container \(id)", { () throws(SystemCallError) in try HeldFolder(folder, wait: false) == nil })
        let status: Container.Status = isHeld ? .creating : .stopped
        return [
            "ociVersion": .string(OCIProgram.specification), "id": .string(id), "pid": 0, "status": .string(status.rawValue), "bundle": "",
        ]
    }

    static func unknown(_ id: String) -> LunetteError {
        LunetteError(.notFound, "container \(id) does not exist", target: id)
    }

    /// Takes a held folder away: renamed in one step, so that the id is free and nobody sees half of it, then emptied.
    func remove(_ held: HeldFolder, _ id: String) throws(LunetteError) {
        do throws(SystemCallError) {
            let store = try Directory(root)
            let gone = "\(Self.gonePrefix)\(id).\(UInt64.random(in: 0...UInt64.max))"
            try store.rename(id, to: gone)
            faultPoint("oci.delete.renamed")
            try store.removeTree(gone)
        } catch {
            if error.errno == ErrorNumber.noEntry { return }
            throw error.lunette
        }
    }

    /// Empties what a killed `delete` had renamed and not yet removed. Best effort: the next one tries again.
    func sweep() {
        guard let store = try? Directory(root), let names = try? store.entries() else { return }
        for name in names where name.hasPrefix(Self.gonePrefix) { try? store.removeTree(name) }
    }
}

/// A container's folder that this process alone works on.
final class HeldFolder: Sendable {
    let directory: Directory

    /// - Returns: nil when somebody else holds it and `wait` is false.
    init?(_ directory: Directory, wait: Bool) throws(SystemCallError) {
        let exclusive: Int32 = 2
        let nonblocking: Int32 = 4
        let result = lnt_host_flock(directory.descriptor.number, exclusive | (wait ? 0 : nonblocking))
        if -result == ErrorNumber.again { return nil }
        try check(result, "lock", directory.label)
        self.directory = directory
    }

    /// Lets others work on it; what `directory` names stays open.
    func release() {
        let unlock: Int32 = 8
        _ = lnt_host_flock(directory.descriptor.number, unlock)
    }
}
