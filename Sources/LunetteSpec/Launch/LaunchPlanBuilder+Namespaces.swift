/// The namespaces, and what is set in them before the root is there.
extension LaunchPlanBuilder {
    func namespaces() throws(LunetteError) -> NamespacePlan {
        try requireMountNamespace()
        var plan = NamespacePlan(create: [.mount])
        for kind in [RuntimeSpec.LinuxSection.NamespaceKind.user, .network, .ipc, .uts, .pid, .cgroup, .time] {
            guard let namespace = spec.linux.namespace(kind) else { continue }
            let flag = Self.flag(kind)
            if let join = inputs.joins.first(where: { $0.kind == flag }) {
                plan.join.append(join)
            } else if let path = namespace.path {
                plan.join.append(.init(kind: flag, source: .path(path)))
            } else {
                plan.create.insert(flag)
            }
        }
        if plan.create.contains(.user) {
            guard !spec.linux.uidMappings.isEmpty, !spec.linux.gidMappings.isEmpty else {
                throw LunetteError(.invalidArgument, "a user namespace needs id mappings", path: "linux.uidMappings")
            }
            plan.uidMappings = spec.linux.uidMappings
            plan.gidMappings = spec.linux.gidMappings
        } else if !spec.linux.uidMappings.isEmpty || !spec.linux.gidMappings.isEmpty {
            throw LunetteError(.invalidArgument, "id mappings need a user namespace of the container's own", path: "linux.uidMappings")
        }
        return plan
    }

    /// Everything that a launch mounts would be mounted on the host, or in somebody else's sight, and a root can't be left behind there.
    private func requireMountNamespace() throws(LunetteError) {
        guard let index = spec.linux.namespaces.firstIndex(where: { $0.kind == .mount }) else {
            throw LunetteError(
                .unsupported, "a container without a mount namespace of its own isn't built", path: "linux.namespaces",
                hint: "add {\"type\": \"mount\"}")
        }
        guard spec.linux.namespaces[index].path == nil else {
            throw LunetteError(
                .unsupported, "joining a mount namespace isn't built: a container's root is mounted in a new one",
                path: "linux.namespaces[\(index)].path", hint: "leave the path out; every other kind of namespace can be joined")
        }
    }

    static func flag(_ kind: RuntimeSpec.LinuxSection.NamespaceKind) -> NamespacePlan.Kinds {
        switch kind {
        case .mount: .mount
        case .pid: .pid
        case .network: .network
        case .uts: .uts
        case .ipc: .ipc
        case .user: .user
        case .cgroup: .cgroup
        case .time: .time
        }
    }

    mutating func addNames() throws(LunetteError) {
        let ownsNames = spec.linux.namespace(.uts).map { $0.path == nil } ?? false
        for (name, path) in [(spec.hostname, "hostname"), (spec.domainname, "domainname")] {
            // Of a bundle, as Go's callers write what they don't set.
            guard let name, !isHandover || !name.isEmpty else { continue }
            // Without a namespace of its own this would rename the host.
            guard ownsNames else { throw LunetteError(.invalidArgument, "needs a uts namespace of the container's own", path: path) }
            if isHandover { try Names.validateKernelName(name, path: path) } else { try Names.validateHostname(name, path: path) }
            namespaceSteps.append(path == "hostname" ? .setHostname(name) : .setDomainname(name))
            note(path)
        }
        let joinsNetwork = inputs.joins.contains { $0.kind == .network }
        if let network = spec.linux.namespace(.network), network.path == nil, !joinsNetwork { namespaceSteps.append(.raiseLoopback) }
        note(nil)
        try addTimeOffsets()
        note("linux.timeOffsets")
        try addNetworkDevices()
        note("linux.netDevices")
    }
}
