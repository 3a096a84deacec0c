import Foundation
import LunetteAPI
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteLua

@Suite struct DocumentationTests {
    private static let docs = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("docs")

    @Test(arguments: APIDocs.files().map(\.path))
    func whatIsMadeFromTheRegistryIsUpToDate(_ path: String) throws {
        let text = try #require(APIDocs.files().first { $0.path == path }).text
        let file = Self.docs.appendingPathComponent(path)
        if ProcessInfo.processInfo.environment["LUNETTE_RECORD"] != nil {
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        let there = try? String(contentsOf: file, encoding: .utf8)
        #expect(there == text, "docs/\(path) differs: LUNETTE_RECORD=1 swift test --filter DocumentationTests records it again")
    }

    /// Answers every function with something of the described kind.
    static func engine() -> FakeEngine {
        FakeEngine { (engine, request, files, onChunk) async throws(LunetteError) in
            guard let function = APIRegistry.function(request.function) else { return .null }
            if function.name == "events.follow" || function.name == "container.follow_logs" {
                try await onChunk?(["name": "container.exited", "stream": "stdout", "data": "a line", "exit": ["code": 0]])
                return .null
            }
            if function.name == "hook.register" { return ["subscription": request.arguments["subscription"]!] }
            if function.name == "container.create", let hook = engine.requests.last(where: { $0.function == "hook.register" }) {
                _ = try await engine.receiver!.before(subscription: hook.arguments["subscription"]!.stringValue!, event: HookTests.event)
            }
            if function.name == "container.exec", let output = files.last {
                FileHandle(fileDescriptor: output).write(Data("hello\n".utf8))
            }
            return sample(function.result)
        }
    }

    private static func sample(_ type: APIType) -> Value {
        switch type {
        case .boolean: false
        case .integer, .number, .size, .duration, .time: 0
        case .string, .path, .any: "text"
        case .choice(let words): .string(words[0])
        case .list(let item): item == .any ? [] : [sample(item)]
        case .map, .null, .nothing, .callback: type == .null || type == .nothing ? .null : .map([:])
        case .record(let name):
            .map(APIRegistry.record(name)!.fields.filter(\.isRequired).reduce(into: ValueMap()) { $0[$1.name] = sample($1.type) })
        case .union(let types): sample(types[0])
        case .handle(let noun): FakeEngine.handle(noun, "1234567890ab", "web")
        }
    }

    @Test(arguments: APIRegistry.all.map(\.name))
    func everyExampleOfTheRegistryRuns(_ name: String) async throws {
        let function = try #require(APIRegistry.function(name))
        if name == "system.check" { return }
        // The integration tests run these under `lunette test`.
        if function.noun == "test" { return }
        let problems = try ScriptChecker.problems(
            source: Array(("local lunette = require \"lunette\"\n" + function.example).utf8), name: name)
        #expect(problems == [])
        let ran = await runLua(function.example, engine: Self.engine(), prints: false)
        #expect(ran.ok, "\(ran.error)")
    }

    @Test func everyExampleOfTheTutorialRuns() async throws {
        let text = try String(contentsOf: Self.docs.appendingPathComponent("lua/tutorial.md"), encoding: .utf8)
        let blocks = text.components(separatedBy: "```lua\n").dropFirst().map { $0.components(separatedBy: "```")[0] }
        #expect(blocks.count > 8)
        for block in blocks {
            let ran = await runLua(block, engine: Self.engine(), prints: false)
            #expect(ran.ok, "\(ran.error)\nin\n\(block)")
        }
    }

    /// Every name that a script may use is in the registry, and the other way round.
    @Test func theLuaHostHasWhatTheRegistryDescribes() async {
        let names = APIRegistry.all.filter { !$0.lua.isHidden }.map { $0.noun == "lunette" ? "lunette.\($0.verb)" : "lunette.\($0.name)" }
        let ran = await runLua(
            "local missing = {} for name in ('\(names.joined(separator: " "))'):gmatch('%S+') do local ok, f = pcall(load('return ' .. name)) if not ok or type(f) ~= 'function' then missing[#missing + 1] = name end end return table.concat(missing, ' ')"
        )
        #expect(ran.text == "", "missing: \(ran.text) \(ran.error)")
    }
}
