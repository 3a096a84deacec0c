extension LaunchPlanBuilder {
    /// The specification's default devices and the spec's own, and the links that every program expects.
    ///
    /// - Parameters:
    ///   - isMounted: /dev is a file system of the container's own, on which nodes can be made.
    ///   - binds: /dev is the host's: it has all that it needs, and nothing may be made there but what the spec names.
    mutating func addDevices(isMounted: Bool, binds: Bool) throws(LunetteError) {
        // A user namespace may neither make nodes nor open those that it made: devices are bound then. Where /dev is part of the root,
        // binding leaves nothing behind in the image.
        let makesNodes = inputs.handover != nil && isMounted && spec.linux.namespace(.user) == nil && inputs.mapsTrees
        if !binds {
            for device in RuntimeDefaults.devices where !spec.linux.devices.contains(where: { $0.path == device.path }) {
                if makesNodes {
                    makeNode(device.path, 0o20666, device.major, device.minor)
                } else {
                    try bindDevice(device.path, device.path, .characterDevice(major: device.major, minor: device.minor))
                }
            }
        }
        note(nil)
        for (index, device) in spec.linux.devices.enumerated() {
            let path = "linux.devices[\(index)]"
            defer { note(path) }
            let target = try ContainerPath.normalise(device.path, path: "\(path).path")
            guard let major = UInt32(exactly: device.major), let minor = UInt32(exactly: device.minor) else {
                throw LunetteError(.invalidArgument, "\(device.major):\(device.minor) is not a device's number", path: path)
            }
            if makesNodes || (device.type == "p" && inputs.handover != nil) {
                let kind: UInt32 =
                    switch device.type {
                    case "p": 0o10000
                    case "b": 0o60000
                    default: 0o20000
                    }
                makeNode(target, kind | (device.fileMode ?? 0o666) & 0o7777, major, minor, device.uid ?? 0, device.gid ?? 0)
                continue
            }
            guard device.type != "p" else {
                throw LunetteError(.unsupported, "only devices are bound, not pipes", path: "\(path).type")
            }
            let expectation: TreePlan.Expectation = device.type == "b" ? .anything : .characterDevice(major: major, minor: minor)
            try bindDevice(device.source ?? target, target, expectation)
        }
        if !binds { for link in RuntimeDefaults.deviceLinks { initSteps.append(.makeSymlink(path: link.path, target: link.target)) } }
        note(nil)
    }

    private mutating func makeNode(
        _ path: String, _ mode: UInt32, _ major: UInt32, _ minor: UInt32, _ uid: UInt32 = 0, _ gid: UInt32 = 0
    ) {
        initSteps.append(.makeDevice(DevicePlan(path: path, mode: mode, major: major, minor: minor, uid: uid, gid: gid)))
    }

    private mutating func bindDevice(_ source: String, _ target: String, _ expectation: TreePlan.Expectation) throws(LunetteError) {
        let tree = try slot()
        hostSteps.append(
            .openTree(
                TreePlan(
                    slot: tree, source: .path(source), attributes: .ofNode, expectation: expectation, refusesSymlinks: true))
        )
        initSteps.append(.attach(AttachPlan(slot: tree, target: target, creation: .asSource, refusesSymlinks: true)))
    }
}
