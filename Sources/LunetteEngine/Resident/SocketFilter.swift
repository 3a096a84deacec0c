import LunetteAPI
import LunetteImages
import LunetteLinux
import LunetteSpec
import Synchronization

/// Judging the calls of those who come over a resident script's socket.
///
/// ```
/// call ─► own request id, no claimed hooks, container by id ─► filter of the script ─► deny │ arguments narrowed ─► as any call
///                                                               │ fails, is slow, has gone: deny
/// ```
/// `lunette.apply` is judged as a whole, then each of its objects as if it came alone: whatever a filter says of `container.apply` holds.
extension Engine {
    /// Seconds that a filter may take.
    static let filterSeconds = 5.0

    /// - Returns: the call as its filter lets it pass; one over the engine's own socket as it is.
    /// - Throws: `denied` with the socket's name and the filter's reason.
    func judged(_ call: Call, in session: Session) async throws(LunetteError) -> Call {
        guard let socket = call.request.actor.socket else { return call }
        guard let function = APIRegistry.function(call.request.function), function.place == .engine else { return call }
        if function.name == "lunette.apply" { return try await judgedObjects(call, function, socket) }
        var request = call.request
        let (container, absence) = try await judge(&request, function, socket, call)
        if let absence {
            // It may come while its filter thinks: then it isn't what was judged.
            guard function.name == "container.find" else { throw absence }
            if case .map(var map) = request.arguments {
                map["container"] = .string(Identifier.container())
                request.arguments = .map(map)
            }
        }
        guard function.name == "container.apply" else { return call.narrowed(to: request) }
        return call.narrowed(to: request, judged: Self.seen(container, as: request.arguments["name"]))
    }

    /// - Returns: what a filter has seen of a container under a name; nothing where there was none.
    private static func seen(_ container: ContainerRecord?, as name: Value?) -> [String: String] {
        guard let container, let name = name?.stringValue else { return [:] }
        return [name: container.id]
    }

    private func judgedObjects(_ call: Call, _ function: APIFunction, _ socket: String) async throws(LunetteError) -> Call {
        var whole = call.request
        _ = try await judge(&whole, function, socket, call)
        var objects = try AppliedObjects(whole.arguments)
        var seen: [String: String] = [:]
        for (name, object, arguments) in try objects.calls() {
            guard let function = APIRegistry.function(name) else { continue }
            var request = call.request
            (request.function, request.arguments) = (name, arguments)
            let (container, _) = try await judge(&request, function, socket, call)
            try objects.narrow(name, object, to: request.arguments)
            if name == "container.apply" { seen.merge(Self.seen(container, as: request.arguments["name"])) { _, last in last } }
        }
        whole.arguments = objects.value
        return call.narrowed(to: whole, judged: seen)
    }

    /// Asks a socket's filter about a request, and lets it narrow the arguments.
    /// - Parameter call: the one that it is, or is part of.
    /// - Returns: the container that it is about, or why it is about none.
    private func judge(
        _ request: inout APIRequest, _ function: APIFunction, _ socket: String, _ call: Call
    ) async throws(LunetteError) -> (ContainerRecord?, LunetteError?) {
        let (container, absence) = await container(of: &request)
        var question: ValueMap = [
            "name": .string(request.function), "noun": .string(function.noun), "arguments": request.arguments,
            "actor": request.actor.value, "changes": .bool(function.changes(request.arguments)),
            "host_paths": .array(APIRegistry.hostPaths(in: request.arguments, for: function).map(Value.string)),
            "defaults": ContainerSpec.defaults, "deadline": .double(clock.now() + Self.filterSeconds),
        ]
        if let container {
            question["container"] = [
                "id": .string(container.id), "name": .string(container.name), "labels": .map(container.labels),
                "owner": .int(Int64(container.actor.uid)), "reaches": .array(container.reaches.map(Value.string)),
            ]
        }
        // Two of each user's at a time: who calls a lot waits here, not before the handlers of the script that judges.
        let slots = filterSlots.withLock { slots in
            let found = slots[request.actor.uid] ?? AsyncSlots(2)
            slots[request.actor.uid] = found
            return found
        }
        let asked = Value.map(question)
        let verdict = await slots.use { () async -> Value in await self.verdict(of: socket, asked) }
        // Out of time, it is that and no refusal.
        try call.checkCancellation()
        if let reason = verdict["deny"] {
            let reason = displayable(reason.stringValue ?? "its filter refuses it", limit: 400)
            throw LunetteError(
                .denied, "\(call.request.function) over the socket \(socket) was denied: \(reason)", operation: call.request.function,
                target: container?.name ?? (request.function == call.request.function ? nil : request.arguments["name"]?.stringValue),
                details: ["socket": .string(socket), "reason": .string(reason)])
        }
        if let changes = verdict["arguments"], !changes.isNull { request.arguments = Amendment.apply(changes, to: request.arguments) }
        return (container, absence)
    }

    /// A guest's request as nobody else's, the engine's own users' as it is: its id leads to no outcome and no exec of another user's, and no handler is passed by because its
    /// caller says that the handler has caused it.
    func scoped(_ call: Call, in session: Session) -> Call {
        guard let socket = call.request.actor.socket else { return call }
        var request = call.request
        let uid = request.actor.uid
        // 128 bits in hexadecimal, as ids are that clients of ours make: a shim keeps 16 bytes of an exec's.
        func own(_ id: String) -> String { String(ContentHash.digest(of: Array("\(socket)\0\(uid)\0\(id)".utf8)).hex.prefix(32)) }
        if case .map(var map) = request.arguments, let exec = map["exec"]?.stringValue {
            map["exec"] = .string(own(exec))
            request.arguments = .map(map)
        }
        request.cause = request.cause.filter { word in
            word.hasPrefix("hook:") ? word.hasPrefix("hook:\(session.id)/") : !word.hasPrefix("lifecycle:")
        }
        request.id = own(request.id)
        return call.narrowed(to: request)
    }

    /// The container that a call is about. It goes on by its id: by the time that it is done the name may be another's.
    /// - Returns: it, or why the call is about none.
    private func container(of request: inout APIRequest) async -> (ContainerRecord?, LunetteError?) {
        if request.function == "container.apply" {
            guard let name = request.arguments["name"]?.stringValue else { return (nil, nil) }
            return (await state.containers.values.first { $0.name == name }, nil)
        }
        guard case .map(var map) = request.arguments, let value = map["container"], let word = Handle.word(value) else { return (nil, nil) }
        // None, or several that begin so: for the filter it is none, and the answer says so where the filter lets it.
        do throws(LunetteError) {
            let found = try await state.container(word)
            map["container"] = .string(found.id)
            request.arguments = .map(map)
            return (found, nil)
        } catch { return (nil, error) }
    }

    private func verdict(of socket: String, _ question: Value) async -> Value {
        var failure = "it has gone"
        // A reload may stop the state that was asked first.
        for _ in 0..<2 {
            guard let receiver = await resident.filter(of: socket) else { break }
            switch await answer(of: receiver, "socket/\(socket)", question) {
            case .success(let verdict) where verdict.mapValue != nil || verdict.arrayValue?.isEmpty == true: return verdict
            case .success: return ["deny": "its filter gave no verdict"]
            case .failure(let error):
                failure = "its filter failed: \(error.message)"
                if error.code != .cancelled { return ["deny": .string(failure)] }
            }
        }
        return ["deny": .string(failure)]
    }

    private func answer(of receiver: any HookReceiver, _ filter: String, _ question: Value) async -> Result<Value, LunetteError> {
        let race = Race<Result<Value, LunetteError>>()
        let asking = Task {
            do throws(LunetteError) { race.finish(.success(try await receiver.before(subscription: filter, event: question))) } catch {
                race.finish(.failure(error))
            }
        }
        let timer = Task { [clock] in
            guard (try? await clock.sleep(Engine.filterSeconds)) != nil else { return }  // Cancelled: the race is over.
            race.finish(.failure(LunetteError(.timeout, "it did not answer within \(Int(Engine.filterSeconds)) s")))
        }
        let result = await withTaskCancellationHandler {
            await race.value
        } onCancel: {
            race.finish(.failure(LunetteError(.timeout, "its caller has gone")))
        }
        asking.cancel()
        timer.cancel()
        return result
    }
}
