internal import CLinux
internal import Glibc
internal import Synchronization

/// The places where a test may kill the engine, all of them, so that one test can walk the list.
///
/// A name is `noun.step`; its point stands directly after the step it is named for.
package enum FaultPoints {
    private static let extra = Mutex<[String]>([])

    /// Every known name, sorted. `runtime.*` are here; other parts add theirs with `register`.
    package static var all: [String] { (runtime + extra.withLock { $0 }).sorted() }

    package static let runtime = [
        "create.rundir", "create.cgroups", "create.plan", "create.spawned", "create.created", "start.sent", "exec.sent", "kill.sent",
        "remove.cgroups", "remove.rundir", "remove.upper",
    ]

    package static func register(_ names: [String]) {
        extra.withLock { known in for name in names where !known.contains(name) { known.append(name) } }
    }
}

#if DEBUG
    // Read once: the environment doesn't change, and getenv beside a setenv elsewhere is a race.
    private let chosenFault: String? = getenv("LUNETTE_FAULT").map { String(cString: $0) }

    /// Kills this process with SIGKILL when `LUNETTE_FAULT` names this point. Debug builds only.
    @inline(never)
    package func faultPoint(_ name: String) {
        if let chosenFault, chosenFault == name {
            _ = lnt_host_kill(getpid(), SIGKILL)
            // Pending signals are delivered on the way out of the call; this line is for the analyser.
            while true { pause() }
        }
    }
#else
    @inline(__always)
    package func faultPoint(_ name: StaticString) {}
#endif
