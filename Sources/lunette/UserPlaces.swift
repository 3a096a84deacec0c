import Glibc
import LunetteLinux
import LunetteSpec

/// Where an ordinary user's engine keeps things, by the XDG base directory specification; root's are /var/lib, /run and /etc.
enum UserPlaces {
    static func root(home: String) -> String { (absolute("XDG_DATA_HOME") ?? home + "/.local/share") + "/lunette" }

    static func state(uid: uid_t) -> String { runtimeFolder(uid).path }

    private static func runtimeFolder(_ uid: uid_t) -> UserRuntimeFolder {
        UserRuntimeFolder("lunette", uid: uid, runtimeDirectory: Environment["XDG_RUNTIME_DIR"])
    }

    /// The user's own folder of registries.json and the like, when there is one; nil leaves the machine's.
    static func configuration(home: String) -> String? {
        let folder = (absolute("XDG_CONFIG_HOME") ?? home + "/.config") + "/lunette"
        var status = stat()
        return stat(folder, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR ? folder : nil
    }

    // The specification: a path that isn't absolute is to be ignored.
    private static func absolute(_ name: String) -> String? { Environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil } }

    /// Looks at the folder that a state directory chosen by us lies in, before anything there is trusted.
    /// - Throws: as `UserRuntimeFolder.prepare`.
    static func verify(_ settings: Settings) throws(LunetteError) {
        let folder = runtimeFolder(geteuid())
        guard geteuid() != 0, settings.state == folder.path else { return }
        try folder.prepare(for: "the engine's state", alternative: "set LUNETTE_STATE to a folder of your own")
    }
}
