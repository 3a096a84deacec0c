extension ContainerSpec {
    /// The normalised spec as a table; what has a default shows it, what is the image's to say is absent.
    public var value: Value {
        var map = ValueMap()
        map.set("name", name)
        switch root {
        case .image(let reference): map["image"] = .string(reference)
        case .rootfs(let path): map["rootfs"] = .string(path)
        case .none: map["pod"] = true
        }
        if let entrypoint { map["entrypoint"] = .array(entrypoint.map(Value.string)) }
        map["args"] = .array(args.map(Value.string))
        map["env"] = .strings(env)
        map.set("workdir", workdir)
        map.set("user", user?.description)
        map.set("hostname", hostname)
        map["labels"] = .strings(labels)
        map["tty"] = .bool(hasTerminal)
        map["stdin"] = .bool(hasStdin)
        map["init"] = .bool(hasInit)
        map["mounts"] = .array(mounts.map(\.value))
        map["readonly_rootfs"] = .bool(isRootReadonly)
        map["network"] = network == .own ? "none" : network.value
        map["pid"] = pid.value
        map["ipc"] = ipc.value
        map["dns"] = .array(dns.map(Value.string))
        map["resources"] = resources.value
        var limits = ValueMap()
        for limit in rlimits { limits[limit.name] = ["soft": Rlimit.value(limit.soft), "hard": Rlimit.value(limit.hard)] }
        map["rlimits"] = .map(limits)
        map["sysctls"] = .strings(sysctls)
        map["devices"] = .array(devices.map(\.value))
        map["security"] = security.value
        map["restart"] = restart.value
        if let health { map["health"] = health.value } else if hasNoHealth { map["health"] = false }
        map.set("lifecycle", lifecycle)
        map["stop"] = stop.value
        map["log"] = log.value
        map["remove_on_exit"] = .bool(removesOnExit)
        if let timeLimit { map["time_limit"] = .double(timeLimit) }
        if endsWithScript { map["lifetime"] = "script" }
        if let oci { map["oci"] = oci }
        return .map(map)
    }

    /// Applies `c:update{ resources=, labels= }`: tables merge, nulls delete, and the whole is validated again.
    /// - Throws: `invalid_argument` for fields that can't change on a living container.
    public func updated(by change: Value) throws(LunetteError) -> ContainerSpec {
        var reader = try FieldReader(change)
        for key in ["resources", "labels"] where reader.value(key) != nil { _ = try reader.table(key) }
        try reader.finish()
        return try ContainerSpec(value.merged(with: change))
    }
}
