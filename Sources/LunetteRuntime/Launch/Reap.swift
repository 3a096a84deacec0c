internal import CLinux
package import LunetteLinux
internal import LunetteSpec
internal import Synchronization

extension ContainerRuntime {
    /// Takes apart what a container left: processes (killed), shim, cgroups, run directory and, if asked, its storage.
    ///
    /// Idempotent; works from the id alone, so that recovery needs no record. What fails is in the report and can be tried again.
    package func reap(id: String, _ options: ReapOptions) async -> CleanupReport {
        var report = CleanupReport()
        do throws(LunetteError) { try ContainerPlaces.validate(id: id) } catch {
            report.record("container id", failure: error)
            return report
        }
        let container = live.withLock { $0.removeValue(forKey: id) }
        if let connection = container?.connection, connection.closed.known == nil {
            await dismiss(connection, hasEnded: container?.knownExit != nil)
        }
        let places = ContainerPlaces(configuration, id: id)
        let cgroup = cgroups.container(id)
        let shim = container?.record.shim
        return await blocking { [report] in
            var report = report
            Self.takeApart(places, cgroup, options, shim: shim, &report)
            return report
        }
    }

    /// Lets the shim go and waits until it has gone (it drops the overlay on its way out).
    private func dismiss(_ connection: ShimConnection, hasEnded: Bool) async {
        do throws(LunetteError) {
            try await connection.post { packet(header(hasEnded ? LNT_MSG_RELEASE : LNT_MSG_ABORT, $0)) }
        } catch {
            // Gone already, or so stuck that takeApart kills it.
            return
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { _ = await connection.closed.valueUnlessCancelled() }
            // A cancelled sleep has lost the race: nothing to report.
            group.addTask { try? await Task.sleep(for: .seconds(5)) }
            await group.next()
            group.cancelAll()
        }
    }

    /// - Parameter shim: the monitor, when this engine knew it; another is looked for.
    static func takeApart(
        _ places: ContainerPlaces, _ cgroup: ContainerCgroup, _ options: ReapOptions, shim: ProcessIdentity?, _ report: inout CleanupReport
    ) {
        report.step("shim") { () throws(LunetteError) in try endShim(places, known: shim) }
        // The run directory is how a shim is found: it stays as long as there may be one.
        let mayHaveShim = !report.isClean
        report.step("processes") { () throws(LunetteError) in
            let isEmpty = try atBorder("kill the processes of \(places.id)", { () throws(SystemCallError) in try cgroup.killAll() })
            if !isEmpty { throw LunetteError(.timeout, "kill the processes of \(places.id): some did not end in 10 s", target: places.id) }
        }
        let failures = cgroup.remove()
        if failures.isEmpty { report.record(done: "cgroups") }
        for failure in failures { report.record("cgroups", failure: failure.lunette) }
        faultPoint("remove.cgroups")
        if !mayHaveShim {
            report.step("run directory") { () throws(LunetteError) in try removeTree("\(places.state)/containers", places.id) }
        }
        faultPoint("remove.rundir")
        if options.storage {
            report.step("storage") { () throws(LunetteError) in try removeTree("\(places.root)/containers", places.id) }
            faultPoint("remove.upper")
        }
    }

    private static func removeTree(_ parent: String, _ name: String) throws(LunetteError) {
        try atBorder(
            nil,
            { () throws(SystemCallError) in
                let directory: Directory
                do throws(SystemCallError) { directory = try Directory(parent) } catch {
                    if error.errno == ErrorNumber.noEntry { return }
                    throw error
                }
                try directory.removeTree(name)
            })
    }

    /// Ends a shim that nobody here is connected to: asks it by its socket, and kills one that doesn't obey or can't be asked.
    private static func endShim(_ places: ContainerPlaces, known: ProcessIdentity?) throws(LunetteError) {
        try atBorder(
            "end the monitor of \(places.id)",
            { () throws(SystemCallError) in
                try askShim(places)
                if let known {
                    // Proven to be the one, so nothing has to be looked for.
                    try kill([known], places)
                } else if try mayHaveShim(places) {
                    // Killed at once: it is too young to have run anything, or somebody took its socket away. A stage that it was just
                    // cloning shows up in the next round.
                    for _ in 0..<10 {
                        let found = ShimScan.find(below: "\(places.state)/containers")[places.id] ?? []
                        if found.isEmpty { return }
                        try kill(found, places)
                    }
                }
            })
    }

    private static func askShim(_ places: ContainerPlaces) throws(SystemCallError) {
        let socket: UnixSocket
        do throws(SystemCallError) { socket = try .connect(places.socket, kind: .packet) } catch {
            // No socket, or one without a listener.
            if error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.connectionRefused { return }
            throw error
        }
        // The kernel's word for who listens, not the shim's.
        let process = try ProcessDescriptor.open(pid: try socket.peer().pid)
        // After an exit it refuses to be aborted but leaves when released. A failure to send shows in the wait.
        for type in [LNT_MSG_ABORT, LNT_MSG_RELEASE] { _ = try? socket.send(packet(header(type, 1)), wait: false) }
        if !process.waitForExit(milliseconds: 5000) {
            guard ProcessStat.read(pid: process.pid)?.command == "lunette-shim" else { return }
            try process.signal(9)
            _ = process.waitForExit(milliseconds: 2000)
        }
        // Ours in the same process before an adoption, else somebody else's child: both fine.
        _ = try? process.reap(block: false)
    }

    /// Looking through all processes is spared where no shim can be: one without a run directory fails to bind its socket, and where that
    /// directory has gone before the storage, an earlier teardown saw the shim's end.
    private static func mayHaveShim(_ places: ContainerPlaces) throws(SystemCallError) -> Bool {
        func exists(_ parent: String) throws(SystemCallError) -> Bool {
            do throws(SystemCallError) { return try Directory(parent).exists(places.id) } catch {
                if error.errno == ErrorNumber.noEntry { return false }
                throw error
            }
        }
        if try exists("\(places.state)/containers") { return true }
        return try !exists("\(places.root)/containers")
    }

    private static func kill(_ identities: [ProcessIdentity], _ places: ContainerPlaces) throws(SystemCallError) {
        for identity in identities {
            guard let process = identity.open() else { continue }
            try process.signal(9)
            // It dies in the kernel's own time: a last fsync, a machine under load.
            if !process.waitForExit(milliseconds: 10_000) {
                throw SystemCallError("wait for the end of lunette-shim", "\(identity.pid)", errno: ErrorNumber.timedOut)
            }
            // Ours, or somebody else's child: both fine.
            _ = try? process.reap(block: false)
        }
    }
}
