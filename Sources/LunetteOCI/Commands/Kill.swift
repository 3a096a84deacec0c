internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let kill = Command(
        name: "kill", summary: "send a signal to a container's pid 1 (default: SIGTERM; 0 asks whether it runs)", arguments: "ID [SIGNAL]",
        count: 1...2,
        options: [Option("all", "a", .none, "to every process of the container")]
    ) { invocation throws(LunetteError) in
        let id = try invocation.containerID()
        let text = invocation.options.arguments.count > 1 ? invocation.options.arguments[1] : nil
        // 0 is kill(2)'s way to ask whether somebody is there.
        let signal = text == "0" ? 0 : try text.map(Signal.init)?.number ?? Signal.term.number
        let container = try invocation.store.findSettled(id)
        invocation.log.debug(
            "signal \(signal) to pid 1 (\(container.record.initProcess?.pid ?? 0)) of a container that is \(container.status().rawValue)"
        )
        let notRunning = LunetteError(
            .invalidState, "signal container \(id): container not running (\(container.status().rawValue))", target: id)
        if invocation.options.flag("all") {
            let cgroup = container.cgroup
            if container.record.cgroup.cgroup.directories.isEmpty {
                for process in container.processes().compactMap(ProcessIdentity.of(pid:)).compactMap({ $0.open() }) {
                    _ = try atBorder("signal container \(id)", { () throws(SystemCallError) in try process.signal(signal) })
                }
                return 0
            }
            // As runc: with nobody left to signal this is no failure. A cgroup that isn't the container's (yet, any more) has others in it.
            guard cgroup.exists, !container.hasNobodyLeft() else { return 0 }
            if signal == Signal.kill.number {
                _ = try atBorder("kill container \(id)", { () throws(SystemCallError) in try cgroup.killAll() })
            } else {
                cgroup.signalAll(signal)
            }
            return 0
        }
        guard let process = container.initProcess() else { throw notRunning }
        let isThere = try atBorder("signal container \(id)", { () throws(SystemCallError) in try process.signal(signal) })
        guard isThere else { throw notRunning }
        // SIGKILL must end it also where it is frozen.
        if signal == Signal.kill.number {
            try atBorder("thaw container \(id)", { () throws(SystemCallError) in try container.record.cgroup.cgroup.thawForKill() })
        }
        return 0
    }
}
