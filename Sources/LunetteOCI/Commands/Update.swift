internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let update = Command(
        name: "update", summary: "change a container's limits", arguments: "ID", count: 1...1,
        options: [
            Option("resources", "r", .value("FILE"), "the resources section to apply, as JSON; - is stdin. Other options are ignored then"),
            Option("blkio-weight", nil, .value("N"), "10 to 1000"),
            Option("cpu-period", nil, .value("MICROSECONDS"), "length of a period of CPU time"),
            Option("cpu-quota", nil, .value("MICROSECONDS"), "CPU time in each period; -1 = no limit"),
            Option("cpu-burst", nil, .value("MICROSECONDS"), "unused CPU time that may be used later"),
            Option("cpu-share", nil, .value("N"), "weight against other containers, 2 to 262144"),
            Option("cpu-rt-period", nil, .value("MICROSECONDS"), "length of a realtime period"),
            Option("cpu-rt-runtime", nil, .value("MICROSECONDS"), "realtime CPU time in each period"),
            Option("cpu-idle", nil, .value("0|1"), "run only when nobody else wants to"),
            Option("cpuset-cpus", nil, .value("LIST"), "processors to use"),
            Option("cpuset-mems", nil, .value("LIST"), "memory nodes to use"),
            Option("memory", nil, .value("SIZE"), "memory in bytes, or 64m, 1g; -1 = no limit"),
            Option("memory-reservation", nil, .value("SIZE"), "memory to keep when there is little"),
            Option("memory-swap", nil, .value("SIZE"), "memory and swap together; -1 = no limit"),
            Option("kernel-memory", nil, .value("SIZE"), "taken and not used: current kernels have no such limit"),
            Option("kernel-memory-tcp", nil, .value("SIZE"), "taken and not used"),
            Option("pids-limit", nil, .value("N"), "processes and threads; -1 = no limit"),
            Option("l3-cache-schema", nil, .value("TEXT"), "unsupported"),
            Option("mem-bw-schema", nil, .value("TEXT"), "unsupported"),
        ]
    ) { invocation throws(LunetteError) in
        let container = try invocation.store.findSettled(try invocation.containerID())
        let resources = try ResourceChange.read(invocation.options) { invocation.log.warn($0) }
        let status = container.status()
        guard status != .stopped, status != .creating else {
            throw LunetteError(
                .invalidState, "update container \(container.id): container not running (\(status.rawValue))", target: container.id)
        }
        guard container.cgroup.exists else {
            throw container.lacksCgroup("update container \(container.id)", "to hold its limits")
        }
        // Kubernetes' engines send what the container has once more.
        if !resources.devices.isEmpty, (try? container.spec())?.linux.resources.devices != resources.devices {
            invocation.log.warn("resources.devices is ignored: which devices a container may open is decided when it is created")
        }
        do throws(LunetteError) {
            for line in try container.record.cgroup.update(resources) { invocation.log.warn(line) }
        } catch { throw ResourceChange.naming(error, invocation.options) }
        return 0
    }
}

/// The limits that `update` was given.
enum ResourceChange {
    /// - Parameter warn: gets what of a file is ignored.
    static func read(_ options: Options, warn: (String) -> Void = { _ in }) throws(LunetteError) -> RuntimeSpec.Resources {
        if let file = options.value("resources") {
            let bytes = try atBorder(
                "read \(displayable(file, limit: 200))",
                { () throws(SystemCallError) in
                    try FileDescriptor.opening(file).readAll(limit: Bundle.configLimit)
                })
            let inventory = FieldInventory()
            let resources = try RuntimeSpec.Resources(
                try JSON.decode(bytes, source: displayable(file, limit: 200)), path: "resources", inventory: inventory)
            for warning in inventory.warnings { warn(warning) }
            return resources
        }
        for name in ["l3-cache-schema", "mem-bw-schema"] where options.value(name) != nil {
            throw LunetteError(.unsupported, "--\(name): unsupported: Intel RDT isn't built")
        }
        let value = try value(options)
        do throws(LunetteError) { return try RuntimeSpec.Resources(value) } catch { throw naming(error, options) }
    }

    private static let numbers: [(option: String, section: String, key: String)] = [
        ("blkio-weight", "blockIO", "weight"), ("cpu-period", "cpu", "period"), ("cpu-quota", "cpu", "quota"),
        ("cpu-burst", "cpu", "burst"),
        ("cpu-share", "cpu", "shares"), ("cpu-rt-period", "cpu", "realtimePeriod"), ("cpu-rt-runtime", "cpu", "realtimeRuntime"),
        ("cpu-idle", "cpu", "idle"), ("pids-limit", "pids", "limit"),
    ]
    private static let sizes = [("memory", "limit"), ("memory-reservation", "reservation"), ("memory-swap", "swap")]

    /// An error by the option that was typed, or the field of the file that was given, instead of the config's field.
    static func naming(_ error: LunetteError, _ options: Options) -> LunetteError {
        let prefix = "linux.resources."
        guard let path = error.path, path.hasPrefix(prefix) else { return error }
        let field = String(path.dropFirst(prefix.count))
        var named = error
        if options.value("resources") != nil {
            named.path = "resources.\(field)"
        } else {
            let others = [("cpuset-cpus", "cpu.cpus"), ("cpuset-mems", "cpu.mems")] + sizes.map { ($0.0, "memory.\($0.1)") }
            let known = numbers.map { ($0.option, "\($0.section).\($0.key)") } + others
            if let option = known.first(where: { $0.1 == field })?.0 { named.path = "--\(option)" }
        }
        return named
    }

    /// In the config's own form, so that one reader checks both.
    private static func value(_ options: Options) throws(LunetteError) -> Value {
        var sections: [String: ValueMap] = [:]
        for entry in numbers {
            if let number = try options.number(entry.option) { sections[entry.section, default: [:]][entry.key] = .int(number) }
        }
        for (option, key) in sizes {
            if let size = try options.size(option) { sections["memory", default: [:]][key] = .int(size) }
        }
        // Not used, but no reason to take what is no size.
        for option in ["kernel-memory", "kernel-memory-tcp"] { _ = try options.size(option) }
        for (option, key) in [("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")] {
            if let text = options.value(option) { sections["cpu", default: [:]][key] = .string(text) }
        }
        var map = ValueMap()
        for (key, section) in sections { map[key] = .map(section) }
        return .map(map)
    }
}
