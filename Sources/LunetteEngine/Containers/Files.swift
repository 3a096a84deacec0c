import LunetteAPI
import LunetteImages
import LunetteRuntime
import LunetteSpec

extension Engine {
    /// `c:diff()`.
    func changedFiles(_ call: Call) async throws(LunetteError) -> Value {
        let record = try await containerTarget(call)
        guard let image = record.image else {
            throw LunetteError(
                .unsupported, "compare the files of \(record.name): it has no image, what it writes is in its rootfs folder",
                target: record.name)
        }
        // Mount points that the runtime makes in the upper are not the container's doing.
        var hidden: Set<String> = ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]
        for mount in record.spec["mounts"]?.arrayValue ?? [] { if let target = mount["target"]?.stringValue { hidden.insert(target) } }
        let changes = try await host.changes(
            id: record.id, name: record.name, layers: try await images.get(image.id).snapshotPaths, hidden: hidden)
        return .array(changes.map { ["path": .string($0.path), "change": .string($0.kind.rawValue)] })
    }

    /// Saving processes needs CRIU, and Debian's (3.17) can't do it on kernels of today: said in so many words.
    func refuseCheckpoint(_ call: Call) async throws(LunetteError) -> Value {
        let record = try await containerTarget(call)
        let verb = call.request.function == "container.restore" ? "restore" : "checkpoint"
        throw LunetteError(
            .unsupported,
            "\(verb) container \(record.name): saving and restoring processes isn't built, Debian's CRIU can't do it on this kernel",
            target: record.name, hint: "stop it and start it again: its files and volumes stay")
    }
}
