import LunetteSpec

extension ContainerOptions {
    /// Calls a function with the spec that the options made.
    /// - Throws: what the engine answers, with the option instead of the spec's field: that is what the caller wrote.
    func call(_ function: String, _ spec: ValueMap, _ client: Client) async throws(LunetteError) -> Value {
        do throws(LunetteError) { return try await client.call(function, ["spec": .map(spec)]) } catch {
            var failure = error
            failure.path = error.path.map(naming)
            throw failure
        }
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
        guard field.hasPrefix("spec.mounts["), let number = Int(field.dropFirst(12).prefix { $0 != "]" }), number > 0 else { return field }
        let written = volume.map { "--volume \($0)" } + mount.map { "--mount \($0)" } + tmpfs.map { "--tmpfs \($0)" }
        return number <= written.count ? Text.safe(written[number - 1]) : field
    }
}
