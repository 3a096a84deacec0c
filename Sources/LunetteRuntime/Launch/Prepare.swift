internal import CLinux
internal import LunetteLinux
package import LunetteSpec

extension ContainerRuntime {
    /// Launches up to the gate: cgroups, run directory, plan, shim, namespaces, mounts; the program has not run.
    ///
    /// On failure everything made is taken apart again before it throws, except storage that was there before.
    /// - Parameter launched: given, the program runs as soon as all is ready; called before the shim is told so, with what finds it again.
    ///   `start()` then only waits.
    /// - Throws: a launch failure with `details` = `{step, index, call, path, exit_code}`; `already_exists` when something of this id is left (reap it).
    package func create(_ request: CreateRequest, launched: LaunchNotice? = nil) async throws(LunetteError) -> Container {
        try ContainerPlaces.validate(id: request.id)
        let places = ContainerPlaces(configuration, id: request.id)
        let begun = Stopwatch()
        let (shim, hasNewStorage) = try await blocking { [self] () throws(LunetteError) in
            var stopwatch = begun
            let (input, hasNewStorage) = try prepare(request, places)
            stopwatch.lap("prepare")
            do throws(LunetteError) { return (try spawnShim(input, stopwatch), hasNewStorage) } catch {
                abandon(places, storage: hasNewStorage)
                throw error
            }
        }
        do throws(LunetteError) {
            let container = try await launch(shim, io: request.io, launched: launched)
            faultPoint("create.created")
            return container
        } catch {
            var failure = error
            let report = await reap(id: request.id, ReapOptions(storage: hasNewStorage))
            if let leftover = report.error { failure.causes.append(leftover) }
            throw failure
        }
    }

    /// Makes everything that must exist before the shim starts. Blocks. On failure what was made is gone again.
    /// - Returns: the shim's input, and whether this call made the storage.
    private func prepare(_ request: CreateRequest, _ places: ContainerPlaces) throws(LunetteError) -> (LaunchInput, hasNewStorage: Bool) {
        // The spec and the plan first: what can be refused is refused before anything exists.
        let spec = try runtimeSpec(request)
        var input = try plan(request, spec)
        var hasNewStorage = false
        var isOurs = false
        do throws(LunetteError) {
            try atBorder(nil) { () throws(SystemCallError) in
                let containers = try Directory(making: "\(configuration.state)/containers")
                guard try !containers.exists(request.id) else {
                    throw SystemCallError("make run directory", places.run, errno: ErrorNumber.exists)
                }
                isOurs = true
                _ = try containers.makeDirectory(request.id)
                faultPoint("create.rundir")
                let stores = try Directory(making: "\(configuration.root)/containers")
                hasNewStorage = try !stores.exists(request.id)
                let store = try stores.makeDirectory(request.id)
                try writeFiles(request, store)
                if case .layers = request.root {
                    // The overlay's root has the upper's mode: it is the container's `/`.
                    let upper = try store.makeDirectory("upper", mode: 0o755)
                    try check(lnt_host_fchmod(upper.descriptor.number, 0o755), "chmod", upper.label)
                    _ = try store.makeDirectory("work")
                }
                if case .empty = request.root {
                    let root = try store.makeDirectory("root", mode: 0o755)
                    try check(lnt_host_fchmod(root.descriptor.number, 0o755), "chmod", root.label)
                }
            }
            let cgroup = try cgroups.create(request.id)
            var limits = CgroupLimits(spec.linux.resources)
            // v1's group kill is the shim's, see `Container.endsGroupOnOOM`.
            limits.killGroupOnOOM = request.spec.resources.oom == .group && cgroup.version == .v2 ? true : nil
            input.notEnforced =
                request.spec.notEnforced + (try cgroup.apply(limits))
                + (request.spec.security.landlock?.notEnforced(abi: Landlock.abi) ?? [])
            input.endsGroupOnOOM = request.spec.resources.oom == .group && cgroup.version == .v1
            faultPoint("create.cgroups")
            return (input, hasNewStorage)
        } catch {
            // A run directory that was there before is somebody's: nothing of it is ours to take apart.
            if isOurs { abandon(places, storage: hasNewStorage) }
            var failure = error
            failure.message = "prepare container \(request.id): \(failure.message)"
            failure.target = request.id
            throw failure
        }
    }

    private func abandon(_ places: ContainerPlaces, storage: Bool) {
        var report = CleanupReport()
        // The first failure is what the caller hears; leftovers are found again by their id.
        Self.takeApart(places, cgroups.container(places.id), ReapOptions(storage: storage), shim: nil, &report)
    }

    /// Beside the upper, not in the run directory: the container may write to them, and /run is a small tmpfs that all the machine needs.
    private func writeFiles(_ request: CreateRequest, _ store: Directory) throws(SystemCallError) {
        let hostname = request.spec.hostname ?? String(request.id.prefix(12))
        let isHostNetwork = request.spec.network == .host
        let hosts = NetworkFiles.hosts(
            hostname: hostname, extra: request.hosts, hostFile: isHostNetwork ? readSmallFile("/etc/hosts") ?? "" : nil)
        let resolver = NetworkFiles.resolver(servers: request.spec.dns, hostFile: readSmallFile("/etc/resolv.conf") ?? "")
        for (name, text) in [("hosts", hosts), ("hostname", hostname + "\n"), ("resolv.conf", resolver)] {
            // The last run's, whatever was written to it.
            try store.removeFile(name)
            // The container's root owns them, by its id out here: they are mounted unmapped. Nobody else gets at them: the folder is closed
            // to all but root.
            try store.create(name, Array(text.utf8), mode: 0o644, owner: request.idRange?.first)
        }
    }
}
