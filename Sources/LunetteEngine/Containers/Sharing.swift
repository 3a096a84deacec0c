import LunetteAPI
import LunetteLinux
import LunetteRuntime
import LunetteSpec

/// What a creation that shares namespaces gets.
struct SharedNamespaces: Sendable {
    /// Ids of the containers that were named, by `network`, `pid`, `ipc`.
    var containers: [String: String]
    /// The one at the end of the chain.
    var root: String
    /// The root's; nil when it has no user namespace.
    var range: IDRange?
}

extension State {
    /// Looks up whose namespaces a spec shares and keeps their range for it, in one turn.
    ///
    /// All must have the same user namespace: the kernel lets nobody into a namespace without rights in the user namespace that owns it
    /// (setns(2)), and a process is in one user namespace only.
    /// - Parameter drafted: containers that the same call is about to make.
    /// - Returns: nil when it shares none.
    /// - Throws: `not_found`, and `invalid_argument` for containers of different user namespaces, both with the field's path.
    func promiseSharing(_ spec: ContainerSpec, among drafted: [ContainerRecord] = []) throws(LunetteError) -> SharedNamespaces? {
        var found: SharedNamespaces?
        var first = ""
        for (field, mode) in [("network", spec.network), ("pid", spec.pid), ("ipc", spec.ipc)] {
            guard case .container(let name) = mode else { continue }
            let owner: ContainerRecord
            do throws(LunetteError) {
                if let new = drafted.first(where: { $0.name == name }) { owner = new } else { owner = try container(name) }
            } catch {
                var error = error
                error.path = "spec.\(field)"
                throw error
            }
            let root = owner.sharesRangeOf ?? owner.id
            if let found, found.root != root {
                throw LunetteError(
                    .invalidArgument, "\(owner.name) and \(first) have different user namespaces, so nobody can share with both",
                    path: "spec.\(field)", hint: "name containers that share namespaces already, or one alone")
            }
            // An ordinary user's containers have one without a range of their own.
            let ownerHasNamespace = owner.idRange != nil || IDRangeAllocator.shared != nil
            guard spec.security.hasUserNamespace == ownerHasNamespace else { throw mismatch(spec, owner, field) }
            if found == nil { (found, first) = (SharedNamespaces(containers: [:], root: root, range: owner.idRange), owner.name) }
            found?.containers[field] = owner.id
        }
        if let range = found?.range { keep(range: range) }
        return found
    }

    private func mismatch(_ spec: ContainerSpec, _ owner: ContainerRecord, _ field: String) -> LunetteError {
        owner.idRange == nil
            ? LunetteError(
                .invalidArgument, "the container \(owner.name) has no user namespace, so who shares its \(field) has none either",
                path: "spec.security.user_namespace",
                hint: "say so: security.user_namespace = false (--userns host)")
            : LunetteError(
                .invalidArgument, "can't be off for a container that shares the \(field) of \(owner.name), which has a user namespace",
                path: "spec.security.user_namespace")
    }

    /// Containers that share a namespace of this one.
    func sharers(of id: String) -> [ContainerRecord] {
        containers.values.filter { $0.sharesRangeOf == id || $0.shares.values.contains(id) }.sorted { $0.name < $1.name }
    }

    /// They name it in their specs: the records with its new name.
    func sharers(of id: String, renamed name: String) -> [ContainerRecord] {
        sharers(of: id).compactMap { record in
            var record = record
            let named = record.shares.filter { $0.value == id }
            for field in named.keys {
                let word: Value = .string("container:" + name)
                record.spec = record.spec.merged(with: .map([field: word]))
                if !record.requested.isNull { record.requested = record.requested.merged(with: .map([field: word])) }
            }
            return named.isEmpty ? nil : record
        }
    }

    /// Notes on those who share a container's network or ipc and go on without it. A shared pid namespace ends with its first process.
    func noteEnd(of id: String) {
        guard let ended = containers[id] else { return }
        for record in sharers(of: id) where record.state.isAlive {
            let kinds = record.shares.filter { $0.value == id && $0.key != "pid" }.keys.sorted()
            guard !kinds.isEmpty else { continue }
            note(
                degraded: "it shares \(kinds.joined(separator: " and ")) with an earlier run of \(ended.name), which has ended: restart it",
                record.id)
        }
    }
}

extension Engine {
    /// Finds the processes whose namespaces a launch joins, and what comes with them: the host name, the name servers.
    /// - Throws: `invalid_state` when one of the containers doesn't run, or is gone.
    func join(_ record: ContainerRecord, _ request: inout CreateRequest) async throws(LunetteError) {
        for (field, id) in record.shares.sorted(by: { $0.key < $1.key }) {
            let owner = try await owner(of: field, id, record)
            let process = owner.run.flatMap(LunetteRuntime.ContainerRecord.init(value:))?.initProcess
            request.joinUserOf = process
            switch field {
            case "pid": request.joinPIDOf = process
            case "ipc": request.joinIPCOf = process
            default:
                let source = try await networkOwner(owner)
                let spec = try ContainerSpec(source.spec)
                if spec.network == .host {
                    // The host's network belongs to the host's user namespace: it is had by staying in it, not by joining.
                    request.spec.network = .host
                } else {
                    request.joinNetworkOf = process
                    if request.spec.hostname == nil { request.spec.hostname = spec.hostname ?? String(source.id.prefix(12)) }
                }
                if request.spec.dns.isEmpty { request.spec.dns = spec.dns }
            }
        }
    }

    private func owner(of field: String, _ id: String, _ record: ContainerRecord) async throws(LunetteError) -> ContainerRecord {
        guard let owner = await state.containers[id] else {
            throw LunetteError(
                .invalidState, "start container \(record.name): the container whose \(field) it shares was removed", target: record.name,
                hint: "remove it, and make it again with another")
        }
        guard owner.state.isAlive else {
            throw LunetteError(
                .invalidState,
                "start container \(record.name): it shares the \(field) of \(owner.name), which is \(owner.state.status.rawValue)",
                target: record.name, hint: "start \(owner.name) first",
                details: ["owner": .string(owner.name)])
        }
        return owner
    }

    /// The container that a shared network was made for.
    private func networkOwner(_ record: ContainerRecord) async throws(LunetteError) -> ContainerRecord {
        var record = record
        // Each names one that was there before it, so this ends.
        while let next = record.shares["network"] {
            guard let owner = await state.containers[next] else { break }
            record = owner
        }
        return record
    }

    /// Refuses to remove what others need: those that run now, and (without force) those that could never start again.
    func refuseWhileShared(_ record: ContainerRecord, force: Bool) async throws(LunetteError) {
        let sharers = await state.sharers(of: record.id)
        // A pod goes with what is in it.
        let inTheWay = sharers.filter { force ? $0.state.isAlive && !record.isPod : true }
        guard let first = inTheWay.first else { return }
        let names = inTheWay.map(\.name)
        throw LunetteError(
            .invalidState,
            "remove container \(record.name): \(names.joined(separator: ", ")) \(names.count == 1 ? "shares" : "share") its namespaces",
            target: record.name,
            hint: first.state.isAlive
                ? "remove or stop those first"
                : "remove those first; by force (--force, in Lua force = true) they stay and can't start any more",
            details: ["sharers": .array(names.map(Value.string))])
    }
}
