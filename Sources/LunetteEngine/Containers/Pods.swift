import LunetteAPI
import LunetteSpec

extension ContainerRecord {
    /// Whether it holds a pod's namespaces.
    var isPod: Bool { spec["pod"]?.boolValue ?? false }
}

/// A pod is a container without a program, and those that share its namespaces are its members: they stop before it and go with it.
extension Engine {
    /// Stops a pod's members, all at once, each with its own signal. The caller holds the pod.
    func stopMembers(of pod: ContainerRecord, grace: Double, _ call: Call) async throws(LunetteError) {
        guard pod.isPod else { return }
        var asked: Set<String> = []
        // Before any of them is stopped.
        for member in await state.sharers(of: pod.id) where member.state.isAlive {
            try await ask("container.stop", member, call.part())
            asked.insert(member.id)
        }
        try await forEachMember(of: pod, call) { [asked] member, part async throws(LunetteError) in
            guard member.state.isAlive else { return }
            if !asked.contains(member.id) { try await self.ask("container.stop", member, part) }
            _ = try await self.stop(member, grace: grace, part)
        }
    }

    /// Removes a pod's members, whatever they do. The caller holds the pod.
    /// - Parameter asked: ids of those, and of volumes, of which the hooks have been asked already.
    func removeMembers(of pod: ContainerRecord, removesVolumes: Bool, asked: Set<String>, _ call: Call) async throws(LunetteError) {
        guard pod.isPod else { return }
        // Those that share a member's namespaces go before it.
        while case let members = await state.sharers(of: pod.id), !members.isEmpty {
            var outermost: [ContainerRecord] = []
            for member in members where await state.sharers(of: member.id).isEmpty { outermost.append(member) }
            try await forEach(outermost, call) { member, part async throws(LunetteError) in
                try await self.remove(member, force: true, removesVolumes: removesVolumes, asked: asked, part)
            }
        }
    }

    private func forEachMember(
        of pod: ContainerRecord, _ call: Call, _ body: @escaping @Sendable (ContainerRecord, Call) async throws(LunetteError) -> Void
    ) async throws(LunetteError) { try await forEach(await state.sharers(of: pod.id), call, body) }

    /// Runs `body` for each that is still there, with its target held; all are tried, the first failure is thrown.
    private func forEach(
        _ members: [ContainerRecord], _ call: Call, _ body: @escaping @Sendable (ContainerRecord, Call) async throws(LunetteError) -> Void
    ) async throws(LunetteError) {
        let failure = await withTaskGroup(of: LunetteError?.self) { group in
            for member in members {
                let part = call.part()
                group.addTask {
                    do throws(LunetteError) {
                        try await self.targets.withTarget("container/\(member.id)", for: part) { () async throws(LunetteError) in
                            // Somebody else may have removed it while this waited.
                            guard let member = await self.state.containers[member.id] else { return }
                            try await body(member, part)
                        }
                        return nil
                    } catch { return error }
                }
            }
            var first: LunetteError?
            for await failed in group { first = first ?? failed }
            return first
        }
        if let failure { throw failure }
    }
}
