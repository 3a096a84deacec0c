internal import CLinux
internal import LunetteLinux
package import LunetteSpec

extension ContainerRuntime {
    /// Copies a host file or directory into a container, running or not, as `cp -r` would: into an existing directory, else as the new name.
    ///
    /// Everything belongs to the container's root; modes and times are kept. A source that ends in `/.` means its contents.
    /// - Parameters:
    ///   - container: the running container, nil when it is stopped: then the layers of `files` and its upper are used.
    ///   - source: absolute host path.
    ///   - target: path in the container.
    /// - Throws: `not_found`, `already_exists` (a file where a directory must go), `io`.
    package func copyIn(
        id: String, container: Container?, files: CopyFiles, from source: String, to target: String
    ) async throws(LunetteError) {
        try ContainerPlaces.validate(id: id)
        try Self.validate(files, source, target)
        try await blocking { [self] () throws(LunetteError) in
            let root = try root(id, container, files, writable: true)
            try atBorder(
                "copy \(source) to \(files.name):\(target)",
                { () throws(SystemCallError) in
                    let from = try Self.hostSource(source, follow: files.followsLink)
                    try withFileSystemIDs(uid: root.uid, gid: root.gid) { () throws(SystemCallError) in
                        let ownership: TreeCopy.Ownership =
                            files.keepsOwners
                            ? .shifted(uid: Int64(root.uid), gid: Int64(root.gid)) : .all(uid: root.uid, gid: root.gid)
                        var copy = TreeCopy(ownership: ownership, keepsAttributes: false)
                        try Self.copy(from, to: try Self.containerTarget(root, target), target.hasSuffix("/"), &copy)
                    }
                })
        }
    }

    /// Copies a file or directory of a container to the host, where it belongs to the engine's user.
    package func copyOut(
        id: String, container: Container?, files: CopyFiles, from source: String, to target: String
    ) async throws(LunetteError) {
        try ContainerPlaces.validate(id: id)
        try Self.validate(files, source, target)
        try await blocking { [self] () throws(LunetteError) in
            let root = try root(id, container, files, writable: false)
            try atBorder(
                "copy \(files.name):\(source) to \(target)",
                { () throws(SystemCallError) in
                    let from: Source
                    if Self.meansContents(source) {
                        from = .contents(try root.open(source))
                    } else {
                        let (parent, name) = try root.parent(of: source)
                        guard try parent.exists(name) else { throw SystemCallError("find", source, errno: ErrorNumber.noEntry) }
                        if name == "." {
                            from = .contents(parent)
                        } else if files.followsLink, try parent.status(name)?.kind == .symbolicLink {
                            from = try root.behindLink(source, name)
                        } else {
                            from = .entry(parent, name, as: name)
                        }
                    }
                    let ownership: TreeCopy.Ownership =
                        files.keepsOwners ? .shifted(uid: -Int64(root.uid), gid: -Int64(root.gid)) : .all(uid: 0, gid: 0)
                    var copy = TreeCopy(ownership: ownership, keepsAttributes: false)
                    try Self.copy(from, to: try Self.hostTarget(target), target.hasSuffix("/"), &copy)
                })
        }
    }

    /// Copies what an image has at `target` into an empty host directory (a new volume's), with owners, modes, times, attributes and links,
    /// the directory's own included. Device nodes and sockets stay behind. Links are resolved inside the layers only.
    ///
    /// - Parameter layers: top first.
    /// - Returns: false when the image has nothing there, or no directory.
    package func copyUp(layers: [String], from target: String, to directory: String) async throws(LunetteError) -> Bool {
        guard !layers.isEmpty else { return false }
        return try await blocking { () throws(LunetteError) in
            try atBorder(
                "copy the image's \(target) into \(directory)",
                { () throws(SystemCallError) in
                    let root = ContainerRoot(directory: try DetachedOverlay.make(lowers: layers), uid: 0, gid: 0)
                    let source: Directory
                    do throws(SystemCallError) { source = try root.open(target) } catch {
                        if [ErrorNumber.noEntry, ErrorNumber.notDirectory, ErrorNumber.loop].contains(error.errno) { return false }
                        throw error
                    }
                    var copy = TreeCopy(ownership: .keep, keepsAttributes: true)
                    try copy.copyContents(of: source, to: try Directory(directory), includingItself: true)
                    return true
                })
        }
    }

    private func root(
        _ id: String, _ container: Container?, _ files: CopyFiles, writable: Bool
    ) throws(LunetteError) -> ContainerRoot {
        if let container, container.knownExit == nil { return try .running(container, name: files.name) }
        if let rootfs = files.rootfs { return try .folder(rootfs, name: files.name) }
        return try .stopped(ContainerPlaces(configuration, id: id), layers: files.layers, name: files.name, writable: writable)
    }

    private static func validate(_ files: CopyFiles, _ source: String, _ target: String) throws(LunetteError) {
        for (path, word) in [(source, "source"), (target, "destination")] where path.isEmpty {
            throw LunetteError(.invalidArgument, "copy files of \(files.name): the path is empty", path: word, hint: "\"/\" is all of it")
        }
    }

    // MARK: the two sides

    enum Source {
        /// One entry, and the name that its copy gets where it has none of its own.
        case entry(Directory, String, as: String)
        case contents(Directory)
    }

    /// Where the copy goes: into a directory under the source's name, or as a new name in a parent.
    private enum Target {
        case into(Directory)
        case named(Directory, String)
    }

    private static func meansContents(_ path: String) -> Bool { path == "." || path.hasSuffix("/.") }

    private static func hostSource(_ path: String, follow: Bool) throws(SystemCallError) -> Source {
        // The host's own paths are the caller's word: links in them count as the caller sees them.
        if meansContents(path) || path == "/" { return .contents(try hostDirectory(path)) }
        let (parent, name) = split(path)
        let directory = try hostDirectory(parent)
        guard try directory.exists(name) else { throw SystemCallError("find", path, errno: ErrorNumber.noEntry) }
        if follow, try directory.status(name)?.kind == .symbolicLink {
            // The kernel's own way behind the link, as the caller sees it: what is open says where it is.
            let flags = OpenFlags([.path])
            let behind = FileDescriptor(owning: try check(lnt_host_openat(-100, path, Int32(flags.rawValue), 0), "open", path))
            let (realParent, realName) = split(try readLink("/proc/self/fd/\(behind.number)"))
            return .entry(try hostDirectory(realParent), realName, as: name)
        }
        return .entry(directory, name, as: name)
    }

    private static func hostTarget(_ path: String) throws(SystemCallError) -> Target {
        if let directory = try existing(hostDirectory, path) { return .into(directory) }
        let (parent, name) = split(path)
        return .named(try hostDirectory(parent), name)
    }

    private static func containerTarget(_ root: ContainerRoot, _ path: String) throws(SystemCallError) -> Target {
        if let directory = try existing(root.open, path) { return .into(directory) }
        let (parent, name) = try root.parent(of: path)
        return .named(parent, name)
    }

    private static func existing(
        _ open: (String) throws(SystemCallError) -> Directory, _ path: String
    ) throws(SystemCallError) -> Directory? {
        do throws(SystemCallError) { return try open(path) } catch {
            if error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.notDirectory { return nil }
            throw error
        }
    }

    private static func hostDirectory(_ path: String) throws(SystemCallError) -> Directory {
        let flags = OpenFlags([.directory])
        return Directory(
            FileDescriptor(owning: try check(lnt_host_openat(-100, path, Int32(flags.rawValue), 0), "open", path)), label: path)
    }

    private static func split(_ path: String) -> (parent: String, name: String) {
        var trimmed = path[...]
        while trimmed.count > 1, trimmed.last == "/" { trimmed = trimmed.dropLast() }
        guard let slash = trimmed.lastIndex(of: "/") else { return (".", String(trimmed)) }
        return (slash == trimmed.startIndex ? "/" : String(trimmed[..<slash]), String(trimmed[trimmed.index(after: slash)...]))
    }

    private static func copy(_ source: Source, to target: Target, _ wantsDirectory: Bool, _ copy: inout TreeCopy) throws(SystemCallError) {
        switch (source, target) {
        case (.entry(let from, let name, let newName), .into(let to)): try copy.copy(name, of: from, to: to, as: newName)
        case (.entry(let from, let name, _), .named(let to, let newName)):
            let isDirectory = try from.status(name)?.kind == .directory
            // `dir/` that isn't there: a file has nowhere to go, a directory becomes it.
            if wantsDirectory, !isDirectory {
                throw SystemCallError("find directory", "\(to.label)/\(newName)", errno: ErrorNumber.noEntry)
            }
            if isDirectory, let there = try to.status(newName), there.kind != .directory {
                throw SystemCallError("put a folder in place of the file", "\(to.label)/\(newName)", errno: ErrorNumber.exists)
            }
            try copy.copy(name, of: from, to: to, as: newName)
        case (.contents(let from), .into(let to)): try copy.copyContents(of: from, to: to)
        case (.contents(let from), .named(let to, let newName)):
            // It is the source under another name: owner, mode and times come along.
            try copy.copyContents(of: from, to: try to.makeDirectory(newName, mode: 0o755), includingItself: true)
        }
    }
}

/// Where a container's files are, and how they are to be copied.
package struct CopyFiles: Sendable {
    /// For messages.
    package var name: String
    /// An image's layers, top first.
    package var layers: [String]
    /// A folder used instead of an image.
    package var rootfs: String?
    /// Owners come along, by the container's numbers.
    package var keepsOwners: Bool
    /// A source that is a link means what it leads to.
    package var followsLink: Bool

    package init(name: String, layers: [String], rootfs: String? = nil, keepsOwners: Bool = false, followsLink: Bool = false) {
        self.name = name
        self.layers = layers
        self.rootfs = rootfs
        self.keepsOwners = keepsOwners
        self.followsLink = followsLink
    }
}
