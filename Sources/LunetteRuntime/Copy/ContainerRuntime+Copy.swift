internal import CLinux
internal import LunetteLinux
package import LunetteSpec

extension ContainerRuntime {
    /// Copies a host file or directory into a container, running or not, as `cp -r` would: into an existing directory, else as the new name.
    ///
    /// Everything belongs to the container's root; modes and times are kept. A source that ends in `/.` means its contents.
    /// - Parameters:
    ///   - container: the running container, nil when it is stopped: then `layers` (top first) and its upper are used.
    ///   - source: absolute host path.
    ///   - target: path in the container.
    /// - Throws: `not_found`, `already_exists` (a file where a directory must go), `io`.
    package func copyIn(
        id: String, container: Container?, layers: [String], from source: String, to target: String
    ) async throws(LunetteError) {
        try ContainerPlaces.validate(id: id)
        try await blocking { [self] () throws(LunetteError) in
            let root = try root(id, container, layers)
            try atBorder(
                "copy \(source) to \(id):\(target)",
                { () throws(SystemCallError) in
                    let from = try Self.hostSource(source)
                    try withFileSystemIDs(uid: root.uid, gid: root.gid) { () throws(SystemCallError) in
                        var copy = TreeCopy(ownership: .all(uid: root.uid, gid: root.gid), keepsAttributes: false)
                        try Self.copy(from, to: try Self.containerTarget(root, target), target.hasSuffix("/"), &copy)
                    }
                })
        }
    }

    /// Copies a file or directory of a container to the host, where it belongs to the engine's user.
    package func copyOut(
        id: String, container: Container?, layers: [String], from source: String, to target: String
    ) async throws(LunetteError) {
        try ContainerPlaces.validate(id: id)
        try await blocking { [self] () throws(LunetteError) in
            let root = try root(id, container, layers)
            try atBorder(
                "copy \(id):\(source) to \(target)",
                { () throws(SystemCallError) in
                    let from: Source
                    if Self.meansContents(source) {
                        from = .contents(try root.open(source))
                    } else {
                        let (parent, name) = try root.parent(of: source)
                        guard try parent.exists(name) else { throw SystemCallError("find", source, errno: ErrorNumber.noEntry) }
                        from = name == "." ? .contents(parent) : .entry(parent, name)
                    }
                    var copy = TreeCopy(ownership: .all(uid: 0, gid: 0), keepsAttributes: false)
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

    private func root(_ id: String, _ container: Container?, _ layers: [String]) throws(LunetteError) -> ContainerRoot {
        if let container, container.knownExit == nil { return try .running(container) }
        return try .stopped(ContainerPlaces(configuration, id: id), layers: layers)
    }

    // MARK: the two sides

    private enum Source {
        case entry(Directory, String)
        case contents(Directory)
    }

    /// Where the copy goes: into a directory under the source's name, or as a new name in a parent.
    private enum Target {
        case into(Directory)
        case named(Directory, String)
    }

    private static func meansContents(_ path: String) -> Bool { path == "." || path.hasSuffix("/.") }

    private static func hostSource(_ path: String) throws(SystemCallError) -> Source {
        // The host's own paths are the caller's word: links in them count as the caller sees them.
        if meansContents(path) || path == "/" { return .contents(try hostDirectory(path)) }
        let (parent, name) = split(path)
        let directory = try hostDirectory(parent)
        guard try directory.exists(name) else { throw SystemCallError("find", path, errno: ErrorNumber.noEntry) }
        return .entry(directory, name)
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
        case (.entry(let from, let name), .into(let to)): try copy.copy(name, of: from, to: to, as: name)
        case (.entry(let from, let name), .named(let to, let newName)):
            // `dir/` that isn't there: a file has nowhere to go, a directory becomes it.
            if wantsDirectory, try from.status(name)?.kind != .directory {
                throw SystemCallError("find directory", "\(to.label)/\(newName)", errno: ErrorNumber.noEntry)
            }
            try copy.copy(name, of: from, to: to, as: newName)
        case (.contents(let from), .into(let to)): try copy.copyContents(of: from, to: to)
        case (.contents(let from), .named(let to, let newName)):
            try copy.copyContents(of: from, to: try to.makeDirectory(newName, mode: 0o755))
        }
    }
}
