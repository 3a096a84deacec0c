import Foundation
import Glibc
import LunetteAPI
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteEngine

@Suite struct AuditLogTests {
    private func folder() throws -> String {
        let path = "/tmp/lunette-audit-\(UInt64.random(in: 0...UInt64.max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    private func entry(_ number: Int) -> Value { ["time": .int(Int64(number)), "call": "container.create"] }

    private func numbers(_ root: String) throws -> [Int64] {
        var reader = try AuditReader(root: root)
        var found: [Int64] = []
        while true {
            let entries = try reader.next()
            if entries.isEmpty { return found }
            found += entries.compactMap { $0["time"]?.intValue }
        }
    }

    @Test func itIsBoundedAndKeepsTheNewest() async throws {
        let root = try folder()
        defer { try? FileManager.default.removeItem(atPath: root) }  // Best effort: it lies in the temporary folder.
        let log = AuditLog(root: root, limit: 4096, files: 3, log: { _ in })
        for number in 0..<1000 { await log.write(entry(number)) }
        let files = try FileManager.default.contentsOfDirectory(atPath: root).sorted()
        #expect(files == ["audit.log", "audit.log.1", "audit.log.2"])
        for file in files {
            var status = stat()
            #expect(stat("\(root)/\(file)", &status) == 0 && status.st_size <= 4096 && status.st_mode & 0o777 == 0o600)
        }
        let kept = try numbers(root)
        #expect(kept.last == 999 && kept == Array(kept.first!...999) && kept.count > 100)
        await log.close()
    }

    @Test func aReaderMissesNothingThroughARotation() async throws {
        let root = try folder()
        defer { try? FileManager.default.removeItem(atPath: root) }  // As above.
        let log = AuditLog(root: root, limit: 4096, files: 4, log: { _ in })
        var reader = try AuditReader(root: root)
        var found: [Int64] = []
        for number in 0..<500 {
            await log.write(entry(number))
            // It comes by now and then: more often than a file is filled.
            if number % 20 == 0 { found += try reader.next().compactMap { $0["time"]?.intValue } }
        }
        while true {
            let entries = try reader.next()
            if entries.isEmpty { break }
            found += entries.compactMap { $0["time"]?.intValue }
        }
        #expect(found == Array(0..<500))
        await log.close()
    }

    @Test func aLogThatCannotBeWrittenIsToldOnceAndGoesOnLater() async throws {
        let root = try folder()
        defer { try? FileManager.default.removeItem(atPath: root) }  // As above.
        let told = Told()
        let log = AuditLog(root: "\(root)/r", log: { told.add($0) })
        for number in 0..<3 { await log.write(entry(number)) }
        #expect(told.lines.count == 1 && told.lines[0].contains("audit log: open"), "\(told.lines)")
        try FileManager.default.createDirectory(atPath: "\(root)/r", withIntermediateDirectories: true)
        await log.write(entry(3))
        #expect(try numbers("\(root)/r") == [3])
        await log.close()
    }

    /// Who is refused again and again must not push out what others have done.
    @Test func refusalsOfOneUserAreBounded() async throws {
        let root = try folder()
        defer { try? FileManager.default.removeItem(atPath: root) }  // As above.
        let log = AuditLog(root: root, log: { _ in })
        await log.write(entry(0))
        for number in 1...5000 { await log.write(failure: ["time": .double(Double(number) / 1000)], of: "own:1000") }
        await log.write(failure: ["time": 1], of: "own:1001")
        await log.write(failure: ["time": 70], of: "own:1000")
        var reader = try AuditReader(root: root)
        let entries = try reader.next()
        #expect(entries.count == 1 + AuditLog.failuresPerMinute + 2)
        #expect(entries.last?["left_out"]?.intValue == 5000 - Int64(AuditLog.failuresPerMinute), "\(entries.last ?? .null)")
        await log.close()
    }

    /// Who does much, and is let, must not push out what others have done either.
    @Test func whatGuestsDoPushesNobodyElsesLinesOut() async throws {
        let root = try folder()
        defer { try? FileManager.default.removeItem(atPath: root) }  // As above.
        let log = AuditLog(root: root, limit: 4096, files: 3, log: { _ in })
        let guests = AuditLog(root: root, name: AuditLog.guestsName, limit: 4096, files: 3, log: { _ in })
        await log.write(entry(1))
        await log.write(entry(900))
        for number in 2..<1000 where number != 900 { await guests.write(entry(number)) }
        await log.write(entry(1000))
        var trail = try AuditTrail(root: root)
        var found: [Int64] = []
        while true {
            let entries = try trail.next()
            if entries.isEmpty { break }
            found += entries.compactMap { $0["time"]?.intValue }
        }
        #expect(found.first == 1 && found.last == 1000 && found.contains(900) && found == found.sorted())
        #expect(found.count > 100 && found.count < 1000)
        // What comes later is read on.
        await guests.write(entry(1002))
        await log.write(entry(1001))
        #expect(try trail.next().compactMap { $0["time"]?.intValue } == [1001, 1002])
        await log.close()
        await guests.close()
    }

    @Test func noArgumentIsInAnEntry() {
        let request = APIRequest(
            id: "r", function: "container.run",
            arguments: ["spec": ["name": "web", "image": "x", "env": ["PASSWORD": "swordfish"], "args": ["--token=swordfish"]]],
            actor: Actor(uid: 7, gid: 8, pid: 9, script: "a.lua", line: 3, socket: "own"), cause: ["hook:x"])
        let error = LunetteError(.invalidArgument, "\"swordfish\" is no variable", path: "spec.env", details: ["value": "swordfish"])
        for result: Result<Value, LunetteError> in [.success(["$handle": "container", "id": "1", "name": "web"]), .failure(error)] {
            let text = JSON.encode(AuditEntry.value(request, began: 5, seconds: 0.25, result: result))
            #expect(!text.contains("swordfish") && text.contains("\"target\":\"web\"") && text.contains("\"socket\":\"own\""), "\(text)")
        }
        let names = ["container.run", "container.exec", "image.save", "container.attach", "hook.register"]
        for name in names {
            #expect(AuditEntry.isKept(APIRequest(id: "r", function: name, arguments: [:], actor: request.actor)), "\(name)")
        }
        for name in ["container.list", "container.inspect", "container.logs", "system.info", "events.follow", "image.find"] {
            #expect(!AuditEntry.isKept(APIRequest(id: "r", function: name, arguments: [:], actor: request.actor)), "\(name)")
        }
    }

    /// What one line costs a call: it is on the way of every start.
    @Test func aLineCostsLittle() async throws {
        let root = try folder()
        defer { try? FileManager.default.removeItem(atPath: root) }  // As above.
        let log = AuditLog(root: root, log: { _ in })
        let request = APIRequest(
            id: RequestID.fresh(), function: "container.run", arguments: ["spec": ["name": "web"]],
            actor: Actor(uid: 0, gid: 0, pid: 9, script: "lunette run"))
        let begun = ContinuousClock.now
        for _ in 0..<1000 { await log.write(AuditEntry.value(request, began: 5, seconds: 0.25, result: .success(.null))) }
        let each = (ContinuousClock.now - begun) / 1000
        print("an entry of the audit log: \(each)")
        #expect(each < .milliseconds(1))
        await log.close()
    }
}

private final class Told: @unchecked Sendable {
    // SAFETY: under the lock.
    private let lock = NSLock()
    private var all: [String] = []
    var lines: [String] { lock.withLock { all } }
    func add(_ line: String) { lock.withLock { all.append(line) } }

    @Test func aLineHasABound() throws {
        var request = APIRequest(id: "r", function: "container.run", arguments: [:], actor: Actor(uid: 1000, gid: 1000, pid: 1))
        request.cause = (0..<100_000).map { "hook:\($0)" }
        let entry = AuditEntry.value(request, began: 1, seconds: 0, result: .failure(LunetteError(.notFound, "no")))
        #expect(entry["cause"]?.arrayValue?.count == 12 && entry["cause"]?.arrayValue?.last == "hook:99999")
        #expect(JSON.encode(entry).utf8.count < 4096)
    }
}
