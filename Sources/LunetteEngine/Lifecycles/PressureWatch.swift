import LunetteSpec

/// Looks once a second at how long the processes of containers wait for memory, processors and disks, where a lifecycle wants to know.
///
/// Each time a limit is passed is told once: as `container.pressure`, again after it was kept meanwhile.
actor PressureWatch {
    private let state: State
    private let clock: any EngineClock
    private var tasks: [String: Task<Void, Never>] = [:]

    init(state: State, clock: any EngineClock) { (self.state, self.clock) = (state, clock) }

    /// - Parameter limits: what is loaded now under a lifecycle's name: a reload may change it.
    func watch(_ record: ContainerRecord, _ container: any LiveContainer, limits: @escaping @Sendable (String) async -> [PressureLimit]) {
        forget(record.id)
        guard let name = record.lifecycle else { return }
        let id = record.id
        tasks[id] = Task { await self.look(id, container) { await limits(name) } }
    }

    func forget(_ id: String) { tasks.removeValue(forKey: id)?.cancel() }

    func shutdown() {
        for task in tasks.values { task.cancel() }
        tasks = [:]
    }

    private func look(_ id: String, _ container: any LiveContainer, _ limits: @Sendable () async -> [PressureLimit]) async {
        var passed: Set<PressureLimit> = []
        var hasSaidWhy = false
        while true {
            let wanted = await limits()
            // Nothing to look at until a reload brings something.
            do { try await clock.sleep(wanted.isEmpty ? 10 : 1) } catch { return }
            guard !wanted.isEmpty else { continue }
            guard let record = await state.containers[id], record.state.isAlive else { return }
            let stats: Value
            do throws(LunetteError) { stats = try await container.stats() } catch {
                // It ends in this moment, or is only starting.
                continue
            }
            for limit in wanted {
                guard let average = limit.average(in: stats) else {
                    if !hasSaidWhy {
                        await state.note(
                            degraded: "its \(limit.resource) pressure isn't watched: the kernel tells it on cgroup v2 only", id)
                    }
                    hasSaidWhy = true
                    continue
                }
                guard average > limit.share else {
                    passed.remove(limit)
                    continue
                }
                guard passed.insert(limit).inserted else { continue }
                var fields = record.eventFields
                fields["pressure"] = [
                    "resource": .string(limit.resource), "share": .double(average), "limit": .double(limit.share),
                    "window": .int(Int64(limit.window)),
                ]
                await state.log(
                    PendingEvent(name: "container.pressure", target: .init(kind: "container", id: id, name: record.name), fields: fields))
            }
        }
    }
}
