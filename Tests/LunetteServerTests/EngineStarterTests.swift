import Glibc
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteAPI

@Suite struct EngineStarterTests {
    /// What a start says that is refused for a lock, again and again.
    private func failure(of directory: String, rootPatience: Double, patience: Double) async throws -> LunetteError? {
        var template = Array("/tmp/lnt-starter.XXXXXX".utf8CString)
        let folder = String(cString: mkdtemp(&template))
        defer {
            unlink("\(folder)/engine")
            rmdir(folder)
        }
        let record = LunetteError(
            .conflict, "open an engine on /r: another engine (pid 7) has it", details: ["directory": .string(directory)])
        let script = "#!/bin/sh\necho '\(JSON.encode(record.value))' >&3\n"
        let file = open("\(folder)/engine", O_WRONLY | O_CREAT | O_CLOEXEC, 0o700)
        _ = script.withCString { write(file, $0, strlen($0)) }
        close(file)
        var starter = EngineStarter(
            socket: "\(folder)/engine.sock", start: EngineStart(executable: "\(folder)/engine", arguments: []), patience: patience)
        starter.rootPatience = rootPatience
        return await #expect(throws: LunetteError.self) { _ = try await starter.connected() }
    }

    @Test(.timeLimit(.minutes(1))) func anEngineOfAnotherStateThatHoldsTheRootIsNamedAndNotWaitedForLong() async throws {
        let error = try await failure(of: "root", rootPatience: 0, patience: 600)
        #expect(error?.code == .conflict && error?.message == "open an engine on /r: another engine (pid 7) has it")
    }

    /// Of the same state it is one that a neighbour has just started: it answers soon, or the reason is told.
    @Test func whatKeptTheEngineFromStartingIsToldWhenTheTimeIsUp() async throws {
        let error = try await failure(of: "state", rootPatience: 0, patience: 0.3)
        #expect(error?.code == .conflict && error?.message.contains("(pid 7) has it") == true)
    }
}
