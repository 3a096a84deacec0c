internal import LunetteSpec

extension CgroupWriter {
    /// Puts device rules in force, and takes earlier ones away.
    mutating func apply(_ rules: DeviceRules) throws(LunetteError) {
        switch cgroup.version {
        case .v1: try applyV1(rules)
        case .v2:
            guard let directory = cgroup.directories.first else { return try lack("devices", "no cgroup") }
            do throws(SystemCallError) { try DeviceFilter(rules.rules).attach(to: directory.path) } catch {
                // Kernels without CONFIG_CGROUP_BPF; a refusal for any other reason must not pass as "not there".
                guard [ErrorNumber.noSystemCall, ErrorNumber.invalid, ErrorNumber.notSupported].contains(error.errno) else {
                    return try refused(error, "devices")
                }
                try lack("devices", "this kernel has no device filters for cgroup v2 (CONFIG_CGROUP_BPF)")
            }
        }
    }

    private mutating func applyV1(_ rules: DeviceRules) throws(LunetteError) {
        let wanted = try rules.list()
        guard let devices = cgroup.directory("devices") else { return try lack("devices", "no devices controller in cgroup v1 here") }
        let current = DeviceRules.List(text: devices.read("devices.list") ?? "")
        if wanted.allowsByDefault || current.allowsByDefault {
            try write("devices", wanted.allowsByDefault ? "devices.allow" : "devices.deny", "a", "devices")
            try write("devices", wanted.allowsByDefault ? "devices.deny" : "devices.allow", wanted.exceptions.map(\.text), "devices")
        } else {
            // Only what differs: a running container keeps what it may open all the time.
            let old = Set(current.exceptions.map(\.text))
            let new = Set(wanted.exceptions.map(\.text))
            // What goes first: taking `c 1:3 r` away from a list that has got `c 1:3 rw` would leave a `w` of it.
            try write("devices", "devices.deny", old.subtracting(new).sorted(), "devices")
            try write("devices", "devices.allow", wanted.exceptions.map(\.text).filter { !old.contains($0) }, "devices")
        }
    }
}
