import LunetteAPI
import LunetteSpec
import Testing

@testable import LunetteEngine

extension FakePlugin: CodePrompt {
    func answer(
        _ question: ValueMap, onOutput: @escaping @Sendable (Value) async throws(LunetteError) -> Void
    ) async throws(LunetteError) -> Value {
        driver.journal.add(.map(question))
        if question["ask"] == "chunk" { try await onOutput("printed") }
        return ["status": question["ask"] ?? .null, "text": question["source"] ?? .null]
    }

    func complete(_ question: ValueMap) async throws(LunetteError) -> Value { [["word", "", ""]] }
}

/// Who may open a prompt inside resident code, and what the engine adds to it.
@Suite struct PromptTests {
    private static func question(_ ask: String, target: String = "volume-fake", _ fields: ValueMap = [:]) -> Value {
        var map: ValueMap = ["target": .string(target), "session": "mine", "ask": .string(ask)]
        for (key, value) in fields { map[key] = value }
        return .map(map)
    }

    @Test func aChunkIsAnsweredOnceAndItsSessionEndsWithTheConnection() async throws {
        try await withEngine { fixture, session in
            let other = try await fixture.session()
            let opened = try await other.call("script.evaluate", Self.question("open"))
            #expect(opened["kind"] == "plugin" && opened["status"] == "open" && opened["engine"]?.stringValue != nil)
            let printed = Collected()
            let chunk = Self.question("chunk", ["source": "1 + 1"])
            for _ in 1...2 {
                let answer = try await other.call("script.evaluate", chunk, id: "same") { text throws(LunetteError) in printed.add(text) }
                #expect(answer["text"] == "1 + 1")
            }
            #expect(printed.values == ["printed"], "a repeated request gets the first outcome")
            // The id that a client chose is its connection's alone.
            let again = try await session.call("script.evaluate", Self.question("open"))
            #expect(again["engine"] != opened["engine"])
            let ids = Set(fixture.drivers.driver.journal.values.compactMap { $0["session"]?.stringValue })
            #expect(ids.count == 2 && ids.allSatisfy { $0.hasSuffix("/mine") })
            await other.session.close()
            #expect(fixture.drivers.driver.journal.values.last?["ask"] == "close")
            #expect(fixture.drivers.driver.journal.values.count == 4)
        }
    }

    @Test func itIsForRootAndTheEnginesUser() async throws {
        try await withEngine { fixture, session in
            func asked(by uid: UInt32, _ function: String, in session: any EngineSession) async throws(LunetteError) -> Value {
                var arguments = Self.question("open").mapValue ?? [:]
                if function == "script.complete" { arguments = ["target": "volume-fake", "session": "mine", "text": "", "line": ""] }
                return try await session.call(
                    APIRequest(
                        id: Identifier.short(), function: function, arguments: .map(arguments),
                        actor: Actor(uid: uid, gid: 0, pid: 1, script: "test")), files: [], onChunk: nil)
            }
            for function in ["script.evaluate", "script.complete"] {
                await expectError(.denied) { () async throws(LunetteError) in
                    try await asked(by: 4_000_000, function, in: session.session)
                }
                // Resident code would get another's permissions.
                let resident = try fixture.engine.open(Session(engine: fixture.engine, receiver: nil, isInternal: true))
                await expectError(.denied) { () async throws(LunetteError) in try await asked(by: 0, function, in: resident) }
                await resident.close()
            }
            #expect(fixture.drivers.driver.journal.values == [])
            let absent = await expectError(.notFound) { () async throws(LunetteError) in
                try await session.call("script.evaluate", Self.question("open", target: "volume-fkae"))
            }
            #expect(absent?.hint == "did you mean \"volume-fake\"?")
            await expectError(.invalidArgument) { () async throws(LunetteError) in
                try await session.call("script.evaluate", Self.question("look"))
            }
        }
    }
}
