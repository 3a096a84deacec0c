internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let pause = Command(
        name: "pause", summary: "stop every process of a container where it stands", arguments: "ID", count: 1...1, options: []
    ) { invocation throws(LunetteError) in
        let container = try invocation.store.findSettled(try invocation.containerID())
        let status = container.status()
        guard status == .running || status == .created else {
            throw LunetteError(
                .invalidState, "pause container \(container.id): container not running (\(status.rawValue))", target: container.id)
        }
        guard container.record.cgroup.cgroup.canFreeze else {
            throw container.lacksCgroup("pause container \(container.id)", "to freeze it by")
        }
        try atBorder("pause container \(container.id)", { () throws(SystemCallError) in try container.record.cgroup.cgroup.freeze() })
        return 0
    }

    static let resume = Command(
        name: "resume", summary: "let a paused container go on", arguments: "ID", count: 1...1, options: []
    ) { invocation throws(LunetteError) in
        let container = try invocation.store.findSettled(try invocation.containerID())
        let status = container.status()
        guard status == .paused else {
            throw LunetteError(
                .invalidState, "resume container \(container.id): container not paused (\(status.rawValue))", target: container.id)
        }
        try atBorder("resume container \(container.id)", { () throws(SystemCallError) in try container.record.cgroup.cgroup.thaw() })
        return 0
    }
}
