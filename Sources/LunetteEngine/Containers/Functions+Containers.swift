import LunetteAPI
import LunetteSpec

extension Functions {
    static let containers: [String: Function] = [
        "container.create": .changing { engine, call, session async throws(LunetteError) in
            try await engine.createContainer(call, session).handle
        },
        "container.run": .changing { engine, call, session async throws(LunetteError) in
            let record = try await engine.runContainer(call, session)
            var answer = record.handle.mapValue ?? [:]
            answer["not_enforced"] = record.lacking()
            return .map(answer)
        },
        "container.apply": .changing { engine, call, session async throws(LunetteError) in
            try await engine.applyContainer(call, session).handle
        },
        "container.get": .reading { engine, call, _ async throws(LunetteError) in try await engine.containerTarget(call).handle },
        "container.find": .reading { engine, call, _ async throws(LunetteError) in try await engine.findContainer(call)?.handle ?? .null },
        "container.list": .reading { engine, call, _ async throws(LunetteError) in
            var arguments = try call.arguments()
            return .array(try await engine.matchingContainers(&arguments).map(\.handle))
        },
        "container.inspect_all": .reading { engine, call, _ async throws(LunetteError) in try await engine.inspectContainers(call) },
        "container.inspect": .reading { engine, call, _ async throws(LunetteError) in try await engine.inspectContainer(call) },
        "container.wait": .reading { engine, call, _ async throws(LunetteError) in try await engine.waitForContainer(call) },
    ]

    static let containerLife: [String: Function] = [
        "container.start": .changing { engine, call, _ async throws(LunetteError) in try await engine.startContainer(call) },
        "container.stop": .changing { engine, call, _ async throws(LunetteError) in try await engine.stopContainer(call) },
        "container.kill": .changing { engine, call, _ async throws(LunetteError) in try await engine.killContainer(call) },
        "container.restart": .changing { engine, call, _ async throws(LunetteError) in try await engine.restartContainer(call) },
        "container.pause": .changing { engine, call, _ async throws(LunetteError) in try await engine.pauseContainer(call) },
        "container.resume": .changing { engine, call, _ async throws(LunetteError) in try await engine.resumeContainer(call) },
        "container.remove": .changing { engine, call, _ async throws(LunetteError) in try await engine.removeContainer(call) },
        "container.rename": .changing { engine, call, _ async throws(LunetteError) in try await engine.renameContainer(call) },
        "container.update": .changing { engine, call, _ async throws(LunetteError) in try await engine.updateContainer(call) },
        "container.transition": .changing { engine, call, _ async throws(LunetteError) in try await engine.transitionContainer(call) },
    ]

    static let containerInside: [String: Function] = [
        "container.exec": .reading { engine, call, _ async throws(LunetteError) in try await engine.execInContainer(call) },
        "container.detach": .reading { engine, call, _ async throws(LunetteError) in try await engine.detachFromExec(call) },
        "container.checkpoint": .reading { engine, call, _ async throws(LunetteError) in try await engine.refuseCheckpoint(call) },
        "container.restore": .reading { engine, call, _ async throws(LunetteError) in try await engine.refuseCheckpoint(call) },
        "container.diff": .reading { engine, call, _ async throws(LunetteError) in try await engine.changedFiles(call) },
        "container.resize": .reading { engine, call, _ async throws(LunetteError) in try await engine.resizeContainer(call) },
        "container.attach": .reading { engine, call, _ async throws(LunetteError) in try await engine.attachContainer(call) },
        "container.logs": .reading { engine, call, _ async throws(LunetteError) in try await engine.readLogs(call) },
        "container.follow_logs": .reading { engine, call, _ async throws(LunetteError) in try await engine.followLogs(call) },
        "container.stats": .reading { engine, call, _ async throws(LunetteError) in try await engine.liveTarget(call).container.stats() },
        "container.processes": .reading { engine, call, _ async throws(LunetteError) in
            try await engine.liveTarget(call).container.processes()
        },
        "container.copy_in": .changing { engine, call, _ async throws(LunetteError) in try await engine.copyIntoContainer(call) },
        "container.copy_out": .reading { engine, call, _ async throws(LunetteError) in try await engine.copyOutOfContainer(call) },
    ]
}

extension Engine {
    /// Reads the one argument `container` and looks it up.
    func containerTarget(_ call: Call) async throws(LunetteError) -> ContainerRecord {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        try arguments.finish()
        return try await state.container(word)
    }

    func findContainer(_ call: Call) async throws(LunetteError) -> ContainerRecord? {
        var arguments = try call.arguments()
        let word = try arguments.target("container")
        try arguments.finish()
        return try state.findContainer(word)
    }

    /// Reads the one argument `container`; it must run.
    func liveTarget(_ call: Call) async throws(LunetteError) -> (record: ContainerRecord, container: any LiveContainer) {
        let record = try await containerTarget(call)
        return (record, try await live(record))
    }

    /// The runtime's end of a container.
    /// - Throws: `invalid_state` when it doesn't run.
    func live(_ record: ContainerRecord) async throws(LunetteError) -> any LiveContainer {
        guard let container = await supervisor.container(record.id) else {
            let record = await state.containers[record.id] ?? record
            throw LunetteError(
                .invalidState,
                "the container \(record.name) is \(record.state.isAlive ? "starting" : record.state.status.rawValue), not running",
                target: record.name, hint: record.state.isAlive ? nil : "start it first")
        }
        return container
    }

    /// Reads the arguments that say which containers are meant; they must be the last that are read.
    func matchingContainers(_ arguments: inout FieldReader) async throws(LunetteError) -> [ContainerRecord] {
        let all = try arguments.bool("all") ?? false
        let labels = try LabelFilter(reading: &arguments)
        let name = try arguments.string("name")
        let owner = try arguments.int("owner")
        var statuses: [String] = []
        if let value = arguments.value("status") {
            statuses = value.stringValue.map { [$0] } ?? (value.arrayValue ?? []).compactMap(\.stringValue)
            for word in statuses where ContainerState.Status(rawValue: word) == nil {
                let known = ContainerState.Status.allCases.map(\.rawValue)
                throw arguments.failure(
                    "status", "\"\(displayable(word, limit: 40))\" is not a status",
                    hint: nearest(to: word, in: known).map { "did you mean \"\($0)\"?" } ?? "known: " + known.joined(separator: ", "))
            }
        }
        try arguments.finish()
        return state.knownContainers.values.filter { record in
            // What a policy is about to start again counts as running, as with Docker.
            (statuses.isEmpty
                ? all || record.state.isAlive || record.state.restartAt != nil : statuses.contains(record.state.status.rawValue))
                && (name == nil || record.name.contains(name!)) && (owner == nil || owner == Int64(record.actor.uid))
                && labels.matches(record.labels)
        }.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
    }

    /// What a `before` hook is asked about a container.
    func question(_ event: String, _ record: ContainerRecord, fields: ValueMap = [:]) -> Hooks.Question {
        var spec = record.spec.mapValue ?? [:]
        for (key, value) in fields { spec[key] = value }
        return Hooks.Question(
            event: event, target: .init(kind: "container", id: record.id, name: record.name), spec: .map(spec), labels: record.labels,
            lifecycle: record.lifecycle)
    }

    func ask(_ event: String, _ record: ContainerRecord, _ call: Call, fields: ValueMap = [:]) async throws(LunetteError) {
        guard await hooks.wants(event) else { return }
        _ = try await hooks.ask(question(event, record, fields: fields), for: call)
    }
}
