import LunetteSpec

/// Which option of `run`, `create` and `update` gives a field of the spec: errors name what was typed.
enum OptionNames {
    private static let flags = [
        "name": "--name", "user": "--user", "workdir": "--workdir", "hostname": "--hostname", "network": "--network", "pid": "--pid",
        "ipc": "--ipc", "entrypoint": "--entrypoint", "restart": "--restart", "remove_on_exit": "--rm", "time_limit": "--time-limit",
        "stop.signal": "--stop-signal", "stop.grace_period": "--stop-timeout", "log.max_size": "--log-opt max-size",
        "log.max_files": "--log-opt max-file", "security.seccomp": "--security-opt seccomp", "resources.memory": "--memory",
        "resources.memory_swap": "--memory-swap", "resources.memory_reservation": "--memory-reservation", "resources.cpus": "--cpus",
        "resources.cpu_shares": "--cpu-shares", "resources.cpuset": "--cpuset-cpus", "resources.cpuset_memory": "--cpuset-mems",
        "resources.pids": "--pids-limit", "resources.io_weight": "--blkio-weight", "resources.oom": "--oom",
        "resources.shm_size": "--shm-size", "health.exec": "--health-cmd", "health.http.path": "--health-http",
        "health.http.port": "--health-http",
        "health.tcp.port": "--health-tcp", "health.period": "--health-interval", "health.timeout": "--health-timeout",
        "health.failure_threshold": "--health-retries", "health.start_period": "--health-start-period",
        "health.start_interval": "--health-start-interval", "health.on_unhealthy": "--on-unhealthy", "lifecycle": "--lifecycle",
    ]
    private static let lists = [
        "dns": "--dns", "devices": "--device", "security.capabilities.add": "--cap-add", "security.capabilities.drop": "--cap-drop",
    ]
    private static let maps = ["env": "--env", "labels": "--label", "sysctls": "--sysctl", "rlimits": "--ulimit"]

    struct Option: Equatable {
        var name: String
        /// Which of several, counted from 0.
        var index: Int?
        /// Which of several, by name.
        var key: String?
    }

    /// - Returns: nil for a field that no single option gives.
    static func option(of field: String) -> Option? {
        let field = field.hasPrefix("spec.") ? String(field.dropFirst(5)) : field
        if let name = flags[field] { return Option(name: name) }
        if let open = field.firstIndex(of: "["), let name = lists[String(field[..<open])],
            let number = Int(field[field.index(after: open)...].prefix { $0 != "]" }), number > 0
        {
            return Option(name: name, index: number - 1)
        }
        if let (table, key) = field.cut(at: "."), let name = maps[String(table)] { return Option(name: name, key: String(key)) }
        return nil
    }

    /// The same failure with the option's name.
    static func named(_ error: LunetteError) -> LunetteError {
        guard let option = error.path.flatMap(option) else { return error }
        var error = error
        error.path = option.name
        return error
    }
}
