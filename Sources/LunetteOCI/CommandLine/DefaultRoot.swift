internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Where states are without `--root`: in /run for root, in a folder of the user's own for an ordinary user.
enum DefaultRoot {
    static var current: String { user?.path ?? "/run/lunette-oci" }

    /// Has an ordinary user's folder be there and be theirs alone, when `root` is that one.
    /// - Throws: as `UserRuntimeFolder.prepare`.
    static func prepare(_ root: String) throws(LunetteError) {
        guard let user, root == user.path else { return }
        try user.prepare(for: "states", alternative: "give --root a folder of your own")
    }

    private static var runtimeDirectory: String? { Environment["XDG_RUNTIME_DIR"] }

    private static var user: UserRuntimeFolder? {
        guard geteuid() != 0 || isNamespaced else { return nil }
        return UserRuntimeFolder("lunette-oci", uid: geteuid(), runtimeDirectory: runtimeDirectory)
    }

    /// Who is root in a user namespace alone, as under Podman, is an ordinary user all the same when there is a session; without one, as in a
    /// container, such a root has a /run of its own.
    private static var isNamespaced: Bool {
        guard let folder = runtimeDirectory, folder.utf8.first == UInt8(ascii: "/") else { return false }
        return !UserNamespace.current.isInitial
    }
}
