import LunetteSpec

extension ContainerOptions {
    /// Calls a function with the spec that the options made.
    /// - Throws: what the engine answers, with the option instead of the spec's field: that is what the caller wrote.
    func call(_ function: String, _ spec: ValueMap, _ client: Client) async throws(LunetteError) -> Value {
        do throws(LunetteError) { return try await client.call(function, ["spec": .map(spec)]) } catch {
            throw named(error)
        }
    }

    /// The same failure with the option that it is about.
    func named(_ error: LunetteError) -> LunetteError {
        var failure = error
        // The image is a word of its own, and the message says which.
        failure.path = error.path.flatMap { ["spec.image", "image"].contains($0) ? nil : naming($0) }
        // No process could be made, and so few were asked for that it is why.
        let tryAgain: Int32 = 11
        if error.errno == tryAgain, error.details?["step"] == "namespaces", let pidsLimit, (1..<16).contains(pidsLimit) {
            failure.path = "--pids-limit \(pidsLimit)"
        }
        if error.details?["step"] == "oom-score", let oomScoreAdj {
            failure.path = "--oom-score-adj \(oomScoreAdj)"
            failure.hint = "below the engine's own the kernel takes it from a privileged engine alone"
        }
        return failure
    }

    /// The option that a field of the spec comes from; the field itself where none is its only source.
    func naming(_ field: String) -> String {
        if ["spec.network", "spec.ipc", "spec.pod", "network", "ipc", "pod"].contains(field), let pod { return "--pod \(pod)" }
        if let option = OptionNames.option(of: field) { return "\(option.name)\(written(option).map { " \(Text.safe($0))" } ?? "")" }
        // In the order in which `mounts` lists them, counted from 1 as Lua does.
        let place = field.hasPrefix("spec.") ? String(field.dropFirst(5)) : field
        guard place.hasPrefix("mounts["), let number = Int(place.dropFirst(7).prefix { $0 != "]" }), number > 0 else { return field }
        let written = volume.map { "--volume \($0)" } + mount.map { "--mount \($0)" } + tmpfs.map { "--tmpfs \($0)" }
        return number <= written.count ? Text.safe(written[number - 1]) : field
    }

    /// What was typed behind an option.
    private func written(_ option: OptionNames.Option) -> String? {
        func item(_ items: [String]) -> String? {
            if let index = option.index { return index < items.count ? items[index] : nil }
            return option.key.flatMap { key in items.first { $0.hasPrefix(key + "=") } }
        }
        switch option.name {
        case "--name": return name
        case "--user": return user
        case "--workdir": return workdir
        case "--hostname": return hostname
        case "--network": return network
        case "--pid": return pid
        case "--ipc": return ipc
        case "--restart": return restart
        case "--time-limit": return timeLimit
        case "--stop-signal": return stopSignal
        case "--stop-timeout": return stopTimeout
        case "--memory": return memory
        case "--memory-swap": return memorySwap
        case "--memory-reservation": return memoryReservation
        case "--cpuset-cpus": return cpusetCpus
        case "--cpuset-mems": return cpusetMems
        case "--oom": return oom
        case "--shm-size": return shmSize
        case "--dns": return item(dns)
        case "--device": return item(device)
        case "--cap-add": return item(capAdd)
        case "--cap-drop": return item(capDrop)
        case "--env": return item(env) ?? option.key
        case "--label": return item(label) ?? option.key
        case "--sysctl": return item(sysctl)
        case "--ulimit": return item(ulimit)
        default: return nil
        }
    }
}
