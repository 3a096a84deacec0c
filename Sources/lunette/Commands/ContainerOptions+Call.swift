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
        failure.path = error.path.map(naming)
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
        if field == "spec.network" || field == "spec.ipc" || field == "spec.pod", let pod { return "--pod \(pod)" }
        for (name, option, value) in [
            ("spec.network", "--network", network), ("spec.pid", "--pid", pid), ("spec.ipc", "--ipc", ipc), ("spec.user", "--user", user),
            ("spec.workdir", "--workdir", workdir), ("spec.hostname", "--hostname", hostname), ("spec.name", "--name", name),
        ] where field == name {
            if let value { return "\(option) \(Text.safe(value))" }
        }
        // In the order in which `mounts` lists them, counted from 1 as Lua does.
        if field.hasPrefix("spec.rlimits."), let written = ulimit.first(where: { $0.hasPrefix(field.dropFirst(13) + "=") }) {
            return "--ulimit \(Text.safe(written))"
        }
        guard field.hasPrefix("spec.mounts["), let number = Int(field.dropFirst(12).prefix { $0 != "]" }), number > 0 else { return field }
        let written = volume.map { "--volume \($0)" } + mount.map { "--mount \($0)" } + tmpfs.map { "--tmpfs \($0)" }
        return number <= written.count ? Text.safe(written[number - 1]) : field
    }
}
