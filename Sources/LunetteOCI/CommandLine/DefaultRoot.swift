internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Where states are without `--root`: in /run for root; for an ordinary user below XDG_RUNTIME_DIR, below /run/user/UID where no session has set
/// that, else in a folder of the user's own in /tmp.
enum DefaultRoot {
    static var current: String {
        // Who is root in a user namespace alone, as under Podman, is an ordinary user all the same.
        guard geteuid() != 0 || !UserNamespace.current.isInitial else { return machine }
        // The XDG specification: a path that isn't absolute is to be ignored.
        if let folder = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }), folder.utf8.first == UInt8(ascii: "/") {
            return "\(folder)/lunette-oci"
        }
        // Root of a namespace, in a container of its own, has a /run of its own.
        guard geteuid() != 0 else { return machine }
        let session = "/run/user/\(geteuid())"
        return problem(with: session) == nil ? "\(session)/lunette-oci" : fallback
    }

    private static let machine = "/run/lunette-oci"
    private static var fallback: String { "/tmp/lunette-oci-\(geteuid())" }

    /// Has the folder in /tmp be there and be ours alone, when `root` is that one. Nobody else can put another in its place afterwards: /tmp is sticky.
    /// - Throws: `denied` for one that others own or get into; what mkdir(2) answers.
    static func prepare(_ root: String) throws(LunetteError) {
        guard geteuid() != 0, root == fallback else { return }
        let hint = "set XDG_RUNTIME_DIR, or give --root a folder of your own"
        // Only its owner gets in, from the start; one that is there already is looked at like any.
        let made = lnt_host_mkdirat(-100, root, 0o700)
        if made < 0, -made != EEXIST {
            var failure = SystemCallError("make directory", root, errno: -made).lunette
            failure.hint = hint
            throw failure
        }
        if let problem = problem(with: root) { throw LunetteError(.denied, "use \(root) for states: \(problem)", hint: hint) }
    }

    /// What speaks against trusting a folder; a link to one is none.
    static func problem(with folder: String) -> String? {
        let noFollow: Int32 = 0x100
        var status = lnt_host_stat()
        let found = lnt_host_stat(-100, folder, noFollow, &status)
        guard found == 0 else { return errnoText(-found) }
        guard status.mode & 0o170000 == 0o040000 else { return "it is no folder" }
        guard status.uid == geteuid() else { return "it belongs to uid \(status.uid)" }
        return status.mode & 0o077 == 0 ? nil : "others may get in"
    }
}
