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
        return await blocking { [report] in
            var report = report
            Self.takeApart(places, cgroup, options, &report)
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

    static func takeApart(_ places: ContainerPlaces, _ cgroup: ContainerCgroup, _ options: ReapOptions, _ report: inout CleanupReport) {
        report.step("shim") { () throws(LunetteError) in try endShim(places) }
        report.step("processes") { () throws(LunetteError) in
            let isEmpty = try atBorder("kill the processes of \(places.id)", { () throws(SystemCallError) in try cgroup.killAll() })
            if !isEmpty { throw LunetteError(.timeout, "kill the processes of \(places.id): some did not end in 10 s", target: places.id) }
        }
        let failures = cgroup.remove()
        if failures.isEmpty { report.record(done: "cgroups") }
        for failure in failures { report.record("cgroups", failure: failure.lunette) }
        faultPoint("remove.cgroups")
        report.step("run directory") { () throws(LunetteError) in try removeTree("\(places.state)/containers", places.id) }
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

    /// Ends a shim that nobody here is connected to, found by its socket; a shim that doesn't obey is killed.
    private static func endShim(_ places: ContainerPlaces) throws(LunetteError) {
        try atBorder(
            "end the monitor of \(places.id)",
            { () throws(SystemCallError) in
                let socket: UnixSocket
                do throws(SystemCallError) { socket = try .connect(places.socket, kind: .packet) } catch {
                    // No socket, or one without a listener: no shim.
                    if error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.connectionRefused { return }
                    throw error
                }
                // The kernel's word for who listens, not the shim's.
                let process = try ProcessDescriptor.open(pid: try socket.peer().pid)
                // After an exit it refuses to be aborted but leaves when released.
                for type in [LNT_MSG_ABORT, LNT_MSG_RELEASE] { _ = try? socket.send(packet(header(type, 1)), wait: false) }
                if !process.waitForExit(milliseconds: 5000) {
                    guard ProcessStat.read(pid: process.pid)?.command == "lunette-shim" else { return }
                    try process.signal(9)
                    _ = process.waitForExit(milliseconds: 2000)
                }
                // Ours in the same process before an adoption, else somebody else's child: both fine.
                _ = try? process.reap(block: false)
            })
    }
}
