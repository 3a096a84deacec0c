import LunetteLinux
import LunettePlugins
import LunetteSpec

/// Mounts volumes for their users by their drivers, and lets go of them when the last user is gone.
///
/// A driver's calls for one volume are serial: callers hold the volume's target, and this actor keeps one call per volume under way.
actor Volumes {
    private struct Mounted {
        /// Nil after an engine's restart, until the driver is asked again.
        var path: String?
        var users: Set<String> = []
    }

    private let state: State
    private let plugins: Plugins
    private let clock: any EngineClock
    private let root: String
    private var mounted: [String: Mounted] = [:]
    private var busy: [String: Task<Void, Never>] = [:]

    init(state: State, plugins: Plugins, clock: any EngineClock, root: String) {
        self.state = state
        self.plugins = plugins
        self.clock = clock
        self.root = root
    }

    private func request(_ record: VolumeRecord, _ operation: String) -> DriverRequest {
        DriverRequest(operation: operation, deadline: clock.now() + 60, volume: record.description)
    }

    /// Runs `body` when no other driver call for this volume is under way.
    private func serially<T: Sendable>(_ id: String, _ body: () async throws(LunetteError) -> T) async throws(LunetteError) -> T {
        while let task = busy[id] { await task.value }
        let done = Race<Void>()
        busy[id] = Task { await done.value }
        defer {
            busy[id] = nil
            done.finish(())
        }
        return try await body()
    }

    // MARK: Drivers

    func create(_ record: VolumeRecord, operation: String) async throws(LunetteError) -> Value {
        let driver = try await plugins.volumeDriver(record.driver)
        guard driver.functions.contains("create") else { return .null }
        return try await serially(record.id) { () async throws(LunetteError) in try await driver.create(request(record, operation)) }
    }

    func remove(_ record: VolumeRecord, operation: String) async throws(LunetteError) {
        let driver = try await plugins.volumeDriver(record.driver)
        try await serially(record.id) { () async throws(LunetteError) in
            if mounted.removeValue(forKey: record.id) != nil, driver.functions.contains("unmount") {
                try await driver.unmount(request(record, operation))
            }
            if driver.functions.contains("remove") { try await driver.remove(request(record, operation)) }
        }
    }

    /// The undo of a volume whose row never came, or has gone: the driver removes what it has of it.
    func undo(_ row: LedgerRow) async -> CleanupReport {
        var report = CleanupReport()
        let record = VolumeRecord(
            id: row.object, name: row.detail["name"]?.stringValue ?? row.object, driver: row.detail["driver"]?.stringValue ?? "local",
            options: row.detail["options"]?.mapValue ?? [:], driverState: row.detail["state"] ?? .null, createdAt: 0, requestID: "")
        do throws(LunetteError) {
            try await remove(record, operation: "recovery")
            report.record(done: "volume \(record.name)")
        } catch {
            report.record("volume \(record.name)", failure: error)
        }
        return report
    }

    /// - Returns: the driver's figures, or what we count ourselves.
    func usage(_ record: VolumeRecord, operation: String) async throws(LunetteError) -> VolumeUsage {
        let driver = try await plugins.volumeDriver(record.driver)
        if driver.functions.contains("usage"),
            let usage = try await serially(
                record.id, { () async throws(LunetteError) in try await driver.usage(request(record, operation)) })
        {
            return usage
        }
        guard let path = try await path(of: record, operation: operation) else {
            throw LunetteError(.unsupported, "the driver \"\(record.driver)\" can't tell how full a volume is", target: record.name)
        }
        let usage = try await blocking { () throws(LunetteError) in
            try atBorder("count volume \(record.name)") { () throws(SystemCallError) in
                try TreeUsage(of: try Directory(path), crossing: false)
            }
        }
        return VolumeUsage(used: usage.bytes, limit: record.size, inodes: usage.entries, enforced: false)
    }

    private func path(of record: VolumeRecord, operation: String) async throws(LunetteError) -> String? {
        if let path = mounted[record.id]?.path { return path }
        let driver = try await plugins.volumeDriver(record.driver)
        // A driver that needs no unmount may be asked for the path at any time; another's mount would have to be undone.
        guard !driver.functions.contains("unmount") else { return nil }
        return try await serially(record.id) { () async throws(LunetteError) in try await driver.mount(request(record, operation)).path }
    }

    // MARK: Users

    /// Makes the volume ready for one more user.
    /// - Returns: its directory on the host.
    func mount(_ record: VolumeRecord, user: String, operation: String) async throws(LunetteError) -> String {
        if let path = mounted[record.id]?.path {
            mounted[record.id]!.users.insert(user)
            return path
        }
        let driver = try await plugins.volumeDriver(record.driver)
        let (path, driverState) = try await serially(record.id) { () async throws(LunetteError) in
            try await driver.mount(request(record, operation))
        }
        guard path.hasPrefix("/"), !path.utf8.contains(0), !path.pathParts.contains("..") else {
            throw LunetteError(
                .pluginFailed,
                "the volume driver \"\(record.driver)\" gave \"\(displayable(path, limit: 200))\" for the volume \(record.name), which is not an absolute path",
                target: record.name)
        }
        mounted[record.id, default: Mounted()].path = path
        mounted[record.id]!.users.insert(user)
        if !driverState.isNull, driverState != record.driverState {
            try await state.updateVolume(record.id) { $0.driverState = driverState }
        }
        return path
    }

    /// Marks the volumes of a container that a later engine found running.
    func adopt(user: String, volumes: [String]) {
        for id in volumes { mounted[id, default: Mounted()].users.insert(user) }
    }

    /// Lets go of everything one container used.
    func release(user: String) async {
        for (id, entry) in mounted where entry.users.contains(user) {
            mounted[id]!.users.remove(user)
            guard mounted[id]!.users.isEmpty else { continue }
            mounted[id] = nil
            guard let record = await state.volumes[id] else { continue }
            do throws(LunetteError) {
                let driver = try await plugins.volumeDriver(record.driver)
                if driver.functions.contains("unmount") {
                    try await serially(id) { () async throws(LunetteError) in try await driver.unmount(request(record, "unmount-\(id)")) }
                }
            } catch {
                await state.log(
                    PendingEvent(
                        name: "volume.unmount_failed", target: .init(kind: "volume", id: id, name: record.name),
                        fields: ["reason": .string(error.message)]))
            }
        }
    }
}
