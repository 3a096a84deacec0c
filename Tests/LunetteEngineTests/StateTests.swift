import Foundation
import GRDB
import LunetteAPI
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteEngine

@Suite struct StateTests {
    private func directory() throws -> String {
        let path = "/tmp/lunette-state-\(UInt64.random(in: 0...UInt64.max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    private func open(_ path: String) async throws(LunetteError) -> State {
        try await State(path: path, clock: SystemClock(), bootID: "boot", eventLimit: 100, outcomeLimit: 100)
    }

    @Test func aDatabaseOfANewerVersionIsRefusedAndUntouched() async throws {
        let folder = try directory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/state.sqlite"
        try await open(path).close()
        let queue = try DatabaseQueue(path: path)
        try await queue.write { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('99 the future')") }
        try queue.close()
        let error = await expectError(.unsupported) { () async throws(LunetteError) in try await open(path) }
        #expect(error?.message.contains("newer version") == true && error?.hint != nil)
    }

    /// Variables of containers are in there. An older one that everybody could read is mended.
    @Test(arguments: [false, true]) func theDatabaseIsItsOwnersWhateverTheUmask(isThere: Bool) async throws {
        let folder = try directory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/state.sqlite"
        if isThere {
            try await open(path).close()
            #expect(chmod(path, 0o644) == 0)
        }
        let before = umask(0o022)
        defer { umask(before) }
        let state = try await open(path)
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")[.posixPermissions] as? Int
            #expect(mode == 0o600, "\(name)")
        }
        try await state.close()
    }

    @Test func aDamagedDatabaseIsAClearErrorAndStays() async throws {
        let folder = try directory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/state.sqlite"
        let garbage = Data("this is not a database, but somebody's notes".utf8) + Data(repeating: 7, count: 8192)
        try garbage.write(to: URL(fileURLWithPath: path))
        let error = await expectError(.io) { () async throws(LunetteError) in try await open(path) }
        #expect(error?.message.contains("damaged") == true && error?.hint?.contains("backup") == true)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == garbage)
    }

    @Test func aCommitIsWholeOrNotAtAll() async throws {
        let folder = try directory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let state = try await open(folder + "/state.sqlite")
        var changes = Changes()
        let actor = LunetteEngine.Call.ownCall("test").request.actor
        let one = ContainerRecord(id: "a", name: "same", spec: .map([:]), image: nil, createdAt: 1, requestID: "r1", actor: actor)
        let two = ContainerRecord(id: "b", name: "same", spec: .map([:]), image: nil, createdAt: 1, requestID: "r2", actor: actor)
        changes.containers = [one, two]
        changes.events = [PendingEvent(name: "container.created")]
        let bad = changes
        await expectError(.alreadyExists) { () async throws(LunetteError) in try await state.commit(bad) }
        #expect(await state.containers.isEmpty)
        #expect(await state.newestEvent == 0)
        try await state.close()
        let again = try await open(folder + "/state.sqlite")
        #expect(await again.containers.isEmpty)
        try await again.close()
    }

    @Test func aRecordComesBackAsItWas() async throws {
        let folder = try directory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var record = ContainerRecord(
            id: "a", name: "web", spec: ["labels": ["a": "b"]], image: .init(reference: "r", digest: "d", id: "i"), createdAt: 1.5,
            requestID: "r1",
            sessionID: "s", actor: LunetteEngine.Call.ownCall("test").request.actor)
        record.state.status = .stopped
        record.state.exit = ExitRecord(code: 137, signal: "SIGKILL", oomKilled: true, reason: .oom, finishedAt: 9, message: "m")
        record.state.policy = RestartPolicy(kind: .onFailure, initialBackoff: 2, maximumBackoff: 3, maximumAttempts: 4)
        record.state.restartAt = 12
        record.remember("exited", "oom", at: 9)
        record.profile = [.init(phase: "create", microseconds: 5)]
        record.volumes = ["v"]
        record.stopSignal = 3
        record.run = ["id": "a"]
        let stored = record
        let state = try await open(folder + "/state.sqlite")
        var changes = Changes()
        changes.containers = [stored]
        try await state.commit(changes, .desired)
        try await state.close()
        let again = try await open(folder + "/state.sqlite")
        #expect(await again.containers["a"] == stored)
        try await again.close()
    }

    @Test func aNameIdOrUniquePrefixFinds() async throws {
        try await withEngine { fixture, session in
            let id = try await session.run("web")
            #expect(try await session.inspect(String(id.prefix(6)))["name"] == "web")
            let error = await expectError(.notFound) { () async throws(LunetteError) in try await session.inspect("weeb") }
            #expect(error?.hint == "did you mean \"web\"?")
            await expectError(.notFound) { () async throws(LunetteError) in try await session.inspect(String(id.prefix(3))) }
        }
    }

    @Test func twoCreationsNeverShareANameOrARange() async throws {
        try await withEngine { fixture, session in
            let outcomes = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 { group.addTask { (try? await session.run("web")) != nil } }
                for _ in 0..<20 { group.addTask { (try? await session.run()) != nil } }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(outcomes == 21)
            let records = await fixture.engine.state.containers.values
            #expect(Set(records.map(\.name)).count == 21)
            #expect(Set(records.compactMap { $0.idRange?.first }).count == 21)
        }
    }
}
