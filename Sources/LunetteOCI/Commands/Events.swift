internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let events = Command(
        name: "events", summary: "print a container's figures, and each time that it ran out of memory, as lines of JSON", arguments: "ID",
        count: 1...1,
        options: [
            Option("stats", nil, .none, "print the figures once"),
            Option("interval", nil, .value("TIME"), "seconds between two lines of figures (default: 5s)"),
        ]
    ) { invocation throws(LunetteError) in
        let container = try invocation.store.findSettled(try invocation.containerID())
        let seconds = try interval(invocation.options.value("interval") ?? "5s")
        guard container.status() != .stopped else {
            throw LunetteError(.invalidState, "read the figures of container \(container.id): container not running", target: container.id)
        }
        if invocation.options.flag("stats") {
            try printOut(JSON.encode(figures(container)))
            return 0
        }
        return try follow(container, seconds)
    }

    private static func interval(_ text: String) throws(LunetteError) -> Double {
        let seconds: Double
        do { seconds = try Units.seconds(Double(text).map(Value.double) ?? .string(text)) } catch {
            throw LunetteError(.invalidArgument, "--interval: \(error.message)", hint: error.hint)
        }
        guard seconds >= 0.001 else { throw LunetteError(.invalidArgument, "--interval must be above 0") }
        return seconds
    }

    /// In runc's form, which containerd's shim and cAdvisor read.
    private static func figures(_ container: Container) -> Value {
        ["type": "stats", "id": .string(container.id), "data": container.record.cgroup.cgroup.eventData()]
    }

    /// Until the container ends.
    private static func follow(_ container: Container, _ seconds: Double) throws(LunetteError) -> Int32 {
        let cgroup = container.record.cgroup.cgroup
        guard let process = container.initProcess() else { return 0 }
        // Without a memory controller there are figures all the same.
        let memory = try? cgroup.events()
        var kills = cgroup.outOfMemoryKills()
        // cgroup v1 tells of the want and only then kills and counts: after its word the count is looked at for a while.
        let (patience, pause) = (2.0, 0.02)
        var lookUntil = 0.0
        while true {
            try printOut(JSON.encode(figures(container)))
            let deadline = SystemClock.monotonic + seconds
            while true {
                let now = SystemClock.monotonic
                guard now < deadline else { break }
                let left = now < lookUntil ? min(pause, deadline - now) : deadline - now
                var list = [pollfd(fd: process.descriptor.number, events: Int16(POLLIN), revents: 0)]
                if let memory { list.append(pollfd(fd: memory.descriptor.number, events: Int16(POLLIN), revents: 0)) }
                _ = poll(&list, nfds_t(list.count), Int32(min(left * 1000, 1e9)) + 1)
                if list.count > 1, list[1].revents != 0 {
                    try atBorder("watch the memory of container \(container.id)", { () throws(SystemCallError) in try memory?.drain() })
                    lookUntil = SystemClock.monotonic + patience
                }
                if lookUntil > 0 {
                    let counted = cgroup.outOfMemoryKills()
                    if counted > kills { try printOut(JSON.encode(["type": "oom", "id": .string(container.id)])) }
                    kills = counted
                }
                if list[0].revents != 0 { return 0 }
            }
        }
    }
}
