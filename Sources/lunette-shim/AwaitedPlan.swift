import CLinux

/// A shim that is spawned ahead of its plan, so that its start and whoever makes the plan don't wait for each other (`LNT_MSG_PLAN`).
enum AwaitedPlan {
    private static let socket: Int32 = 3
    private static let socketKind: UInt32 = 0o140000
    private static let kindMask: UInt32 = 0o170000

    /// Whether descriptor 3 is a socket rather than a plan.
    static var isExpected: Bool {
        var status = lnt_file_status()
        return lnt_fstat(socket, &status) == 0 && status.mode & kindMask == socketKind
    }

    /// Waits for the plan and puts every descriptor where it would have been.
    /// - Returns: what was to be made meanwhile; nil when whoever spawned us has gone or says something else: nothing that outlives us has been
    ///   done yet then.
    static func receive() -> NamespacesAhead? {
        var ahead: NamespacesAhead?
        var next = Handed.control
        var message = lnt_message()
        repeat {
            var received = lnt_received()
            // Nothing else is open: the kernel gives them the numbers from 4 on, in their order.
            guard lnt_receive(socket, &message, MemoryLayout<lnt_message>.size, &received, 1) >= 0,
                received.size == MemoryLayout<lnt_message>.size
            else { return nil }
            if message.type == LNT_MSG_AHEAD.rawValue, received.count == 0, ahead == nil {
                ahead = NamespacesAhead(UInt64(message.id))
                guard ahead != nil else { return nil }
                continue
            }
            guard message.type == LNT_MSG_PLAN.rawValue, received.count > 0, received.fds.0 == next else { return nil }
            next += Int32(received.count)
        } while message.type != LNT_MSG_PLAN.rawValue || next - Handed.control < Int32(truncatingIfNeeded: message.id)
        return swapSocketAndPlan() ? ahead ?? NamespacesAhead() : nil
    }

    private static func swapSocketAndPlan() -> Bool {
        let kept = lnt_dup(socket, Handed.last + 1)
        guard kept >= 0, lnt_dup2(Handed.control, Handed.plan) >= 0, lnt_dup2(kept, Handed.control) >= 0 else { return false }
        return lnt_close(kept) == 0
    }
}
