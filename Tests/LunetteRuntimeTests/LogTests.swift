import LunetteLinux
import LunetteSpec
import Synchronization
import Testing

@testable import LunetteRuntime

@Suite struct LogParserTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func piecesJoinExactlyEvenWhenStreamsInterleave() {
        var parser = LogParser()
        let entries = parser.feed(
            bytes(
                """
                2026-11-23T12:40:33.000000001Z stdout P:1 hel
                2026-11-23T12:40:33.000000002Z stderr F:2 oops
                2026-11-23T12:40:33.000000003Z stdout P:3 lo 
                2026-11-23T12:40:33.000000004Z stdout F:4  world
                2026-11-23T12:40:33.000000005Z stdout F:5 

                """))
        #expect(entries.map { String(decoding: $0.line, as: UTF8.self) } == ["oops", "hello  world", ""])
        #expect(entries.map(\.sequence) == [2, 4, 5])
        #expect(entries[1].timestamp == "2026-11-23T12:40:33.000000001Z")
        #expect(entries[1].bytes == bytes("hello  world\n"))
    }

    @Test func anyCutOfTheBytesGivesTheSameLines() {
        let text = bytes("2026-11-23T12:40:33.000000001Z stdout F:1 one\n2026-11-23T12:40:33.000000002Z stdout F:2 \u{1b}[31mtwo\n")
        for cut in 0...text.count {
            var parser = LogParser()
            let entries = parser.feed(Array(text[..<cut])) + parser.feed(Array(text[cut...]))
            #expect(entries.map(\.sequence) == [1, 2])
        }
    }

    @Test func tornAndForeignLinesAreSkipped() {
        var parser = LogParser()
        let entries = parser.feed(
            bytes(
                "2026-11-23T12:4\n\nno log line at all\n2026-11-23T12:40:33.000000002Z stdout F:x y\n2026-11-23T12:40:33.000000002Z stdout F:9 fine\n"
            ))
        #expect(entries.map(\.sequence) == [9])
        #expect(parser.skipped == 4)
    }

    @Test func outputWithoutANewlineIsGivenWithoutOne() {
        var parser = LogParser()
        #expect(parser.feed(bytes("2026-11-23T12:40:33.000000001Z stdout P:1 prompt> \n")).isEmpty)
        let rest = parser.flush()
        #expect(rest.map(\.bytes) == [bytes("prompt> ")])
        #expect(rest[0].isComplete == false)
    }

    @Test func anEndlessLineComesInParts() {
        var parser = LogParser()
        var entries: [LogEntry] = []
        let piece = String(repeating: "x", count: 8192)
        for number in 1...200 { entries += parser.feed(bytes("2026-11-23T12:40:33.000000001Z stdout P:\(number) \(piece)\n")) }
        #expect(entries.count == 1)
        #expect(entries[0].line.count == LogParser.longestLine)
    }

    @Test func timestampsReadAndWrite() {
        #expect(Timestamp.seconds("1970-01-01T00:00:00Z") == 0)
        #expect(Timestamp.seconds("2026-11-23T12:40:33.5Z") == 1_795_437_633.5)
        #expect(Timestamp.text(1_795_437_633.5) == "2026-11-23T12:40:33.500000000Z")
        #expect(Timestamp.text(951_782_400) == "2000-02-29T00:00:00.000000000Z")
        for text in [
            "yesterday", "2026-11-23T12:40:33", "2026-11-23T12:40:33.Z", "2026-13-23T12:40:33Z", "2026-11-23T12:40:33Zx",
            "2026-11-23T12:4a:33Z", "",
        ] {
            #expect(Timestamp.seconds(text) == nil, "\(text)")
        }
        #expect(Timestamp.seconds("2026-11-23T14:40:33.5+02:00") == 1_795_437_633.5)
        #expect(Timestamp.seconds("2026-11-23T12:40:33.\(String(repeating: "5", count: 400))Z") != nil)
        #expect(Timestamp.text(wholeSeconds: 951_782_400) == "2000-02-29T00:00:00Z")
    }
}

@Suite struct LogReaderTests {
    /// A directory of the test's own.
    private func withLogs(_ files: [String: [Int]], _ body: @Sendable (Directory) async throws -> Void) async throws {
        let temporary = try Directory("/tmp")
        let name = "lunette-log-\(UInt64.random(in: 0...UInt64.max))"
        let directory = try temporary.makeDirectory(name)
        do {
            for (file, numbers) in files { try directory.write(file, Array(numbers.map(line).joined().utf8)) }
            try await body(directory)
        } catch {
            try temporary.removeTree(name)
            throw error
        }
        try temporary.removeTree(name)
    }

    private func line(_ number: Int) -> String {
        "\(Timestamp.text(1_800_000_000 + Double(number))) \(number % 2 == 0 ? "stdout" : "stderr") F:\(number) line \(number)\n"
    }

    private func expect(_ directory: Directory, _ options: LogOptions, _ sequences: [UInt64]) async throws {
        let found = try await read(directory, options)
        #expect(found == sequences)
    }

    private func read(_ directory: Directory, _ options: LogOptions) async throws -> [UInt64] {
        let ended = OneShot<Void>()
        ended.fulfil(())
        let found = Mutex<[UInt64]>([])
        try await LogReader(directory, options, ended: ended).read { (entry) async throws(LunetteError) in
            found.withLock { $0.append(entry.sequence) }
        }
        return found.withLock { $0 }
    }

    @Test func rotatedFilesComeFirstInOrder() async throws {
        try await withLogs(["log": [9, 10], "log.1": [5, 6, 7, 8], "log.2": [3, 4]]) { directory in
            try await expect(directory, LogOptions(), Array(3...10))
        }
    }

    @Test func streamsSinceAndTailFilter() async throws {
        try await withLogs(["log": [5, 6, 7, 8], "log.1": [1, 2, 3, 4]]) { directory in
            var options = LogOptions()
            options.stderr = false
            try await expect(directory, options, [2, 4, 6, 8])
            options.tail = 2
            try await expect(directory, options, [6, 8])
            options.tail = 0
            try await expect(directory, options, [])
            options = LogOptions()
            options.since = 1_800_000_006
            try await expect(directory, options, [6, 7, 8])
        }
    }

    @Test func anEmptyOrAbsentLogIsNoError() async throws {
        try await withLogs([:]) { directory in try await expect(directory, LogOptions(), []) }
        try await withLogs(["log": []]) { directory in try await expect(directory, LogOptions(), []) }
    }

    @Test func followingCrossesRotationsAndEndsWithTheContainer() async throws {
        try await withLogs(["log": [1, 2]]) { directory in
            let ended = OneShot<Void>()
            var options = LogOptions()
            options.follow = true
            let (news, continuation) = AsyncStream<UInt64>.makeStream()
            let reader = LogReader(directory, options, ended: ended)
            let reading = Task {
                try await reader.read { (entry) async throws(LunetteError) in continuation.yield(entry.sequence) }
                continuation.finish()
            }
            var iterator = news.makeAsyncIterator()
            #expect(await iterator.next() == 1)
            #expect(await iterator.next() == 2)
            let file = try directory.open("log", [.writeOnly, .append])
            try file.writeAll(Array(line(3).utf8))
            #expect(await iterator.next() == 3)
            // A line in the old file that the reader may not have seen when it is renamed, then twice a new file.
            try file.writeAll(Array(line(4).utf8))
            try directory.rename("log", to: "log.1")
            let second = try directory.open("log", [.writeOnly, .create], mode: 0o600)
            try second.writeAll(Array(line(5).utf8))
            try directory.rename("log.1", to: "log.2")
            try directory.rename("log", to: "log.1")
            let third = try directory.open("log", [.writeOnly, .create], mode: 0o600)
            try third.writeAll(Array((line(6) + line(7)).utf8))
            for number in 4...7 { #expect(await iterator.next() == UInt64(number)) }
            try third.writeAll(Array(line(8).utf8))
            ended.fulfil(())
            #expect(await iterator.next() == 8)
            #expect(await iterator.next() == nil)
            try await reading.value
        }
    }

    @Test func followingIsCancelled() async throws {
        try await withLogs(["log": [1]]) { directory in
            var options = LogOptions()
            options.follow = true
            let reader = LogReader(directory, options, ended: OneShot())
            let (news, continuation) = AsyncStream<UInt64>.makeStream()
            let reading = Task { try await reader.read { (entry) async throws(LunetteError) in continuation.yield(entry.sequence) } }
            var iterator = news.makeAsyncIterator()
            _ = await iterator.next()
            reading.cancel()
            await #expect(throws: LunetteError.self) { try await reading.value }
        }
    }
}
