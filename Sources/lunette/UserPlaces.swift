import Glibc
import LunetteSpec

/// Where an ordinary user's engine keeps things, by the XDG base directory specification; root's are /var/lib, /run and /etc.
enum UserPlaces {
    static func root(home: String) -> String { (absolute("XDG_DATA_HOME") ?? home + "/.local/share") + "/lunette" }

    /// `$XDG_RUNTIME_DIR/lunette`; where no session has set that, /run/user/UID when it is there, else a folder of the user's in /tmp.
    static func state(uid: uid_t) -> String {
        if let folder = absolute("XDG_RUNTIME_DIR") { return folder + "/lunette" }
        let session = "/run/user/\(uid)"
        return problem(with: session, uid: uid) == nil ? session + "/lunette" : fallback(uid: uid)
    }

    /// The user's own folder of registries.json and the like, when there is one; nil leaves the machine's.
    static func configuration(home: String) -> String? {
        let folder = (absolute("XDG_CONFIG_HOME") ?? home + "/.config") + "/lunette"
        var status = stat()
        return stat(folder, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR ? folder : nil
    }

    private static func fallback(uid: uid_t) -> String { "/tmp/lunette-\(uid)" }

    // The specification: a path that isn't absolute is to be ignored.
    private static func absolute(_ name: String) -> String? { Environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil } }

    /// Looks at the folder that a state directory chosen by us lies in, before anything there is trusted: whoever could write to it could
    /// put a socket of their own there.
    /// - Throws: `invalid_state` when there is no such folder, `denied` when it is somebody else's or open to others.
    static func verify(_ settings: Settings) throws(LunetteError) {
        let uid = geteuid()
        guard uid != 0, settings.state == state(uid: uid) else { return }
        let folder: String
        if settings.state == fallback(uid: uid) {
            folder = settings.state
            // Only its owner gets in, from the start; one that is there already is looked at like any.
            if mkdir(folder, 0o700) != 0, errno != EEXIST {
                let failed = errno
                throw LunetteError(
                    .io, "make the state directory \(folder): \(String(cString: strerror(failed)))", errno: failed,
                    hint: "set XDG_RUNTIME_DIR, or LUNETTE_STATE to a folder of your own")
            }
        } else {
            folder = String(settings.state.dropLast("/lunette".count))
        }
        guard let problem = problem(with: folder, uid: uid) else { return }
        throw LunetteError(
            .denied, "use \(folder) for the engine's state: \(problem)",
            hint: Environment["XDG_RUNTIME_DIR"] == nil
                ? "set XDG_RUNTIME_DIR, or LUNETTE_STATE to a folder of your own"
                : "XDG_RUNTIME_DIR names it: unset it (after su it is still the other user's), or set LUNETTE_STATE")
    }

    private static func problem(with folder: String, uid: uid_t) -> String? {
        var status = stat()
        guard lstat(folder, &status) == 0 else { return String(cString: strerror(errno)).lowercased() }
        guard status.st_mode & S_IFMT == S_IFDIR else { return "it is no folder" }
        guard status.st_uid == uid else { return "it belongs to uid \(status.st_uid)" }
        return status.st_mode & 0o022 == 0 ? nil : "others may write to it"
    }
}
