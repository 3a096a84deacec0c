import Glibc
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
        // A pod's network and ipc among them (`pod = "NAME"`): the other may have the host's.
        for (name, mode) in [("network", network), ("pid", pid), ("ipc", ipc)] {
            if case .container(let other) = mode { words.append("the \(name) namespace of the container \(other)") }
        }
        if !security.addedCapabilities.isEmpty || security.addsAllCapabilities { words.append("capabilities added") }
        if !devices.isEmpty { words.append("devices") }
        if oci != nil { words.append("changes by oci") }
        return words
    }

    /// What a container has where its spec says nothing: filters of sockets hold against it what their users ask for.
    static let defaults: Value = {
        let spec = ContainerSpec(.none)
        let memory = Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE)))
        return [
            "pids": .int(ResourceSpec.defaultPids), "shm_size": .int(ResourceSpec.defaultShmSize),
            // The middle of the kernel's weights; half of memory is the kernel's default for a tmpfs (tmpfs(5)).
            "cpu_shares": 1024, "io_weight": 100, "tmpfs_size": .int(memory / 2),
            "log_size": .int(spec.log.maximumSize), "log_files": .int(spec.log.maximumFiles),
            "backoff_initial": .double(spec.restart.initialDelay), "backoff_max": .double(spec.restart.maximumDelay),
        ]
    }()
}
