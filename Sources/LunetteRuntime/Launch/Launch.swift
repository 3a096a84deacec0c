internal import CLinux
internal import LunetteLinux
internal import LunetteSpec
internal import Synchronization

/// What the shim gets: a plan that names only what exists by now, and the descriptors that it names.
struct LaunchInput: Sendable {
    var id: String
    var plan: LaunchPlan
    /// fd 7 and on, in the order of `HostSource.passed`.
    var passed: [FileDescriptor] = []
    var cgroup: ContainerCgroup
    var notEnforced: [NotEnforced] = []
    /// Whether the shim ends all processes when the kernel kills one for want of memory (cgroup v1).
    var endsGroupOnOOM = false
}

/// A shim at work on its plan.
struct SpawnedShim: Sendable {
    var input: LaunchInput
    var connection: ShimConnection
    var child: ProcessDescriptor
    var record: ContainerRecord
    var stopwatch: Stopwatch
}

extension ContainerRuntime {
    /// Spawns the shim on a plan. Cgroup, run directory and storage exist by now. Blocks.
    func spawnShim(_ input: LaunchInput, _ begun: Stopwatch) throws(LunetteError) -> SpawnedShim {
        let places = ContainerPlaces(configuration, id: input.id)
        var stopwatch = begun
        let bytes = try input.plan.encoded()
        stopwatch.lap("plan")
        faultPoint("create.plan")
        let (connection, child, record) = try atBorder(
            "start the monitor of container \(input.id)",
            { () throws(SystemCallError) in
                let program = try self.shimProgram()
                let plan = try SealedMemory.make("lunette-plan", bytes)
                let (ours, theirs) = try UnixSocket.pair(kind: .packet)
                let run = try Directory(places.run)
                let storage = try Directory(places.storage)
                var request = SpawnRequest(.descriptor(program), arguments: ["lunette-shim", input.id])
                request.descriptors = [nil, nil, nil, plan, theirs.descriptor, run.descriptor, storage.descriptor] + input.passed
                let child = try spawn(request)
                guard let identity = ProcessIdentity.of(pid: child.pid) else {
                    throw SystemCallError("identify lunette-shim", "\(child.pid)", errno: ErrorNumber.noProcess)
                }
                return (
                    ShimConnection(ours, id: input.id), child,
                    ContainerRecord(id: input.id, shim: identity, initProcess: nil, notEnforced: input.notEnforced)
                )
            })
        stopwatch.lap("spawn")
        faultPoint("create.spawned")
        return SpawnedShim(input: input, connection: connection, child: child, record: record, stopwatch: stopwatch)
    }

    /// Waits for a spawned shim to reach the gate.
    ///
    /// Takes nothing apart on failure: whoever prepared does.
    func launch(_ shim: SpawnedShim, io: ProcessIO, launched: LaunchNotice?) async throws(LunetteError) -> Container {
        let (input, connection, child) = (shim.input, shim.connection, shim.child)
        let places = ContainerPlaces(configuration, id: input.id)
        var stopwatch = shim.stopwatch
        // Listening begins only with the container there, so that no event is lost; until then packets wait in the socket.
        let pending = OneShot<Container>()
        try atBorder(
            "listen to the monitor",
            { () throws(SystemCallError) in
                try connection.open { connection in pending.known?.connectionChanged(connection) }
            })
        let status: ShimStatus
        do throws(LunetteError) {
            if input.endsGroupOnOOM {
                // Before any START on the same socket, so no program runs without it.
                try await connection.post { request in
                    packet(lnt_signal(message: header(LNT_MSG_OOM_POLICY, request), signal: 0, process: 0, everyone: 1, zero: 0))
                }
            }
            if let launched {
                // Said while namespaces and mounts are being made, the way back and forth at the gate is saved.
                try await launched(shim.record)
                try await Container.open(connection, io)
            }
            status = try await connection.created.value().get()
        } catch {
            connection.close()
            await blocking { Self.end(child) }
            throw error
        }
        guard status.version == UInt32(LNT_SHIM_VERSION) else {
            connection.close()
            await blocking { Self.end(child) }
            throw LunetteError(
                .internal, "lunette-shim speaks version \(status.version), this engine \(LNT_SHIM_VERSION)",
                hint: "install both from one release")
        }
        stopwatch.lap("launch")
        var complete = shim.record
        complete.initProcess = ProcessIdentity.of(pid: status.initPID)
        let container = Container(
            record: complete, runtime: self, cgroup: input.cgroup, places: places, connection: connection, child: child,
            preparation: stopwatch.laps, io: io, isOpen: launched != nil)
        pending.fulfil(container)
        // What came between the gate and here.
        if connection.exited.known != nil || connection.closed.known != nil { container.connectionChanged(connection) }
        live.withLock { $0[input.id] = container }
        return container
    }

    /// Ends a shim of ours whose launch failed, and reaps it.
    private static func end(_ child: ProcessDescriptor) {
        // It leaves by itself after a failure; one that hangs is killed.
        if !child.waitForExit(milliseconds: 2000) { _ = try? child.signal(9) }
        _ = try? child.reap(block: true)
    }
}

/// Notes how long each phase took.
struct Stopwatch: Sendable {
    private(set) var laps: [(phase: String, seconds: Double)] = []
    private var last = SystemClock.monotonic

    mutating func lap(_ phase: String) {
        let now = SystemClock.monotonic
        laps.append((phase, now - last))
        last = now
    }
}
