extension LaunchPlanBuilder {
    /// Kernel settings of the container's own namespaces.
    mutating func addSettings() throws(LunetteError) {
        let linux = spec.linux
        func owns(_ kind: RuntimeSpec.LinuxSection.NamespaceKind) -> Bool {
            linux.namespace(kind) != nil && !inputs.hostNamespaces.contains(Self.flag(kind))
        }
        for key in linux.sysctl.keys.sorted() {
            let value = linux.sysctl[key]!
            if inputs.handover != nil {
                // A setting of the host's would be changed for everybody.
                try Sysctls.validate(
                    key, value, ownsNetwork: owns(.network), ownsIPC: owns(.ipc), ownsNames: owns(.uts), path: "linux.sysctl.\(key)")
            }
            initSteps.append(.writeSysctl(key: key, value: value, optional: RuntimeDefaults.networkSysctls[key] == value))
            note("linux.sysctl.\(key)")
        }
    }

    mutating func addTimeOffsets() throws(LunetteError) {
        guard !spec.linux.timeOffsets.isEmpty else { return }
        guard let namespace = spec.linux.namespace(.time), namespace.path == nil else {
            throw LunetteError(.invalidArgument, "needs a time namespace of the container's own", path: "linux.timeOffsets")
        }
        namespaceSteps.append(
            .setTimeOffsets(spec.linux.timeOffsets.map { "\($0.clock.rawValue) \($0.seconds) \($0.nanoseconds)" }))
    }

    mutating func addNetworkDevices() throws(LunetteError) {
        guard !spec.linux.netDevices.isEmpty else { return }
        guard spec.linux.namespace(.network) != nil else {
            throw LunetteError(
                .invalidArgument, "needs a network namespace: without one the interfaces would stay where they are",
                path: "linux.netDevices")
        }
        for device in spec.linux.netDevices { hostSteps.append(.moveNetworkDevice(name: device.name, newName: device.newName)) }
    }
}
