import LunetteAPI
import LunetteSpec

// What a container has of the machine beyond what any container has: for who is asked whether a script may make it, and for filters of sockets.

extension ContainerRecord {
    /// What it has of the machine beyond what any container has, in words.
    var reaches: [String] {
        guard let function = APIRegistry.function("container.create") else { return [] }
        let paths = APIRegistry.hostPaths(in: ["spec": spec], for: function)
        // Stored as it was checked.
        return ((try? ContainerSpec(spec))?.reaches ?? ["a spec that can't be read"]) + paths
    }
}

extension ContainerSpec {
    /// What weakens the walls around a container, in a word each; host paths aside.
    var reaches: [String] {
        var words: [String] = []
        if security.isPrivileged { words.append("privileged") }
        if !security.hasUserNamespace { words.append("no user namespace") }
        if security.seccomp == .unconfined { words.append("no seccomp") }
        for (name, mode) in [("network", network), ("pid", pid), ("ipc", ipc)] where mode == .host { words.append("the host's \(name)") }
        for (name, mode) in [("pid", pid), ("ipc", ipc)] {
            if case .container(let other) = mode { words.append("the \(name) namespace of the container \(other)") }
        }
        if !security.addedCapabilities.isEmpty || security.addsAllCapabilities { words.append("capabilities added") }
        if !devices.isEmpty { words.append("devices") }
        if oci != nil { words.append("changes by oci") }
        return words
    }
}
