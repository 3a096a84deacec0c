internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// The folders of Lunette's own, which a sandbox hides: whoever can write there is the user that the next engine works for.
enum OwnFolders {
    /// Those of an engine and of `lunette-oci`, where they are or will be.
    static func paths(_ places: EnginePlaces) -> [String] { named(places).map(place) }

    /// As they are called.
    private static func named(_ places: EnginePlaces) -> [String] {
        [places.root, places.state, places.configuration, places.runtimeState]
    }

    /// Those that are there, and those that the program could make itself, with plugins in them for the next engine.
    static func endangered(_ folders: [String], _ view: SandboxView) -> [String] {
        folders.filter { folder in
            if SandboxFactsReader.resolved(folder) != nil { return true }
            return view.items.last { ContainerPath.isWithin(folder, $0.path) }?.access == .write
        }
    }

    /// Refuses what can't be hidden: a symbolic link on the way to one of the folders, in a folder that the program may write. It could put a folder of
    /// its own in the link's place, and a link can't be held there as a folder can, by a mount.
    /// - Throws: `invalid_argument`.
    static func refuseMovableLinks(_ places: EnginePlaces, _ view: SandboxView) throws(LunetteError) {
        for folder in named(places) {
            let real = place(folder)
            if view.items.contains(where: { ContainerPath.isWithin($0.path, real) }) { continue }
            for link in SandboxFactsReader.links(on: folder)
            where view.access(to: "/" + link.pathParts.dropLast().joined(separator: "/")) == .write {
                throw LunetteError(
                    .invalidArgument,
                    "Lunette's own folder \(displayable(folder)) goes through the symbolic link \(displayable(link)), which the program could lead elsewhere",
                    target: folder, hint: Self.hint)
            }
        }
    }

    /// Has them be there, so that something can be attached over them.
    /// - Returns: those that are there now; of the others the program can make none either.
    /// - Throws: `denied` for one that can't be made here and that the program might make (it may change modes, remove files, rename folders).
    static func make(_ folders: [String], _ view: SandboxView) throws(LunetteError) -> [String] {
        var made: [String] = []
        for folder in folders {
            if SandboxFactsReader.resolved(folder) != nil {
                made.append(folder)
                continue
            }
            var (path, error): (String, Int32) = ("", 0)
            for part in folder.pathParts {
                path += "/\(part)"
                let result = lnt_host_mkdirat(-100, path, 0o700)
                // One that is there says so.
                if result < 0, -result != EEXIST {
                    error = -result
                    break
                }
            }
            if SandboxFactsReader.resolved(folder) == folder {
                made.append(folder)
            } else if !isOutOfReach(path, error, view) {
                let reason = errnoText(error == 0 ? ENOTDIR : error)
                throw LunetteError(
                    .denied, "hide Lunette's own folder \(displayable(folder)): make \(displayable(path)): \(reason)", target: folder,
                    errno: error == 0 ? ENOTDIR : error, hint: Self.hint)
            }
        }
        return made
    }

    private static let hint =
        "allow narrower folders, say --allow-read for the folder around it, or have Lunette's own elsewhere (LUNETTE_ROOT, LUNETTE_STATE, LUNETTE_CONFIG)"

    /// Whether the program can no more make a folder than we can: its file system is read-only, or the rule shows nothing above the folder around it
    /// that it could rename, and that one is somebody else's.
    /// - Parameter path: what mkdir(2) failed for.
    private static func isOutOfReach(_ path: String, _ error: Int32, _ view: SandboxView) -> Bool {
        if error == EROFS { return true }
        let parent = "/" + path.pathParts.dropLast().joined(separator: "/")
        var status = lnt_host_stat()
        guard error == EACCES || error == EPERM, lnt_host_stat(-100, parent, 0, &status) == 0, status.uid != geteuid() else { return false }
        return view.items.last { ContainerPath.isWithin(path, $0.path) }?.path == parent
    }

    /// Without symbolic links as far as the path is there.
    private static func place(_ path: String) -> String {
        var (known, rest) = (path.pathParts.map(String.init), [String]())
        while true {
            if let real = SandboxFactsReader.resolved("/" + known.joined(separator: "/")) {
                return ([real == "/" ? "" : real] + rest).joined(separator: "/")
            }
            guard let last = known.popLast() else { return path }
            rest.insert(last, at: 0)
        }
    }
}
