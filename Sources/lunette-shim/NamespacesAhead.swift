import CLinux

/// Namespaces that are made while the plan is still being written (`LNT_MSG_AHEAD`): a network namespace takes the kernel longer than everything
/// else of a launch.
///
/// This process makes them, keeps them by descriptor, and goes back to its own. The stage joins them as it joins those by path. Where that can't
/// be done, there are none, and the stage makes them itself.
struct NamespacesAhead {
    private static var offered: [3 of (kind: UInt64, path: StaticString)] {
        [
            (UInt64(LNT_NEWNET), "/proc/self/ns/net"), (UInt64(LNT_NEWIPC), "/proc/self/ns/ipc"), (UInt64(LNT_NEWUTS), "/proc/self/ns/uts"),
        ]
    }
    /// Above whatever a plan's descriptors get.
    private static let firstDescriptor: Int32 = 1000

    private var made: [3 of Int32] = [-1, -1, -1]

    /// None.
    init() {}

    /// - Parameter kinds: which.
    /// - Returns: nil when this process is in namespaces that aren't its own and can't get back: it must leave.
    init?(_ kinds: UInt64) {
        var own: [3 of Int32] = [-1, -1, -1]
        defer { Self.close(own) }
        for index in 0..<3 where kinds & Self.offered[index].kind != 0 {
            own[index] = lnt_open(literal(Self.offered[index].path), 0, 0)
            // The way back, tried before it is needed: below another user namespace than theirs there is none.
            guard own[index] >= 0, lnt_setns(own[index], Self.offered[index].kind) == 0 else { return }
        }
        guard lnt_unshare(kinds) == 0 else { return }
        var isComplete = true
        for index in 0..<3 where own[index] >= 0 {
            let new = lnt_open(literal(Self.offered[index].path), 0, 0)
            if new >= 0 {
                made[index] = lnt_dup(new, Self.firstDescriptor)
                _ = lnt_close(new)
            }
            if made[index] < 0 { isComplete = false }
            guard lnt_setns(own[index], Self.offered[index].kind) == 0 else { return nil }
        }
        if !isComplete {
            Self.close(made)
            made = [-1, -1, -1]
        }
    }

    private static func close(_ descriptors: [3 of Int32]) {
        for index in 0..<3 where descriptors[index] >= 0 { _ = lnt_close(descriptors[index]) }
    }

    /// Moves those that are to be new from there to what is joined.
    /// - Parameters:
    ///   - create: what the plan wants new; less what is there.
    ///   - join: gets the descriptor and the kind of each.
    func take(from create: inout UInt64, join: (Int32, UInt64) -> Void) {
        for index in 0..<3 where made[index] >= 0 && create & Self.offered[index].kind != 0 {
            create &= ~Self.offered[index].kind
            join(made[index], Self.offered[index].kind)
        }
    }
}
