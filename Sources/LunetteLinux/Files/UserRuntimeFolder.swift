internal import CLinux
internal import Glibc
package import LunetteSpec

/// An ordinary user's folder for what lasts as long as a session, by the XDG base directory specification: below `$XDG_RUNTIME_DIR`; where no
/// session has set that, below /run/user/UID when that can be trusted; else a folder of the user's own in /tmp.
package struct UserRuntimeFolder: Sendable {
    /// Where to keep things.
    package let path: String
    /// What has to be the user's own for that to be safe.
    private let place: String
    private let uid: UInt32
    private let isNamed: Bool

    /// Chooses; makes nothing.
    /// - Parameters:
    ///   - name: what the folder is called there.
    ///   - runtimeDirectory: what XDG_RUNTIME_DIR says. A path that isn't absolute is ignored, as the specification wants it.
    package init(_ name: String, uid: UInt32, runtimeDirectory: String?) {
        self.uid = uid
        if let folder = runtimeDirectory, folder.utf8.first == UInt8(ascii: "/") {
            (place, path, isNamed) = (folder, "\(folder)/\(name)", true)
        } else if Self.problem(with: "/run/user/\(uid)", uid: uid) == nil {
            (place, path, isNamed) = ("/run/user/\(uid)", "/run/user/\(uid)/\(name)", false)
        } else {
            let own = "/tmp/\(name)-\(uid)"
            (place, path, isNamed) = (own, own, false)
        }
    }

    /// Has a folder in /tmp be there, and looks at whose it is before anything in it is trusted: whoever could write to it could put a socket or a
    /// container there. Nobody can put another in its place afterwards: /tmp is sticky.
    /// - Parameters:
    ///   - purpose: what it is used for, in messages.
    ///   - alternative: what else can be given, for the hint.
    /// - Throws: `denied` for one that isn't the user's alone; what mkdir(2) answers.
    package func prepare(for purpose: String, alternative: String) throws(LunetteError) {
        let hint =
            isNamed
            ? "XDG_RUNTIME_DIR names it: unset it (after su it is still the other user's), or \(alternative)"
            : "set XDG_RUNTIME_DIR, or \(alternative)"
        if place == path {
            // Only its owner gets in, from the start; one that is there already is looked at like any.
            let made = lnt_host_mkdirat(-100, place, 0o700)
            if made < 0, -made != ErrorNumber.exists {
                var failure = SystemCallError("make directory", place, errno: -made).lunette
                failure.hint = hint
                throw failure
            }
        }
        guard let problem = Self.problem(with: place, uid: uid, isPrivate: place == path) else { return }
        throw LunetteError(.denied, "use \(displayable(place, limit: 200)) for \(purpose): \(problem)", hint: hint)
    }

    /// What speaks against trusting a folder; a link to one is none.
    private static func problem(with folder: String, uid: UInt32, isPrivate: Bool = false) -> String? {
        let noFollow: Int32 = 0x100
        var status = lnt_host_stat()
        let found = lnt_host_stat(-100, folder, noFollow, &status)
        guard found == 0 else { return errnoText(-found) }
        guard FileKind(rawValue: status.mode & 0o170000) == .directory else { return "it is no folder" }
        guard status.uid == uid else { return "it belongs to uid \(status.uid)" }
        if status.mode & 0o022 != 0 { return "others may write to it" }
        return isPrivate && status.mode & 0o077 != 0 ? "others may get in" : nil
    }
}
