/// Where an engine keeps things unless its options say otherwise: by LUNETTE_ROOT, LUNETTE_STATE and LUNETTE_CONFIG; without them root's in /var/lib,
/// /run and /etc, an ordinary user's by the XDG base directory specification.
package struct EnginePlaces: Sendable {
    /// Lasting state.
    package let root: String
    /// Passing state and the socket.
    package let state: String
    /// registries.json and certs.d; there or not.
    package let configuration: String

    /// States of `lunette-oci` without `--root`, but for root of a user namespace.
    package let runtimeState: String

    /// Reads the environment; makes nothing.
    package init(uid: UInt32, home: String) {
        let isRoot = uid == 0
        root = Environment["LUNETTE_ROOT"] ?? (isRoot ? "/var/lib/lunette" : Self.userFolder("XDG_DATA_HOME", home + "/.local/share"))
        state = Environment["LUNETTE_STATE"] ?? (isRoot ? "/run/lunette" : Self.userRuntimeFolder(uid).path)
        configuration = Environment["LUNETTE_CONFIG"] ?? (isRoot ? "/etc/lunette" : Self.userFolder("XDG_CONFIG_HOME", home + "/.config"))
        runtimeState = isRoot ? "/run/lunette-oci" : Self.userRuntimeFolder(uid, of: "lunette-oci").path
    }

    /// An ordinary user's state folder where nothing names another.
    /// - Parameter program: whose.
    package static func userRuntimeFolder(_ uid: UInt32, of program: String = "lunette") -> UserRuntimeFolder {
        UserRuntimeFolder(program, uid: uid, runtimeDirectory: Environment["XDG_RUNTIME_DIR"])
    }

    // The specification: a path that isn't absolute is to be ignored.
    private static func userFolder(_ name: String, _ usual: String) -> String {
        (Environment[name].flatMap { $0.utf8.first == UInt8(ascii: "/") ? $0 : nil } ?? usual) + "/lunette"
    }
}
