internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Hears of files and folders that are renamed or removed (inotify(7)). It says that something may have happened, not what.
struct RenameWatch {
    let descriptor: FileDescriptor

    /// - Parameter paths: what can't be watched, because it isn't there or its user may not read it, is left out; then a rename in the folder around
    ///   it is heard of, where that may be read.
    /// - Returns: nil where the user has as many watches as its limits allow.
    init?(_ paths: [String]) {
        let made = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
        guard made >= 0 else { return nil }
        descriptor = FileDescriptor(owning: made)
        // Several paths may be one file: what is asked for adds up.
        let flags = UInt32(IN_DONT_FOLLOW) | UInt32(IN_MASK_ADD)
        for path in paths where inotify_add_watch(made, path, UInt32(IN_MOVE_SELF | IN_DELETE_SELF) | flags) < 0 {
            let folder = "/" + path.pathParts.dropLast().joined(separator: "/")
            _ = inotify_add_watch(made, folder, UInt32(IN_MOVED_FROM | IN_MOVED_TO) | flags)
        }
    }

    /// Takes what was heard away.
    func drain() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while read(descriptor.number, &buffer, buffer.count) > 0 {}
    }
}
