import Foundation
import LunetteAPI
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

@testable import LunetteEngine

/// Questions to handlers that are begun without waiting for them, as resident ones are: the engine looks out for a quick answer.
@Suite struct BegunHookTests {
    /// Answers on a thread of its own, at once or never.
    private final class BegunReceiver: HookReceiver {
        let asked = Atomic<Int>(0)
        /// Questions from this one on are left unanswered.
        let last: Int
        init(last: Int = .max) { self.last = last }

        func before(subscription: String, event: Value) async throws(LunetteError) -> Value { .null }
        func on(subscription: String, event: Value) async throws(LunetteError) {}

        func begin(subscription: String, event: Value, answered: @escaping @Sendable (Result<Value, LunetteError>) -> Void) -> Bool {
            let number = asked.add(1, ordering: .relaxed).newValue
            if number >= last { return true }
            // A third at once, a third from another thread, a third later than anybody looks.
            switch number % 3 {
            case 0: answered(.success(["amend": ["labels": ["count": .string(String(number))]]]))
            case 1: Thread.detachNewThread { answered(.success(.null)) }
            default:
                Thread.detachNewThread {
                    Thread.sleep(forTimeInterval: 0.001)
                    answered(.success(.null))
                }
            }
            return true
        }
    }

    private func ask(_ fixture: EngineFixture, deadline: Double? = nil) async throws(LunetteError) -> Value {
        let request = APIRequest(
            id: Identifier.short(), function: "container.create", arguments: [:], actor: Actor(uid: 0, gid: 0, pid: 1), deadline: deadline)
        let call = Call(request: request, session: "test", files: [], onChunk: nil)
        return try await fixture.engine.hooks.ask(
            .init(
                event: "container.create", target: .init(kind: "container", id: "0123456789ab", name: "web"), spec: ["args": ["true"]],
                isAmendable: true), for: call)
    }

    private func register(_ receiver: BegunReceiver, _ fixture: EngineFixture, _ fields: ValueMap = [:]) async throws -> TestSession {
        let session = try await fixture.session(receiver)
        var arguments: ValueMap = ["subscription": "quick", "kind": "before", "event": "container.create", "name": "quick"]
        for (key, value) in fields { arguments[key] = value }
        try await session.call("hook.register", .map(arguments))
        return session
    }

    @Test func answersAreTakenWheneverTheyCome() async throws {
        try await withEngine { fixture, _ in
            let receiver = BegunReceiver()
            _ = try await register(receiver, fixture)
            for number in 1...300 {
                let spec = try await ask(fixture)
                #expect(spec["labels"]?["count"]?.stringValue == (number % 3 == 0 ? String(number) : nil))
            }
        }
    }

    /// One that was quick and then doesn't come back is as late as any other.
    @Test func aHandlerThatWasQuickAndHangsTimesOut() async throws {
        try await withEngine { fixture, session in
            let receiver = BegunReceiver(last: 100)
            _ = try await register(receiver, fixture, ["timeout": 0.3])
            for _ in 1..<100 { _ = try await ask(fixture) }
            for round in 0..<3 {
                let asking = Task { await expectError(.denied) { () async throws(LunetteError) in try await ask(fixture) } }
                try await eventually("it is asked") { receiver.asked.load(ordering: .relaxed) == 100 + round }
                // Its time is counted in real seconds, its sleeper's in the test's.
                let isOver = Atomic<Bool>(false)
                async let watch: Void = {
                    _ = await asking.value
                    isOver.store(true, ordering: .relaxed)
                }()
                try await eventually("the time is over", within: .seconds(30)) {
                    fixture.clock.fake.advance(by: .seconds(1))
                    return isOver.load(ordering: .relaxed)
                }
                await watch
                let error = await asking.value
                #expect(error?.message.contains("did not answer within 0.3") == true, "\(String(describing: error))")
            }
            #expect(try await session.call("hook.list").arrayValue?.first?["suspended"] == true)
        }
    }

    @Test func whoIsCancelledOrLosesTheHandlerIsTold() async throws {
        try await withEngine { fixture, _ in
            let receiver = BegunReceiver(last: 31)
            let hooks = try await register(receiver, fixture, ["timeout": 3600])
            for _ in 1..<31 { _ = try await ask(fixture) }
            let cancelled = Task { await expectError(.cancelled) { () async throws(LunetteError) in try await ask(fixture) } }
            try await eventually("it is asked") { receiver.asked.load(ordering: .relaxed) == 31 }
            cancelled.cancel()
            _ = await cancelled.value
            let left = Task { await expectError(.denied) { () async throws(LunetteError) in try await ask(fixture) } }
            try await eventually("it is asked again") { receiver.asked.load(ordering: .relaxed) == 32 }
            await hooks.session.close()
            #expect(await left.value?.message.contains("session has ended") == true)
        }
    }
}
