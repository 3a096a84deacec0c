internal import CLuaBridge
internal import Glibc
internal import LunetteSpec
internal import Synchronization

/// Turns Ctrl-C into a cancel of the running program; the second one ends the process.
final class SignalWatch: Sendable {
    private let readEnd: Int32
    private let writeEnd: Int32
    private let endsOnSecond: Bool
    private let takesPipe: Bool
    private let onInterrupt: (@Sendable () -> Void)?
    private let onEnd: (@Sendable () -> Void)?
    private let seen = Atomic<Int32>(0)

    /// The signal that came, or 0.
    var signal: Int32 { seen.load(ordering: .relaxed) }

    /// Says that the signal was dealt with: the next one is a first one again.
    func forget() { seen.store(0, ordering: .relaxed) }

    /// - Parameters:
    ///   - endsOnSecond: a second SIGINT ends the process; in the REPL it is for the line that runs then.
    ///   - takesPipe: a reader of the output that has left (`| head`) is such a signal too; else it ends the process at once.
    ///   - onEnd: called before a signal ends the process.
    init(
        _ host: LuaHost, endsOnSecond: Bool = true, takesPipe: Bool = false, onInterrupt: (@Sendable () -> Void)? = nil,
        onEnd: (@Sendable () -> Void)? = nil
    ) {
        self.endsOnSecond = endsOnSecond
        self.takesPipe = takesPipe
        self.onEnd = onEnd
        self.onInterrupt = onInterrupt
        var ends: [Int32] = [-1, -1]
        guard lnt_lua_pipe(&ends) == 0 else {
            (readEnd, writeEnd) = (-1, -1)
            return
        }
        (readEnd, writeEnd) = (ends[0], ends[1])
        let (mailbox, interrupter) = (host.mailbox, host.state.interrupter)
        lnt_lua_signals_watch(writeEnd, takesPipe)
        onOwnThread { self.watch(mailbox, interrupter) }
    }

    private func watch(_ mailbox: Mailbox, _ interrupter: LuaState.Interrupter) {
        var byte: UInt8 = 0
        while true {
            let count = read(readEnd, &byte, 1)
            if count < 0, errno == EINTR { continue }
            guard count == 1, byte != 0 else { break }
            let isRepeated = seen.exchange(Int32(byte), ordering: .relaxed) != 0
            if isRepeated && endsOnSecond || Int32(byte) != SIGINT && !endsOnSecond {
                onEnd?()
                _exit(128 + Int32(byte))
            }
            LuaHost.interrupt(mailbox, interrupter)
            onInterrupt?()
        }
        close(readEnd)
    }

    /// Gives the signals back and lets the thread go; after it no interrupt reaches the state.
    func stop() {
        guard writeEnd >= 0 else { return }
        lnt_lua_signals_watch(-1, takesPipe)
        var end: UInt8 = 0
        _ = write(writeEnd, &end, 1)
        close(writeEnd)
    }
}
