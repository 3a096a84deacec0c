internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// A container's root file system as a descriptor to copy from and to: the running one's own view, or the stopped one's layers.
struct ContainerRoot {
    let directory: Directory
    /// Host ids of the container's root: what new files belong to, and as whom they are made.
    let uid: UInt32
    let gid: UInt32

    /// The view of a running container's pid 1, through `/proc/PID/root`. Blocks.
    static func running(_ container: Container, name: String) throws(LunetteError) -> ContainerRoot {
        let gone = LunetteError(.invalidState, "container \(name) isn't running any more", target: container.id)
        guard let process = container.record.initProcess else { throw gone }
        let path = "/proc/\(process.pid)"
        do throws(SystemCallError) {
            let flags = OpenFlags([.directory, .path])
            let root = FileDescriptor(
                owning: try check(lnt_host_openat(-100, "\(path)/root", Int32(flags.rawValue), 0), "open the root of", container.id))
            let uid = base(readSmallFile("\(path)/uid_map"))
            let gid = base(readSmallFile("\(path)/gid_map"))
            // Compared after everything was opened: all of it is this container's.
            guard process.isAlive else { throw SystemCallError("find process", "\(process.pid)", errno: ErrorNumber.noProcess) }
            return ContainerRoot(directory: Directory(root, label: "\(name):"), uid: uid, gid: gid)
        } catch {
            if error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.noProcess { throw gone }
            throw error.lunette
        }
    }

    /// The host id of the container's 0.
    private static func base(_ map: String?) -> UInt32 {
        for line in (map ?? "").split(separator: "\n") {
            let fields = line.split(whereSeparator: \.isWhitespace).compactMap { UInt32($0) }
            if fields.count == 3, fields[0] == 0 { return fields[1] }
        }
        return 0
    }

    /// A stopped container's layers and upper, mounted nowhere. Ids are those on disk, which are the container's own. Blocks.
    /// - Parameter writable: otherwise the upper is one layer of a view to read, and nothing is made: two writers on one upper lose data.
    static func stopped(_ places: ContainerPlaces, layers: [String], name: String, writable: Bool) throws(LunetteError) -> ContainerRoot {
        try atBorder(
            "open the files of container \(name)",
            { () throws(SystemCallError) in
                let upper = "\(places.storage)/upper"
                guard writable else {
                    let lowers = try exists(upper) ? [upper] + layers : layers
                    return ContainerRoot(
                        directory: Directory(try DetachedOverlay.make(lowers: lowers).descriptor, label: "\(name):"), uid: 0, gid: 0)
                }
                let store = try Directory(making: places.storage)
                // One that never started has no upper yet; the start takes it as it finds it.
                for folder in ["upper", "work"] where try !store.exists(folder) {
                    let made = try store.makeDirectory(folder)
                    if folder == "upper" { try check(lnt_host_fchmod(made.descriptor.number, 0o755), "chmod", made.label) }
                }
                let root = try DetachedOverlay.make(lowers: layers, upper: (upper, "\(places.storage)/work"))
                return ContainerRoot(directory: Directory(root.descriptor, label: "\(name):"), uid: 0, gid: 0)
            })
    }

    private static func exists(_ path: String) throws(SystemCallError) -> Bool {
        do throws(SystemCallError) {
            _ = try Directory(path)
            return true
        } catch {
            if error.errno == ErrorNumber.noEntry { return false }
            throw error
        }
    }

    /// The folder of a stopped container that has no image. Blocks.
    static func folder(_ path: String, name: String) throws(LunetteError) -> ContainerRoot {
        try atBorder(
            "open the files of container \(name)",
            { () throws(SystemCallError) in
                ContainerRoot(directory: Directory(try Directory(path).descriptor, label: "\(name):"), uid: 0, gid: 0)
            })
    }

    /// What a link leads to, all of it inside the root; the copy keeps the link's own name.
    func behindLink(_ path: String, _ newName: String) throws(SystemCallError) -> ContainerRuntime.Source {
        var path = path
        for _ in 0..<40 {
            let (parent, name) = try parent(of: path)
            guard name != "." else { return .contents(parent) }
            guard let status = try parent.status(name) else { throw SystemCallError("find", path, errno: ErrorNumber.noEntry) }
            guard status.kind == .symbolicLink else { return .entry(parent, name, as: newName) }
            let target = try readLink(name, in: parent)
            if target.hasPrefix("/") {
                path = target
            } else {
                let above = path.pathParts.dropLast().joined(separator: "/")
                path = "/\(above)/\(target)"
            }
        }
        throw SystemCallError("follow links", path, errno: ErrorNumber.loop)
    }

    /// A path of the container's, taken apart: the open parent and the last name. Links are the container's own and lead nowhere else.
    ///
    /// - Returns: `name` "." for the root itself.
    func parent(of path: String) throws(SystemCallError) -> (parent: Directory, name: String) {
        var parts = path.pathParts.map(String.init)
        while parts.last == "." { parts.removeLast() }
        guard let name = parts.last, name != ".." else { return (try open(path), ".") }
        let above = parts.dropLast().joined(separator: "/")
        return (try open(above), name)
    }

    /// The directory at a path, `inRoot`.
    func open(_ path: String) throws(SystemCallError) -> Directory {
        // The root is `name:`, so that what lies in it is `name:/file`.
        let inside = path.pathParts.map { "/\($0)" }.joined()
        return Directory(
            try directory.open(inside.isEmpty ? "." : String(inside.dropFirst()), [.directory], scope: .inRoot),
            label: directory.label + inside)
    }
}
