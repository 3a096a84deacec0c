internal import CLinux
package import LunetteLinux
package import LunetteSpec
internal import Synchronization

extension ContainerRuntime {
    /// Looks at what is there of a container that another engine launched, and connects to it. Changes nothing.
    package func adopt(_ record: ContainerRecord) async -> ContainerObservation {
        let places = ContainerPlaces(configuration, id: record.id)
        let cgroup = cgroups.container(record.id)
        guard record.shim.bootID == ProcessIdentity.currentBootID else {
            // The machine restarted: /run may be on a disk, so a record of the last boot may still be there.
            if let exit = await blocking({ places.exitRecord() }) { return .exited(exit) }
            return .absent
        }
        let shim = await blocking { record.shim.open() }
        if let shim, let container = await reconnect(record, places, cgroup, shim) {
            let state = container.connection?.status?.state
            live.withLock { $0[record.id] = container }
            if let exit = container.knownExit { return .exited(exit) }
            if state == .created { return .created(container) }
            if state == .running || state == .launching {
                return await blocking { cgroup.isFrozen } ? .paused(container) : .running(container)
            }
        }
        if let exit = await blocking({ places.exitRecord() }) { return .exited(exit) }
        guard let initProcess = record.initProcess, await blocking({ initProcess.isAlive }) else { return .absent }
        let container = Container(
            record: record, runtime: self, cgroup: cgroup, places: places, connection: nil, child: nil, preparation: [])
        container.watchInit()
        live.withLock { $0[record.id] = container }
        return .unmonitored(container)
    }

    private func reconnect(
        _ record: ContainerRecord, _ places: ContainerPlaces, _ cgroup: ContainerCgroup, _ shim: ProcessDescriptor
    ) async -> Container? {
        let socket: UnixSocket
        do throws(SystemCallError) {
            socket = try await blocking { () throws(SystemCallError) in try UnixSocket.connect(places.socket, kind: .packet) }
        } catch {
            // Leaving just now, or killed: the exit record or its absence says the rest.
            return nil
        }
        let connection = ShimConnection(socket, id: record.id)
        let container = Container(
            record: record, runtime: self, cgroup: cgroup, places: places, connection: connection, child: shim, preparation: [])
        do throws(SystemCallError) { try connection.open { container.connectionChanged($0) } } catch { return nil }
        guard case .success(let status) = await connection.greeted.value() else { return nil }
        if status.state == .ended { container.connectionChanged(connection) }
        return container
    }

    /// Ids of which something is left on this machine (cgroups, run directories, storage), for recovery and `system check`.
    package func survey() async throws(LunetteError) -> RuntimeSurvey {
        try await blocking { [self] () throws(LunetteError) in
            var survey = RuntimeSurvey()
            survey.cgroups = cgroups.ids()
            survey.runDirectories = try names("\(configuration.state)/containers")
            survey.storage = try names("\(configuration.root)/containers")
            for (id, processes) in ShimScan.find(below: "\(configuration.state)/containers") { survey.shims[id] = processes[0] }
            return survey
        }
    }

    private func names(_ path: String) throws(LunetteError) -> Set<String> {
        try atBorder(
            nil,
            { () throws(SystemCallError) in
                do throws(SystemCallError) { return Set(try Directory(path).entries()) } catch {
                    if error.errno == ErrorNumber.noEntry { return [] }
                    throw error
                }
            })
    }
}

/// What is left on the machine, by container id.
package struct RuntimeSurvey: Sendable {
    package var cgroups: Set<String> = []
    package var runDirectories: Set<String> = []
    package var storage: Set<String> = []
    /// Live shim processes of this state directory.
    package var shims: [String: ProcessIdentity] = [:]
    package init() {}
    package var ids: Set<String> { cgroups.union(runDirectories).union(storage).union(shims.keys) }
}
