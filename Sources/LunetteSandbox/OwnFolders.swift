internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// The folders of Lunette's own, which a sandbox hides: whoever can write there is the user that the next engine works for.
enum OwnFolders {
    /// Those of an engine and of `lunette-oci`, where they are or will be.
    static func paths(_ places: EnginePlaces) -> [String] {
        [places.root, places.state, places.configuration, places.runtimeState].map(place)
    }

    /// Those that are there, and those that the program could make itself, with plugins in them for the next engine.
    static func endangered(_ folders: [String], _ view: SandboxView) -> [String] {
        folders.filter { folder in
            if SandboxFactsReader.resolved(folder) != nil { return true }
            return view.items.last { ContainerPath.isWithin(folder, $0.path) }?.access == .write
        }
    }

    /// Has them be there, so that something can be attached over them.
    ///
    /// Whatever can't be made, the program can't make either: it is the same user.
    /// - Returns: those that are there now.
    static func make(_ folders: [String]) -> [String] {
        folders.filter { folder in
            if SandboxFactsReader.resolved(folder) != nil { return true }
            var path = ""
            for part in folder.pathParts {
                path += "/\(part)"
                // One that is there says so; of all others the last look tells.
                _ = lnt_host_mkdirat(-100, path, 0o700)
            }
            return SandboxFactsReader.resolved(folder) == folder
        }
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
