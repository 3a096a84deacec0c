import Glibc
import LunetteAPI
import LunetteSpec

/// Takes this process's signals on a thread of its own, so that they can be sent on to a container.
enum SignalRelay {
    static let names: [(number: Int32, name: String)] = [
        (SIGHUP, "SIGHUP"), (SIGINT, "SIGINT"), (SIGQUIT, "SIGQUIT"), (SIGTERM, "SIGTERM"), (SIGUSR1, "SIGUSR1"), (SIGUSR2, "SIGUSR2"),
        (SIGWINCH, "SIGWINCH"),
    ]

    /// Blocks them for this thread and those it starts from now on: call it before there are others.
    static func block() {
        var set = signals()
        pthread_sigmask(SIG_BLOCK, &set, nil)
        // A reader that goes is an error of `write`, not our death.
        signal(SIGPIPE, SIG_IGN)
    }

    /// Calls `handler` for each signal from now on, one after the other.
    static func start(_ handler: @escaping @Sendable (_ name: String, _ number: Int32) -> Void) throws(LunetteError) {
        try OwnThread.start {
            var set = signals()
            while true {
                var number: Int32 = 0
                guard sigwait(&set, &number) == 0 else { continue }
                if let entry = names.first(where: { $0.number == number }) { handler(entry.name, number) }
            }
        }
    }

    private static func signals() -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for entry in names { sigaddset(&set, entry.number) }
        return set
    }
}
