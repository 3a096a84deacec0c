import LunetteAPI
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteEngine

/// What users of scripts' sockets may hold and make has bounds, and is nobody else's.
@Suite struct GuestTests {
    private func request(_ id: String, _ fields: ValueMap = [:]) throws -> HookRequest {
        var map: ValueMap = ["subscription": .string(id), "kind": "on", "event": "*"]
        for (key, value) in fields { map[key] = value }
        return try HookRequest(.map(map))
    }

    private func log(_ count: Int, _ engine: Engine) async {
        for _ in 0..<count { await engine.state.log(PendingEvent(name: "engine.ready")) }
    }

    // MARK: Events

    @Test func whatANamedHandlerHasNotHadIsKept() async throws {
        try await withEngine { fixture, _ in
            let state = fixture.engine.state
            var changes = Changes()
            changes.cursors = ["slow": 3]
            try await state.commit(changes)
            await log(5000, fixture.engine)
            #expect(try await state.events(after: 3, limit: 1).first?.sequence == 4)
            // It has come on, though nothing is written yet.
            state.needs.reach("slow", 4000)
            await log(300, fixture.engine)
            #expect(await state.oldestEvent == 4001)
            #expect(await state.cursors["slow"] == 4000)
            changes = Changes()
            changes.removedCursors = ["slow"]
            try await state.commit(changes)
            await log(300, fixture.engine)
            #expect(await state.oldestEvent > 4300)
        }
    }

    @Test func whatIsKeptForAHandlerHasABound() async throws {
        try await withEngine { fixture, _ in
            let state = fixture.engine.state
            var changes = Changes()
            changes.cursors = ["slow": 3]
            try await state.commit(changes)
            await log(11_000, fixture.engine)
            let (oldest, newest) = await (state.oldestEvent, state.newestEvent)
            #expect(oldest > 500 && newest - oldest > 9000 && newest - oldest < 10_300, "\(oldest) \(newest)")
        }
    }

    @Test func bigEventsAreKeptForAHandlerByTheirBytes() async throws {
        try await withEngine { fixture, _ in
            let state = fixture.engine.state
            var changes = Changes()
            changes.cursors = ["slow": 0]
            try await state.commit(changes)
            let big = PendingEvent(name: "container.updated", fields: ["labels": .string(String(repeating: "x", count: 256 << 10))])
            for _ in 0..<400 { await state.log(big) }
            await log(1300, fixture.engine)
            // 400 × 256 KiB, of which 64 MiB are kept.
            let oldest = await state.oldestEvent
            #expect((100...200).contains(oldest), "\(oldest)")
        }
    }

    @Test func whatAHandlerHasLostIsTold() async throws {
        try await withEngine { fixture, session in
            await log(1400, fixture.engine)
            let oldest = await fixture.engine.state.oldestEvent
            let receiver = TestReceiver()
            let subscription = try await fixture.engine.hooks.make(
                request("1", ["name": "slow", "event": "container.created"]), source: .resident, session: "conf.d/slow",
                place: "conf.d/slow.lua:1", receiver: receiver)
            let engine = fixture.engine
            let delivery = Task { await engine.deliver(to: subscription, after: 2, cursor: nil) }
            try await eventually("it is told") { try await session.events(since: oldest, "hook.failed").count == 1 }
            let told = try await session.events(since: oldest, "hook.failed")[0]
            #expect(told["hook"] == "slow" && told["lost"]?.intValue == oldest - 3, "\(told)")
            #expect(told["reason"]?.stringValue?.contains("the events 3 to \(oldest - 1) are no longer kept") == true, "\(told)")
            // It goes on with what there is.
            try await session.run("web")
            try await eventually("it gets what is new") { receiver.seen.values.contains { $0["target"]?["name"] == "web" } }
            delivery.cancel()
            await delivery.value
        }
    }

    @Test func callsThatChangeSomethingAreSlowedBeyondABurst() {
        let pace = GuestPace()
        for _ in 0..<Int(GuestPace.burst) { #expect(pace.wait(of: 1000, at: 5000) == 0) }
        let waits = (1...3).map { _ in pace.wait(of: 1000, at: 5000) ?? -1 }
        #expect(waits.first! > 0 && waits == waits.sorted() && abs(waits[2] - 3 / GuestPace.perSecond) < 1e-6, "\(waits)")
        #expect(pace.wait(of: 1001, at: 5000) == 0)
        // Nobody waits for ever, and who is refused doesn't push later calls further away.
        while pace.wait(of: 1000, at: 5000) != nil {}
        #expect(pace.wait(of: 1000, at: 5000) == nil)
        #expect(pace.wait(of: 1000, at: 5001) != nil)
        #expect(pace.wait(of: 1000, at: 5000 + GuestPace.longest + GuestPace.burst / GuestPace.perSecond) == 0)
    }

    // MARK: Handlers

    @Test func handlersOfAConnectionAndOfAUserAreBounded() async throws {
        try await withEngine { fixture, _ in
            let (hooks, receiver) = (fixture.engine.hooks, TestReceiver())
            var made = 0
            var error: LunetteError?
            for connection in 0..<10 where error?.message.contains("uid 1000") != true {
                for number in 0..<100 {
                    do throws(LunetteError) {
                        _ = try await hooks.register(
                            try HookRequest(.map(["subscription": .string("\(number)"), "kind": "on", "event": "*"])), source: .session,
                            session: "s\(connection)", place: nil, receiver: receiver, guest: 1000)
                        made += 1
                    } catch let failure {
                        error = failure
                        break
                    }
                }
                #expect(error?.code == .resourceExhausted && error?.message.contains("as many as") == true, "\(String(describing: error))")
                #expect(made <= (connection + 1) * Hooks.mostOfGuestSession)
            }
            #expect(made == Hooks.mostOfGuest)
            // Another user, and the engine's own, aren't hindered; and whoever leaves makes room.
            _ = try await hooks.register(request("1"), source: .session, session: "other", place: nil, receiver: receiver, guest: 1001)
            for number in 0..<100 {
                _ = try await hooks.register(request("\(number)"), source: .session, session: "own", place: nil, receiver: receiver)
            }
            await hooks.sessionEnded("s0")
            _ = try await hooks.register(request("1"), source: .session, session: "s9", place: nil, receiver: receiver, guest: 1000)
        }
    }

    @Test func failuresOfAGuestsHandlersAreCountedTogether() async throws {
        try await withEngine { fixture, session in
            let lines = Collected()
            let log = HookFailureLog { lines.add(.string($0)) }
            func failure(_ name: String) -> PendingEvent {
                PendingEvent(name: "hook.failed", fields: ["hook": .string(name), "event": "container.created", "reason": "oh"])
            }
            for number in 0..<1500 { await log.tell(failure("gate\(number)"), of: .guest(1000), in: fixture.engine.state) }
            #expect(lines.values.count == HookFailureLog.linesPerMinute)
            let ofGuest = try await session.events("hook.failed").count
            #expect(ofGuest == HookFailureLog.guestEventsPerMinute)
            // A handler of the same name has its own lines, and each of its failures is an event.
            for _ in 0..<40 { await log.tell(failure("gate"), of: .code("gate"), in: fixture.engine.state) }
            #expect(lines.values.count == 2 * HookFailureLog.linesPerMinute)
            let all = try await session.events("hook.failed").count
            #expect(all == ofGuest + 40)
        }
    }
}
