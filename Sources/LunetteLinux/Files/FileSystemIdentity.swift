internal import CLinux

/// Runs `body` with this thread's file system ids set, keeping its capabilities: what it makes on an id-mapped mount belongs to them.
///
/// A host id that the mount doesn't map can't make files there (EOVERFLOW), root's neither. The ids are the thread's own, so `body` must
/// not leave it: call on the blocking executor.
package func withFileSystemIDs<T>(uid: UInt32, gid: UInt32, _ body: () throws(SystemCallError) -> T) throws(SystemCallError) -> T {
    if uid == 0, gid == 0 { return try body() }
    let before = try ProcessCapabilities()
    try check(lnt_set_fsids(uid, gid), "set file system ids", "\(uid):\(gid)")
    defer {
        // The thread goes back to the pool: it must not keep somebody's ids, so a failure here ends the process.
        guard lnt_set_fsids(0, 0) >= 0, lnt_capset(before.effective, before.permitted, before.inheritable) >= 0 else {
            fatalError("this thread's ids can't be restored")
        }
    }
    // Leaving uid 0 took the file capabilities away; back they come.
    try check(lnt_capset(before.permitted, before.permitted, before.inheritable), "capset")
    return try body()
}
