import Foundation
import LunetteAPI
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteEngine

@Suite struct HookTests {
    private func register(
        _ session: TestSession, _ name: String, event: String = "container.create", kind: String = "before", _ fields: ValueMap = [:]
    ) async throws {
        var arguments: ValueMap = ["subscription": .string(name), "kind": .string(kind), "event": .string(event), "name": .string(name)]
        for (key, value) in fields { arguments[key] = value }
        try await session.call("hook.register", .map(arguments))
    }

    @Test func aDenyInOneSessionStopsACreateOfAnother() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("no-root") { event throws(LunetteError) in
                event["spec"]?["user"] == nil ? ["deny": "root is not welcome"] : .null
            }
            try await register(try await fixture.session(receiver), "no-root")
            let error = await expectError(.denied) { () async throws(LunetteError) in try await session.run("web") }
            #expect(error?.message.contains("root is not welcome") == true && error?.hint?.contains("no-root") == true)
            try await session.run("web", ["user": "1000"])
            #expect(receiver.seen.values.last?["actor"]?["script"] == "test")
        }
    }

    @Test func amendmentsMergeReplaceAndDelete() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("amend") { _ throws(LunetteError) in
                ["amend": ["labels": ["added": "yes", "gone": .null], "args": ["other"], "resources": ["memory": "64MiB"]]]
            }
            try await register(try await fixture.session(receiver), "amend")
            try await session.run("web", ["labels": ["gone": "soon", "kept": "yes"]])
            let spec = try await session.inspect("web")["spec"]!
            #expect(spec["labels"] == ["added": "yes", "kept": "yes"])
            #expect(spec["args"] == ["other"])
            #expect(spec["resources"]?["memory"] == 67_108_864)
        }
    }

    @Test func anAmendmentToNonsenseNamesItsHook() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("bad") { _ throws(LunetteError) in ["amend": ["resources": ["memroy": 1]]] }
            try await register(try await fixture.session(receiver), "bad")
            let error = await expectError(.invalidArgument) { () async throws(LunetteError) in try await session.run("web") }
            #expect(error?.message.contains("\"bad\"") == true)
        }
    }

    @Test func handlersRunByPriorityAndEarlierOnesCheckALaterAmendment() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            let order = Collected()
            receiver.before("limit") { event throws(LunetteError) in
                order.add("limit")
                return event["spec"]?["labels"]?["big"] == "yes" ? ["deny": "too big"] : .null
            }
            receiver.before("grow") { _ throws(LunetteError) in
                order.add("grow")
                return ["amend": ["labels": ["big": "yes"]]]
            }
            let hooks = try await fixture.session(receiver)
            try await register(hooks, "grow", ["priority": 10])
            try await register(hooks, "limit", ["priority": 1])
            let error = await expectError(.denied) { () async throws(LunetteError) in try await session.run("web") }
            #expect(error?.message.contains("too big") == true)
            #expect(order.values == ["limit", "grow", "limit"])
        }
    }

    /// Labels and a lifecycle can be amended in: who matches them is asked all the same, whatever its place.
    @Test(arguments: [1, 30])
    func whatIsAmendedInIsMatched(priority: Int64) async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("mark") { _ throws(LunetteError) in ["amend": ["labels": ["tier": "prod"]]] }
            receiver.before("gate") { _ throws(LunetteError) in ["deny": "not by hand"] }
            let hooks = try await fixture.session(receiver)
            try await register(hooks, "mark", ["priority": 5])
            try await session.run("before")
            try await register(hooks, "gate", ["priority": .int(priority), "match": ["labels": ["tier": "prod"]]])
            let error = await expectError(.denied) { () async throws(LunetteError) in try await session.run("web") }
            #expect(error?.message.contains("not by hand") == true)
        }
    }

    /// Who has little patience must not get a policy suspended.
    @Test func aCallersOwnDeadlineIsNoTimeOutOfTheHandler() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("slow") { _ throws(LunetteError) in
                do { try await Task.sleep(for: .seconds(3600)) } catch { throw LunetteError(.cancelled, "cancelled") }
                return .null
            }
            try await register(try await fixture.session(receiver), "slow", ["timeout": 5, "on_failure": "ignore"])
            for round in 0..<4 {
                let spec: Value = ["spec": ["image": "base:latest", "args": ["serve"]]]
                let deadline = fixture.clock.now() + 1
                async let running = session.call("container.run", spec, deadline: deadline)
                try await eventually("the handler is asked") { receiver.seen.values.count == round + 1 }
                try await eventually("time is counted") { fixture.clock.fake.sleeperCount >= 1 }
                fixture.clock.fake.advance(by: .seconds(1))
                do {
                    _ = try await running
                    Issue.record("the handler was passed by")
                } catch let error as LunetteError {
                    #expect(error.code == .timeout, "\(error)")
                }
            }
            #expect(try await session.call("hook.list").arrayValue?.first?["suspended"] == false)
        }
    }

    @Test func whatChangesByApplyIsAskedForAsAnUpdate() async throws {
        try await withEngine { fixture, session in
            func apply(_ fields: ValueMap) async throws(LunetteError) -> Value {
                var spec: ValueMap = ["image": "base:latest", "args": ["serve"]]
                for (key, value) in fields { spec[key] = value }
                return try await session.call("container.apply", ["name": "web", "spec": .map(spec)])
            }
            _ = try await apply(["labels": ["tier": "a", "old": "1"]])
            let receiver = TestReceiver()
            receiver.before("gate") { event throws(LunetteError) in
                event["spec"]?["labels"]?["tier"] == "c" ? ["deny": "frozen"] : ["amend": ["labels": ["by": "gate"]]]
            }
            try await register(try await fixture.session(receiver), "gate", event: "container.update")
            await expectError(.denied) { () async throws(LunetteError) in try await apply(["labels": ["tier": "c"]]) }
            #expect(try await session.inspect("web")["spec"]?["labels"] == ["tier": "a", "old": "1"])
            // What goes is said as null, and what a handler adds stays at the next apply of the same.
            for _ in 0..<2 {
                _ = try await apply(["labels": ["tier": "b"]])
                #expect(try await session.inspect("web")["spec"]?["labels"] == ["tier": "b", "by": "gate"])
            }
            #expect(receiver.seen.values.count == 2)
            #expect(receiver.seen.values.last?["spec"]?["labels"]?["old"] == .null)
        }
    }

    @Test func theListSaysWhoseHandlersAreAskedWhen() async throws {
        try await withEngine { fixture, session in
            let hooks = try await fixture.session(TestReceiver())
            try await register(hooks, "late", ["priority": 9])
            try await register(
                hooks, "early", ["priority": -9, "match": ["labels": ["tier": "prod", "any": .null], "kind": "container"]])
            let list = try await session.call("hook.list").arrayValue ?? []
            #expect(list.map { $0["name"]?.stringValue } == ["early", "late"])
            #expect(list.first?["match"] == ["kind": "container", "labels": ["tier": "prod", "any": .null]])
            #expect(list.last?["match"] == nil)
            #expect(list.allSatisfy { $0["place"]?.stringValue == "test (pid \(ProcessInfo.processInfo.processIdentifier))" })
        }
    }

    /// Which fields are sizes is the registry's to say.
    @Test func whatIsAmendedIsToldFieldByField() {
        let changes = Amendment.changes(
            from: ["resources": ["memory": 268_435_456, "pids": 100], "labels": ["old": "1"], "args": ["a"], "name": "web"],
            to: [
                "resources": ["memory": 67_108_864, "pids": 4096, "storage": 1_073_741_824], "labels": ["memory": 4096], "args": ["a"],
                "stop": ["timeout": 2048],
            ], of: "container.create")
        #expect(
            changes == [
                "resources.memory set to 64MiB", "resources.pids set to 4096", "resources.storage set to 1GiB", "labels.old removed",
                "labels.memory set to 4096", "name removed", "stop.timeout set to 2048",
            ])
        #expect(Amendment.changes(from: ["size": 1], to: ["size": 1_048_576], of: "volume.create") == ["size set to 1MiB"])
        #expect(Amendment.changes(from: ["size": 1, "name": "v"], to: ["name": "v", "size": 1], of: "volume.create").isEmpty)
    }

    @Test func aHandlerThatFailsIsInTheEnginesLogAFewTimes() {
        let lines = Collected()
        let log = HookFailureLog { lines.add(.string($0)) }
        for _ in 0..<20 {
            log.write(
                PendingEvent(
                    name: "hook.failed", target: .init(kind: "container", id: "1", name: "web"),
                    fields: ["hook": "limits", "event": "container.create", "reason": "oh\u{1b}[31m"]))
        }
        #expect(lines.values.count == 5)
        #expect(lines.values.first?.stringValue?.hasPrefix("hook limits failed at container.create of web: oh") == true)
        #expect(lines.values.allSatisfy { $0.stringValue?.contains("\u{1b}") == false })
    }

    @Test func pruneAsksForEachImage() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("keep") { _ throws(LunetteError) in ["deny": "kept"] }
            let hooks = try await fixture.session(receiver)
            try await register(hooks, "keep", event: "image.remove")
            #expect(try await session.call("image.prune", ["all": true])["removed"]?.arrayValue == [])
            #expect(try await session.call("system.prune", ["all": true])["removed"]?.arrayValue == [])
            #expect(receiver.seen.values.count == 2)
            try await hooks.call("hook.unregister", ["subscription": "keep"])
            #expect(try await session.call("image.prune", ["all": true])["removed"]?.arrayValue?.count == 1)
            #expect(try await session.events("image.removed").count == 1)
        }
    }

    @Test func handlersThatAmendEachOtherConflict() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("a") { _ throws(LunetteError) in ["amend": ["labels": ["who": "a"]]] }
            receiver.before("b") { _ throws(LunetteError) in ["amend": ["labels": ["who": "b"]]] }
            let hooks = try await fixture.session(receiver)
            try await register(hooks, "a")
            try await register(hooks, "b")
            await expectError(.conflict) { () async throws(LunetteError) in try await session.run("web") }
        }
    }

    @Test(arguments: ["deny", "ignore"])
    func aHandlerThatRaisesMeansWhatItsOnFailureSays(meaning: String) async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("broken") { _ throws(LunetteError) in throw LunetteError(.scriptFailed, "attempt to index a nil value") }
            try await register(try await fixture.session(receiver), "broken", ["on_failure": .string(meaning)])
            if meaning == "deny" {
                let error = await expectError(.denied) { () async throws(LunetteError) in try await session.run("web") }
                #expect(error?.message.contains("attempt to index") == true)
            } else {
                try await session.run("web")
            }
            #expect(try await session.events("hook.failed").count == 1)
        }
    }

    @Test func aHandlerThatHangsTimesOutAndThreeTimesSuspendIt() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("slow") { _ throws(LunetteError) in
                do { try await Task.sleep(for: .seconds(3600)) } catch { throw LunetteError(.cancelled, "cancelled") }
                return .null
            }
            let hooks = try await fixture.session(receiver)
            try await register(hooks, "slow", ["timeout": 5, "on_failure": "ignore"])
            for round in 0..<3 {
                async let running = session.run("web\(round)")
                try await eventually("the time-out runs") { fixture.clock.fake.sleeperCount == 1 }
                fixture.clock.fake.advance(by: .seconds(5))
                _ = try await running
            }
            try await session.run("fourth")
            #expect(receiver.seen.values.count == 3)
            #expect(try await session.call("hook.list").arrayValue?.first?["suspended"] == true)
        }
    }

    @Test func aHandlerWhoseSessionVanishesInTheCallMeansItsOnFailure() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("gone") { _ throws(LunetteError) in
                do { try await Task.sleep(for: .seconds(3600)) } catch { throw LunetteError(.cancelled, "cancelled") }
                return .null
            }
            let hooks = try await fixture.session(receiver)
            try await register(hooks, "gone")
            async let running = session.run("web")
            try await eventually("the handler is asked") { receiver.seen.values.count == 1 }
            await hooks.session.close()
            do {
                _ = try await running
                Issue.record("it was not denied")
            } catch let error as LunetteError {
                #expect(error.code == .denied && error.message.contains("session has ended"))
            }
            try await session.run("web")
        }
    }

    @Test func aHandlersCallThatWouldWaitForItsOwnCauseConflicts() async throws {
        try await withEngine { fixture, session in
            try await session.run("web")
            let receiver = TestReceiver()
            let inner = Collected()
            receiver.before("circle") { event throws(LunetteError) in
                let cause = event["cause"]!.arrayValue!.compactMap(\.stringValue)
                do throws(LunetteError) { try await session.call("container.pause", ["container": "web"], cause: cause) } catch {
                    inner.add(.string(error.code.rawValue))
                }
                return .null
            }
            try await register(try await fixture.session(receiver), "circle", event: "container.stop")
            try await session.call("container.stop", ["container": "web"])
            #expect(inner.values == ["conflict"])
        }
    }

    @Test func nineCausesAreOneTooMany() async throws {
        try await withEngine { fixture, session in
            let cause = (0..<9).map { "request-\($0)" }
            await expectError(.conflict) { () async throws(LunetteError) in try await session.call("system.ping", cause: cause) }
            try await session.call("system.ping", cause: Array(cause.dropLast()) + ["hook:x"])
        }
    }

    @Test func noHandlerIsAskedAboutWhatItCaused() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("mirror") { event throws(LunetteError) in
                let cause = event["cause"]!.arrayValue!.compactMap(\.stringValue)
                let spec: Value = [
                    "image": "base:latest", "args": ["serve"], "name": .string(event["target"]!["name"]!.stringValue! + "-copy"),
                ]
                try await session.call("container.create", ["spec": spec], cause: cause)
                return .null
            }
            try await register(try await fixture.session(receiver), "mirror")
            try await session.run("web")
            #expect(receiver.seen.values.count == 1)
            #expect(await fixture.engine.state.containers.count == 2)
        }
    }

    @Test func onHandlersSeeCommittedEventsInOrderPerTarget() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            try await register(try await fixture.session(receiver), "watch", event: "container.*", kind: "on")
            try await session.run("web", ["args": ["true"]])
            try await eventually("all came") { receiver.seen.values.count == 3 }
            #expect(receiver.seen.values.map { $0["name"]! } == ["container.created", "container.started", "container.exited"])
        }
    }

    /// `cancelled` as well: what a handler waited for may have been.
    @Test(arguments: [ErrorCode.scriptFailed, .cancelled])
    func anOnHandlerThatFailsThreeTimesIsReportedOnce(_ code: ErrorCode) async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("broken") { _ throws(LunetteError) in throw LunetteError(code, "no") }
            try await register(try await fixture.session(receiver), "broken", event: "container.created", kind: "on")
            try await session.call("container.create", ["spec": ["image": "base:latest", "args": ["serve"]]])
            for _ in 0..<3 {
                try await eventually("a retry waits") { fixture.clock.fake.sleeperCount > 0 }
                fixture.clock.fake.advance(by: .seconds(1))
            }
            try await eventually("it is reported") { try await session.events("hook.failed").count == 1 }
            #expect(receiver.seen.values.map { $0["redelivered"]! } == [false, true, true])
        }
    }

    @Test func anUnknownEventNamesTheNearest() async throws {
        try await withEngine { fixture, _ in
            let session = try await fixture.session(TestReceiver())
            let error = await expectError(.invalidArgument) { () async throws(LunetteError) in
                try await session.call("hook.register", ["subscription": "x", "kind": "before", "event": "container.crate"])
            }
            #expect(error?.hint == "did you mean \"container.create\"?")
        }
    }

    @Test func matchChoosesByLabels() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("only-web") { _ throws(LunetteError) in ["deny": "no"] }
            try await register(try await fixture.session(receiver), "only-web", ["match": ["labels": ["tier": "web"]]])
            try await session.run("db", ["labels": ["tier": "db"]])
            await expectError(.denied) { () async throws(LunetteError) in try await session.run("web", ["labels": ["tier": "web"]]) }
        }
    }

    @Test func anUpdateIsAskedAboutAsItWillBe() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("look") { event throws(LunetteError) in
                event["spec"]?["labels"]?["app"]?.isNull == true ? ["amend": ["labels": ["app": "kept"]]] : .null
            }
            let id = try await session.run("web", ["labels": ["app": "a", "tier": "b"], "resources": ["memory": "64MiB"]])
            try await register(try await fixture.session(receiver), "look", event: "container.update")
            let update: Value = [
                "container": .string(id), "labels": ["app": .null, "tier": .null, "new": "c"], "restart": "always",
                "resources": ["memory": "128MiB", "pids": .null],
            ]
            try await session.call("container.update", update)
            let spec = try #require(receiver.seen.values.first?["spec"])
            #expect(spec["labels"] == ["app": .null, "tier": .null, "new": "c"])
            #expect(spec["resources"]?["memory"] == 134_217_728 && spec["restart"]?["policy"] == "always")
            #expect(spec["name"] == nil)
            #expect(try await session.inspect(id)["labels"] == ["app": "kept", "new": "c"])
        }
    }

    @Test func anUpdateCantBeAmendedToWhatItDoesNotChange() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("more") { _ throws(LunetteError) in ["amend": ["hostname": "other"]] }
            let id = try await session.run("web")
            try await register(try await fixture.session(receiver), "more", event: "container.update")
            let error = await expectError(.invalidArgument) { () async throws(LunetteError) in
                try await session.call("container.update", ["container": .string(id), "labels": ["a": "b"]])
            }
            #expect(error?.path == "hostname" && error?.message.contains("hook \"more\"") == true)
        }
    }

    @Test func aHandlerThatRaisesDeniedDeniesInItsOwnName() async throws {
        try await withEngine { fixture, session in
            let receiver = TestReceiver()
            receiver.before("gate") { _ throws(LunetteError) in throw LunetteError(.denied, "not here") }
            try await register(try await fixture.session(receiver), "gate", ["on_failure": "ignore"])
            let error = await expectError(.denied) { () async throws(LunetteError) in try await session.run("web") }
            #expect(error?.message == "container.run of web was denied: not here")
            #expect(error?.hint?.hasPrefix("by the hook \"gate\" of test (pid ") == true)
            #expect(error?.details == ["hook": "gate", "reason": "not here"])
        }
    }

    @Test(arguments: ["container.stop", "container.kill", "container.remove"])
    func anEndThatWasAskedForSaysByWhat(function: String) async throws {
        try await withEngine { _, session in
            let id = try await session.run("web")
            var arguments: ValueMap = ["container": .string(id)]
            if function == "container.remove" { arguments["force"] = true }
            try await session.call(function, .map(arguments), id: "the-call", cause: ["event-1"])
            for _ in 0..<200 where try await session.events(since: 0, "container.exited").isEmpty {
                try await Task.sleep(for: .milliseconds(5))
            }
            let event = try #require(try await session.events(since: 0, "container.exited").first)
            #expect(event["cause"] == ["event-1", "the-call"] && event["actor"]?["script"] == "test")
        }
    }

    @Test func anEndOfItsOwnHasNoCause() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web")
            // A signal that asks for no end: what ends it later is something else.
            try await session.call("container.kill", ["container": .string(id), "signal": "USR1"])
            fixture.host.container(id)?.finish(code: 3)
            for _ in 0..<200 where try await session.events(since: 0, "container.exited").isEmpty {
                try await Task.sleep(for: .milliseconds(5))
            }
            #expect(try await session.events(since: 0, "container.exited").first?["cause"] == [])
        }
    }
}
