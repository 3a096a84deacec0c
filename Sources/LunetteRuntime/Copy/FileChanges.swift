internal import CLinux
internal import LunetteLinux
package import LunetteSpec

/// What a container's upper layer changes of its image's files (overlayfs.rst: whiteouts are devices 0:0, opaque folders hide what is below).
package struct FileChange: Sendable, Equatable {
    package enum Kind: String, Sendable { case added, changed, removed }
    /// Bytes that aren't UTF-8 as `\xfe`.
    package var path: String
    package var kind: Kind
}

extension ContainerRuntime {
    /// Compares a container's upper with its image's layers. Reads by descriptor, follows no link, runs nothing.
    /// - Parameters:
    ///   - name: for messages.
    ///   - layers: top first.
    ///   - hidden: where the runtime itself puts mounts; an empty file or folder there is its own, not the container's.
    package func changes(id: String, name: String, layers: [String], hidden: Set<String>) async throws(LunetteError) -> [FileChange] {
        try ContainerPlaces.validate(id: id)
        let upper = "\(ContainerPlaces(configuration, id: id).storage)/upper"
        return try await blocking { () throws(LunetteError) in
            try atBorder("compare the files of container \(name) with its image") { () throws(SystemCallError) in
                let top: Directory
                do throws(SystemCallError) { top = try Directory(upper) } catch {
                    // Never started: nothing is changed.
                    if error.errno == ErrorNumber.noEntry { return [] }
                    throw error
                }
                var walk = ChangeWalk(image: try DetachedOverlay.make(lowers: layers), hidden: hidden)
                try walk.run(through: top)
                return walk.changes
            }
        }
    }
}

/// One walk through an upper layer. Bounded: a container can make any number of files, at any depth.
private struct ChangeWalk {
    static let limit = 100_000
    /// Linux's own for a path, with its slash at the front: nothing in a container reaches further down by one.
    static let pathLimit = 4095
    /// Of all paths together: what is answered has to fit into a message.
    static let totalLimit = 16 << 20
    let image: Directory
    let hidden: Set<String>
    var changes: [FileChange] = []
    private var total = 0
    /// The folders that the walk is in, from the top.
    private var folders: [Folder] = []

    private struct Folder {
        /// Its own change: nothing but the folder itself differs as long as it is the last.
        var index: Int
        /// It is as in the image but for what is in it.
        var isAsBelow: Bool
        var holdsOwn = false
    }

    init(image: Directory, hidden: Set<String>) {
        self.image = image
        self.hidden = hidden
    }

    mutating func run(through top: Directory) throws(SystemCallError) {
        var walk = try TreeWalk(top.descriptor, label: "", sorted: true)
        while let step = try walk.next() {
            switch step {
            case .end:
                try walk.leave()
                leaveFolder()
            case .entry(let name): try entry(name, &walk)
            }
            guard changes.count + walk.waiting <= Self.limit + hidden.count else { throw Self.tooMany }
        }
    }

    /// A folder that is in the upper only for the runtime's own mount points in it is none that the container changed.
    private mutating func leaveFolder() {
        guard let folder = folders.popLast(), folder.holdsOwn, folder.isAsBelow, folder.index == changes.count - 1 else { return }
        total -= changes.removeLast().path.utf8.count
        noteOwn()
    }

    private mutating func noteOwn() {
        if !folders.isEmpty { folders[folders.count - 1].holdsOwn = true }
    }

    private static var tooMany: SystemCallError {
        SystemCallError("list more than \(limit) changed files", "", errno: ErrorNumber.tooBig)
    }

    private mutating func add(_ path: String, _ kind: FileChange.Kind) throws(SystemCallError) {
        total += path.utf8.count
        guard changes.count < Self.limit else { throw Self.tooMany }
        guard total <= Self.totalLimit else {
            throw SystemCallError("list changed files whose paths have more than \(Self.totalLimit) bytes", "", errno: ErrorNumber.tooBig)
        }
        changes.append(FileChange(path: path, kind: kind))
    }

    private mutating func entry(_ name: [CChar], _ walk: inout TreeWalk) throws(SystemCallError) {
        let directory = walk.directory
        guard let status = try directory.status(name) else { return }
        let bytes = walk.path.bytes(of: name)
        guard bytes.count < Self.pathLimit else {
            throw SystemCallError("list a path longer than \(Self.pathLimit) bytes", walk.path.shown(name), errno: ErrorNumber.nameTooLong)
        }
        let path = "/" + escapedText(of: bytes)
        if status.kind == .characterDevice, status.deviceMajor == 0, status.deviceMinor == 0 { return try add(path, .removed) }
        let below = try below(bytes, path)
        guard status.kind == .directory else {
            if hidden.contains(path), below == nil, status.size == 0 { return noteOwn() }
            return try add(path, below == nil ? .added : .changed)
        }
        let child = Directory(try directory.open(name, [.directory, .noFollow]), label: path)
        if hidden.contains(path), below == nil, try child.entries().isEmpty { return noteOwn() }
        try add(path, below == nil ? .added : .changed)
        let isOpaque = isOpaque(child)
        folders.append(
            Folder(
                index: changes.count - 1,
                isAsBelow: !isOpaque && below?.kind == .directory && below?.permissions == status.permissions && below?.uid == status.uid
                    && below?.gid == status.gid))
        if below?.kind == .directory, isOpaque { try removed(bytes, path, hiding: child) }
        try walk.enter(name, child.descriptor)
    }

    /// What the image has at a path; nil when there is nothing.
    private func below(_ bytes: [UInt8], _ path: String) throws(SystemCallError) -> FileStatus? {
        do throws(SystemCallError) {
            let found = try image.open(Self.terminated(bytes), [.path, .noFollow], scope: .inRoot)
            return try withExtendedLifetime(found) { () throws(SystemCallError) in
                try fileStatus(found.number, "", follow: false, label: path)
            }
        } catch {
            if [ErrorNumber.noEntry, ErrorNumber.notDirectory, ErrorNumber.loop].contains(error.errno) { return nil }
            throw error
        }
    }

    private func isOpaque(_ directory: Directory) -> Bool {
        var value = [UInt8](repeating: 0, count: 8)
        let size = lnt_host_fgetxattr(directory.descriptor.number, "trusted.overlay.opaque", &value, value.count)
        return size == 1 && value[0] == UInt8(ascii: "y")
    }

    /// What an opaque folder hides and hasn't made anew.
    private mutating func removed(_ bytes: [UInt8], _ path: String, hiding directory: Directory) throws(SystemCallError) {
        var lower = try TreeWalk(try image.open(Self.terminated(bytes), [.directory], scope: .inRoot), label: path, sorted: true)
        while case .entry(let name)? = try lower.next() {
            if try directory.status(name) == nil { try add(path + "/" + escapedText(of: lower.path.bytes(of: name)), .removed) }
        }
    }

    private static func terminated(_ bytes: [UInt8]) -> [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }
}
