internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// What the kernel did in a container for want of memory.
package struct OutOfMemoryNews: Sendable, Equatable {
    /// Processes killed since the container's start.
    package var kills: Int64
    /// Whether the others are being ended too.
    package var endsGroup: Bool

    package init(kills: Int64, endsGroup: Bool) {
        self.kills = kills
        self.endsGroup = endsGroup
    }
}

extension Container {
    /// Calls `body` after each out-of-memory kill that the container survives; what ends it is in its exit. Without a shim nobody tells.
    package func whenOutOfMemory(_ body: @escaping @Sendable (OutOfMemoryNews) -> Void) { connection?.whenOutOfMemory(body) }

    func tellOOMPolicy(isGroup: Bool) async throws(LunetteError) {
        try await monitored().request { request in
            packet(
                lnt_signal(message: header(LNT_MSG_OOM_POLICY, request), signal: 0, process: 0, everyone: isGroup ? 1 : 0, zero: 0))
        }
    }
}
