import Foundation
import LunetteAPI
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@testable import LunetteEngine

/// `lunette.apply`: several objects, all of them or nothing.
@Suite struct ApplyTests {
    private static let mount: Value = [["type": "volume", "source": "data", "target": "/data"]]
    private static func spec(_ fields: ValueMap = [:]) -> Value {
        var spec: ValueMap = ["image": "base:latest", "args": ["serve"]]
        for (key, value) in fields { spec[key] = value }
        return .map(spec)
    }
    /// Two volumes, of which one is only mounted, and two containers.
    private static let both: Value = [
        "volumes": ["data": ["labels": ["of": "web"]]],
        "containers": [
            "web": spec([
                "mounts": [
                    ["type": "volume", "source": "data", "target": "/data"], ["type": "volume", "source": "cache", "target": "/c"],
                ]
            ]),
            "db": spec(["resources": ["memory": "64MiB"]]),
        ],
    ]

    private func register(_ session: TestSession, _ name: String, event: String) async throws {
        try await session.call(
            "hook.register", ["subscription": .string(name), "kind": "before", "event": .string(event), "name": .string(name)])
    }

    /// Whether nothing but these containers is there, and nothing is kept for anybody.
    private func expectOnly(_ containers: String..., in fixture: EngineFixture, _ session: TestSession) async throws {
        #expect(await fixture.engine.state.containers.values.map(\.name).sorted() == containers)
        #expect(await fixture.engine.state.volumes.isEmpty)
        #expect(await fixture.engine.state.ledger.values.filter { $0.kind != .containerRun }.isEmpty)
        #expect(await fixture.engine.targets.count == 0)
        // Names are free again.
        try await session.call("volume.create", ["name": "data"])
        try await session.call("volume.remove", ["volume": "data"])
        for name in ["web", "db"] where !containers.contains(name) {
            try await session.call("container.create", ["spec": Self.spec(["name": .string(name)])])
        }
    }

    @Test func allIsMadeInOneCommitAndTheSecondTimeNothingChanges() async throws {
        try await withEngine { fixture, session in
            let before = await fixture.engine.state.commits.desired
            let made = try await session.call("lunette.apply", Self.both)
            #expect(await fixture.engine.state.commits.desired == before + 1)
            #expect(made["changed"] == ["volume data: made", "volume cache: made", "container db: made", "container web: made"])
            #expect(made["containers"]?["web"]?["$handle"] == "container" && made["volumes"]?["data"]?["$handle"] == "volume")
            #expect(try await session.status("web") == "created")
            #expect(fixture.drivers.driver.journal.values == ["create data", "create cache"])
            let events = try await session.events().compactMap { $0["name"]?.stringValue }.filter { $0.hasSuffix(".created") }
            #expect(events == ["volume.created", "volume.created", "container.created", "container.created"])
            #expect(await fixture.engine.state.ledger.isEmpty)

            let again = try await session.call("lunette.apply", Self.both)
            #expect(again["changed"] == [] && again["containers"] == made["containers"] && again["volumes"] == made["volumes"])
            try await session.call("container.start", ["container": "web"])
            #expect(try await session.call("volume.users", ["volume": "cache"]).arrayValue?.count == 1)
        }
    }

    @Test func whatIsThereIsUpdatedAndTheRestLeft() async throws {
        try await withEngine { fixture, session in
            try await session.call("lunette.apply", Self.both)
            let id = try await session.run("live", ["resources": ["memory": "64MiB"]])
            let changed = try await session.call(
                "lunette.apply",
                [
                    "volumes": ["data": ["labels": ["of": "all"]]],
                    "containers": [
                        "live": Self.spec(["resources": ["memory": "128MiB"], "labels": ["tier": "a"]]),
                        "db": Self.spec(["resources": ["memory": "64MiB"]]), "new": Self.spec(),
                    ],
                ])
            #expect(
                changed["changed"]
                    == ["volume data: labels", "container new: made", "container live: resources.memory, labels.tier"])
            #expect(fixture.host.container(id)?.state.withLock { $0.limits } == [128 << 20])
            #expect(try await session.call("volume.inspect", ["volume": "data"])["labels"] == ["of": "all"])
            #expect(try await session.inspect("live")["history"]?.arrayValue?.last?["detail"] == "resources.memory, labels.tier")
            #expect(await fixture.engine.state.ledger.values.allSatisfy { $0.kind == .containerRun })
        }
    }

    @Test func conflictsAreAllNamedAndChangeNothing() async throws {
        try await withEngine { fixture, session in
            try await session.call("container.create", ["spec": Self.spec(["name": "zoo"])])
            let one = await expectError(.conflict) { () async throws(LunetteError) in
                try await session.call(
                    "lunette.apply",
                    [
                        "volumes": ["data": [:]],
                        "containers": ["web": Self.spec(), "zoo": Self.spec(["args": ["other"], "labels": ["a": "b"]])],
                    ])
            }
            #expect(one?.path == "containers.zoo.args" && one?.message.contains("container zoo exists with another args") == true)
            try await expectOnly("zoo", in: fixture, session)
            try await session.call("volume.create", ["name": "data"])
            let several = await expectError(.conflict) { () async throws(LunetteError) in
                try await session.call(
                    "lunette.apply",
                    ["volumes": ["data": ["driver": "slow"]], "containers": ["zoo": Self.spec(["args": ["other"], "user": "1"])]])
            }
            #expect(several?.message.contains("volume data (driver), container zoo (args, user)") == true, "\(several?.message ?? "")")
            #expect(several?.details?["conflicts"]?.arrayValue?.count == 2 && several?.path == "volumes.data.driver")
        }
    }

    @Test(arguments: ["container.create", "volume.create", "container.update"])
    func oneDenialEndsItBeforeAnythingIsDone(_ event: String) async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("old")
            let receiver = TestReceiver()
            receiver.before("gate") { question throws(LunetteError) in
                ["old", "web", "cache"].contains(question["target"]?["name"]?.stringValue ?? "") ? ["deny": "frozen"] : .null
            }
            let hooks = try await fixture.session(receiver)
            try await register(hooks, "gate", event: event)
            var objects = Self.both.mapValue!
            objects["containers"] = objects["containers"]!.with("old", Self.spec(["resources": ["memory": "1GiB"]]))
            let wanted = Value.map(objects)
            let error = await expectError(.denied) { () async throws(LunetteError) in try await session.call("lunette.apply", wanted) }
            #expect(error?.message.hasPrefix("lunette.apply of ") == true && error?.message.contains("frozen") == true)
            #expect(fixture.drivers.driver.journal.values.isEmpty)
            #expect(fixture.host.container(id)?.state.withLock { $0.limits } == [])
            try await hooks.call("hook.unregister", ["subscription": "gate"])
            try await expectOnly("old", in: fixture, session)
        }
    }

    @Test func whatIsMissingIsToldBeforeAnybodyIsAsked() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            let hooks = try await fixture.session(receiver)
            for event in ["container.create", "volume.create"] { try await register(hooks, event, event: event) }
            for (fields, code, path): (ValueMap, ErrorCode, String) in [
                (["image": "nope:1"], .notFound, "containers.web.image"),
                (["lifecycle": "nope"], .notFound, "containers.web.lifecycle"),
                (
                    ["mounts": [["type": "bind", "source": "/nowhere/at/all", "target": "/x"]]], .notFound,
                    "containers.web.mounts[1].source"
                ),
                (["network": "container:nobody"], .notFound, "containers.web.network"),
                (["resources": ["memroy": 1]], .invalidArgument, "containers.web.resources.memroy"),
                (["name": "other"], .invalidArgument, "containers.web.name"),
            ] {
                let error = await expectError(code) { () async throws(LunetteError) in
                    try await session.call(
                        "lunette.apply", ["volumes": ["data": [:]], "containers": ["db": Self.spec(), "web": Self.spec(fields)]])
                }
                #expect(error?.path == path, "\(error?.message ?? "")")
            }
            for (arguments, code, path): (Value, ErrorCode, String) in [
                (["networks": ["n": [:]]], .unsupported, "networks"), (["volumes": ["a": 1]], .invalidArgument, "volumes.a"),
                (["volumes": ["a b": [:]]], .invalidArgument, "volumes"), (["containers": [1]], .invalidArgument, "containers"),
                (["volumes": ["a": ["sise": 1]]], .invalidArgument, "volumes.a.sise"), (["volums": [:]], .invalidArgument, "volums"),
                (["volumes": ["a": ["driver": "locall"]]], .notFound, ""),
            ] {
                let error = await expectError(code) { () async throws(LunetteError) in try await session.call("lunette.apply", arguments) }
                #expect(
                    path.isEmpty || error?.path == path, "\(JSON.encode(arguments)): \(error?.path ?? "no path"): \(error?.message ?? "")")
            }
            #expect(receiver.seen.values.filter { $0["name"] == "container.create" }.isEmpty)
            var many = ValueMap()
            for number in 0..<1001 { many["v\(number)"] = .map([:]) }
            await expectError(.resourceExhausted) { [many] () async throws(LunetteError) in
                try await session.call("lunette.apply", ["volumes": .map(many)])
            }
            for name in ["container.create", "volume.create"] { try await hooks.call("hook.unregister", ["subscription": .string(name)]) }
            try await expectOnly(in: fixture, session)
        }
    }

    @Test func aDriverThatFailsTakesTheOthersAlong() async throws {
        try await withEngine { fixture, session in
            let driver = fixture.drivers.driver
            driver.failing.withLock { $0 = "cache" }
            driver.createFailure.withLock { $0 = LunetteError(.pluginFailed, "no space") }
            var objects = Self.both.mapValue!
            objects["volumes"] = ["a": [:], "data": [:], "zz": [:]]
            objects["containers"] = objects["containers"]!.with("last", Self.spec(["mounts": Self.mount]))
            let wanted = Value.map(objects)
            let error = await expectError(.pluginFailed) { () async throws(LunetteError) in try await session.call("lunette.apply", wanted)
            }
            #expect(error?.message.contains("no space") == true)
            // In the order of their making, and back; what wasn't begun isn't removed.
            #expect(
                driver.journal.values == [
                    "create a", "create data", "create zz", "create cache", "remove cache", "remove zz", "remove data", "remove a",
                ])
            driver.createFailure.withLock { $0 = nil }
            try await expectOnly(in: fixture, session)
        }
    }

    @Test func limitsAreSetBackWhenAnothersAreRefused() async throws {
        try await withEngine { fixture, session in
            let small: ValueMap = ["resources": ["memory": "64MiB"]]
            let (a, b) = (try await session.run("a", small), try await session.run("b", small))
            fixture.host.container(b)!.state.withLock { $0.refusedLimits = [128 << 20] }
            let big = Self.spec(["resources": ["memory": "128MiB"]])
            let error = await expectError(.conflict) { () async throws(LunetteError) in
                try await session.call(
                    "lunette.apply", ["volumes": ["data": [:]], "containers": ["a": big, "b": big, "web": Self.spec()]])
            }
            #expect(error?.message.contains("b uses more") == true)
            #expect(fixture.host.container(a)!.state.withLock { $0.limits } == [128 << 20, 64 << 20])
            #expect(try await session.inspect("a")["spec"]?["resources"]?["memory"] == .int(64 << 20))
            #expect(fixture.drivers.driver.journal.values == ["create data", "remove data"])
            try await expectOnly("a", "b", in: fixture, session)
        }
    }

    @Test func cancelledBeforeTheCommitItIsUndone() async throws {
        try await withEngine { fixture, session in
            let gate = OneShot<Void>()
            fixture.drivers.driver.createGate.withLock { $0 = gate }
            let call = Task { () -> LunetteError? in
                do throws(LunetteError) { _ = try await session.call("lunette.apply", Self.both) } catch { return error }
                return nil
            }
            try await eventually("the driver is asked") { !fixture.drivers.driver.journal.values.isEmpty }
            call.cancel()
            gate.fulfil(())
            #expect(await call.value?.code == .cancelled)
            fixture.drivers.driver.createGate.withLock { $0 = nil }
            #expect(fixture.drivers.driver.journal.values == ["create data", "remove data"])
            try await expectOnly(in: fixture, session)
        }
    }

    @Test func whatAHookMakesOfASpecIsHeldToTheSameRules() async throws {
        try await withEngine { fixture, session in
            try await session.call("container.create", ["spec": Self.spec(["name": "taken"])])
            let receiver = TestReceiver()
            let hooks = try await fixture.session(receiver)
            for event in ["container.create", "volume.create"] { try await register(hooks, event, event: event) }
            for (event, amendment, code): (String, Value, ErrorCode) in [
                ("container.create", ["name": "taken"], .alreadyExists), ("container.create", ["name": "other"], .conflict),
                // Two of the call under one name.
                ("container.create", ["name": "db"], .alreadyExists), ("container.create", ["image": "nope:1"], .notFound),
                ("container.create", ["network": "container:nobody"], .notFound),
                ("container.create", ["mounts": [["type": "bind", "source": "/nowhere/at/all", "target": "/x"]]], .notFound),
                ("volume.create", ["name": "other"], .conflict), ("volume.create", ["driver": "nope"], .notFound),
            ] {
                receiver.before("container.create") { question throws(LunetteError) in
                    event == "container.create" && question["target"]?["name"] == "web" ? ["amend": amendment] : .null
                }
                receiver.before("volume.create") { _ throws(LunetteError) in event == "volume.create" ? ["amend": amendment] : .null }
                await expectError(code) { () async throws(LunetteError) in try await session.call("lunette.apply", Self.both) }
                #expect(await fixture.engine.state.containers.count == 1, "\(JSON.encode(amendment))")
                #expect(await fixture.engine.state.volumes.isEmpty, "\(JSON.encode(amendment))")
            }
            #expect(fixture.drivers.driver.journal.values.isEmpty)
            for event in ["container.create", "volume.create"] { try await hooks.call("hook.unregister", ["subscription": .string(event)]) }
            try await expectOnly("taken", in: fixture, session)
        }
    }

    /// What a handler adds stays, and the next apply of the same finds nothing to do.
    @Test func amendmentsStayAndAreNoDifference() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("label") { _ throws(LunetteError) in ["amend": ["labels": ["by": "hook"]]] }
            try await register(try await fixture.session(receiver), "label", event: "container.create")
            try await session.call("lunette.apply", Self.both)
            #expect(try await session.inspect("db")["spec"]?["labels"] == ["by": "hook"])
            #expect(try await session.call("lunette.apply", Self.both)["changed"] == [])
            #expect(receiver.seen.values.count == 2)
        }
    }

    @Test func containersShareNamespacesOfThoseOfTheSameCall() async throws {
        try await withEngine { fixture, session in
            let made = try await session.call(
                "lunette.apply",
                [
                    "containers": [
                        "a": Self.spec(["network": "container:b", "ipc": "container:pod"]), "b": Self.spec(["pod": "pod"]),
                        "pod": ["pod": true],
                    ]
                ])
            #expect(made["changed"] == ["container pod: made", "container b: made", "container a: made"])
            let records = await fixture.engine.state.containers
            let pod = records.values.first { $0.name == "pod" }
            #expect(records.values.allSatisfy { $0.idRange == pod?.idRange })
            #expect(records.values.first { $0.name == "a" }?.sharesRangeOf == pod?.id)
            let circle = await expectError(.invalidArgument) { () async throws(LunetteError) in
                try await session.call(
                    "lunette.apply", ["containers": ["x": Self.spec(["network": "container:y"]), "y": Self.spec(["pid": "container:x"])]])
            }
            #expect(circle?.path == "containers.y.pid")
            // The call's own name is nobody's yet.
            await expectError(.invalidArgument) { () async throws(LunetteError) in
                try await session.call("lunette.apply", ["containers": ["x": Self.spec(["network": "container:x"])]])
            }
        }
    }

    @Test func aDryRunSaysWhatWouldBeDone() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("no") { _ throws(LunetteError) in ["deny": "no"] }
            try await session.run("db")
            let hooks = try await fixture.session(receiver)
            try await register(hooks, "no", event: "container.create")
            var arguments = Self.both.mapValue!
            arguments["dry_run"] = true
            let plan = try await session.call("lunette.apply", .map(arguments))
            #expect(
                plan["changed"] == ["volume data: made", "volume cache: made", "container web: made", "container db: resources.memory"])
            #expect(plan["containers"]?.mapValue?.keys == ["db"] && receiver.seen.values.isEmpty)
            try await hooks.call("hook.unregister", ["subscription": "no"])
            try await expectOnly("db", in: fixture, session)
        }
    }

    @Test func repeatedItGetsItsFirstOutcome() async throws {
        try await withEngine { fixture, session in
            let first = try await session.call("lunette.apply", Self.both, id: "once")
            try await session.call("container.remove", ["container": "web"])
            #expect(try await session.call("lunette.apply", Self.both, id: "once") == first)
            #expect(await fixture.engine.state.containers.count == 1)
        }
    }

    @Test func twoAtOnceAreOneAfterTheOther() async throws {
        try await withEngine { fixture, session in
            let results = await withTaskGroup(of: Value?.self) { group in
                for _ in 0..<8 { group.addTask { try? await session.call("lunette.apply", Self.both)["changed"] } }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(results.count { $0 == [] } == 7 && results.count { $0?.arrayValue?.count == 4 } == 1, "\(results)")
            #expect(fixture.drivers.driver.journal.values == ["create data", "create cache"])
        }
    }

    /// A volume that a creation has found may be gone when it commits.
    @Test func whatIsRemovedWhileHooksThinkIsMissed() async throws {
        try await withEngine { fixture, session in
            try await session.call("volume.create", ["name": "data"])
            let receiver = TestReceiver()
            receiver.before("slow") { _ throws(LunetteError) in
                try await session.call("volume.remove", ["volume": "data"])
                return .null
            }
            // Asked after the container's own volumes were looked up.
            try await register(try await fixture.session(receiver), "slow", event: "volume.create")
            await expectError(.notFound) { () async throws(LunetteError) in
                try await session.call(
                    "container.create",
                    [
                        "spec": Self.spec([
                            "name": "web",
                            "mounts": [
                                ["type": "volume", "source": "data", "target": "/data"],
                                ["type": "volume", "source": "new", "target": "/new"],
                            ],
                        ])
                    ])
            }
            #expect(await fixture.engine.state.containers.isEmpty)
            #expect(await fixture.engine.state.volumes.isEmpty)
        }
    }
}
