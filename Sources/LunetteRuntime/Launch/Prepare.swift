internal import CLinux
internal import LunetteLinux
package import LunetteSpec

extension ContainerRuntime {
    /// Launches up to the gate: cgroups, run directory, plan, shim, namespaces, mounts; the program has not run.
    ///
    /// On failure everything made is taken apart again before it throws, except storage that was there before.
    /// - Throws: a launch failure with `details` = `{step, index, call, path, exit_code}`; `already_exists` when something of this id is left (reap it).
    package func create(_ request: CreateRequest) async throws(LunetteError) -> Container {
        try ContainerPlaces.validate(id: request.id)
        let places = ContainerPlaces(configuration, id: request.id)
        var stopwatch = Stopwatch()
        let prepared = try await blocking { [self] () throws(LunetteError) in try prepare(request, places) }
        stopwatch.lap("prepare")
        do throws(LunetteError) {
            let input = try plan(request, prepared)
            let container = try await launch(input, stopwatch, io: request.io)
            faultPoint("create.created")
            return container
        } catch {
            var failure = error
            let report = await reap(id: request.id, ReapOptions(storage: prepared.hasNewStorage))
            if let leftover = report.error { failure.causes.append(leftover) }
            throw failure
        }
    }

    /// What exists before the plan is made.
    struct Prepared: Sendable {
        var cgroup: ContainerCgroup
        var degraded: [String]
        /// Storage was made by this call: a failed launch takes it away again.
        var hasNewStorage: Bool
    }

    private func prepare(_ request: CreateRequest, _ places: ContainerPlaces) throws(LunetteError) -> Prepared {
        var hasNewStorage = false
        do throws(LunetteError) {
            return try atBorder("prepare container \(request.id)", { () throws(SystemCallError) in
                let containers = try Directory(making: "\(configuration.state)/containers")
                guard try !containers.exists(request.id) else {
                    throw SystemCallError("make run directory", places.run, errno: ErrorNumber.exists)
                }
                let run = try containers.makeDirectory(request.id)
                try writeFiles(request, run)
                faultPoint("create.rundir")
                let stores = try Directory(making: "\(configuration.root)/containers")
                hasNewStorage = try !stores.exists(request.id)
                let store = try stores.makeDirectory(request.id)
                if case .layers = request.root {
                    // The overlay's root has the upper's mode: it is the container's `/`.
                    let upper = try store.makeDirectory("upper", mode: 0o755)
                    try check(lnt_host_fchmod(upper.descriptor.number, 0o755), "chmod", upper.label)
                    _ = try store.makeDirectory("work")
                }
                let cgroup = try cgroups.create(request.id)
                var limits = CgroupLimits(request.spec.resources)
                limits.devices = DeviceRules.defaults + request.spec.devices.compactMap(DeviceRules.rule)
                let degraded = try cgroup.apply(limits)
                faultPoint("create.cgroups")
                return Prepared(cgroup: cgroup, degraded: degraded, hasNewStorage: hasNewStorage)
            })
        } catch {
            // An existing run directory is somebody's: nothing of it is ours to take apart.
            if error.errno != ErrorNumber.exists { abandon(places, storage: hasNewStorage) }
            throw error
        }
    }

    private func abandon(_ places: ContainerPlaces, storage: Bool) {
        var report = CleanupReport()
        // The first failure is what the caller hears; leftovers are found again by their id.
        Self.takeApart(places, cgroups.container(places.id), ReapOptions(storage: storage), &report)
    }

    private func writeFiles(_ request: CreateRequest, _ run: Directory) throws(SystemCallError) {
        let hostname = request.spec.hostname ?? String(request.id.prefix(12))
        let isHostNetwork = request.spec.network == .host
        let hosts = NetworkFiles.hosts(hostname: hostname, extra: request.hosts, hostFile: isHostNetwork ? readSmallFile("/etc/hosts") ?? "" : nil)
        let resolver = NetworkFiles.resolver(servers: request.spec.dns, hostFile: readSmallFile("/etc/resolv.conf") ?? "")
        for (name, text) in [("hosts", hosts), ("hostname", hostname + "\n"), ("resolv.conf", resolver)] {
            try run.write(name, Array(text.utf8), mode: 0o644)
        }
    }
}

/// Device nodes that every container may use, as Docker and runc allow: the harmless ones, and its own terminals.
enum DeviceRules {
    static let defaults: [CgroupLimits.DeviceRule] =
        [
            // Making nodes is harmless where no file system of the container lets them be opened.
            .init(allow: true, kind: "c", access: "m"), .init(allow: true, kind: "b", access: "m"),
        ] + [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)].map { .init(allow: true, kind: "c", major: $0.0, minor: $0.1) } + [
            .init(allow: true, kind: "c", major: 136)
        ]

    static func rule(_ device: DeviceSpec) -> CgroupLimits.DeviceRule? {
        var status = lnt_host_stat()
        // A missing device fails the launch later, with its own name.
        guard lnt_host_stat(-100, device.source, 0, &status) == 0 else { return nil }
        let kind: Character
        switch FileKind(rawValue: status.mode & 0o170000) {
        case .characterDevice?: kind = "c"
        case .blockDevice?: kind = "b"
        default: return nil
        }
        return .init(allow: true, kind: kind, major: Int64(status.rdev_major), minor: Int64(status.rdev_minor), access: device.permissions)
    }
}
