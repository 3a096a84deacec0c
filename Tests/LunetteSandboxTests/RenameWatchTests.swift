import Foundation
import Glibc
import LunetteLinux
import LunetteTesting
import Testing

@testable import LunetteSandbox

@Suite struct RenameWatchTests {
    private func hears(_ watched: [String], _ change: (String) async throws -> Void) async throws -> Bool {
        let folder = "/tmp/lunette-test-\(UUID().uuidString)"
        let files = FileManager.default
        try files.createDirectory(atPath: "\(folder)/way/on", withIntermediateDirectories: true)
        defer { try? files.removeItem(atPath: folder) }  // best effort: a folder of the test's own
        for name in ["file", "other", "way/on/file"] { _ = files.createFile(atPath: "\(folder)/\(name)", contents: Data("x".utf8)) }
        let watch = try #require(RenameWatch(watched.map { "\(folder)/\($0)" }))
        func isReadable() -> Bool {
            var polled = pollfd(fd: watch.descriptor.number, events: Int16(POLLIN), revents: 0)
            return poll(&polled, 1, 0) == 1
        }
        #expect(!isReadable())
        try await change(folder)
        let heard = isReadable()
        watch.drain()
        #expect(!isReadable())
        return heard
    }

    private func move(_ from: String, _ to: String) -> (String) throws -> Void {
        { folder in try #require(rename("\(folder)/\(from)", "\(folder)/\(to)") == 0) }
    }

    @Test func renamesAreHeardAtOnce() async throws {
        #expect(try await hears(["file"], move("file", "kept")))
        #expect(try await hears(["file"]) { try await exchangeNames("\($0)/file", "\($0)/other") })
        #expect(try await hears(["file"]) { try await exchangeNames("\($0)/other", "\($0)/file") })
        #expect(try await hears(["way/on/file", "way"], move("way", "gone")))
        #expect(try await hears(["file"]) { try #require(unlink("\($0)/file") == 0) })
        // Where it can't be watched, the folder around it is.
        #expect(try await hears(["absent"], move("other", "absent")))
    }

    @Test func otherChangesAreNot() async throws {
        #expect(try await !hears(["file", "way/on/file"], move("other", "kept")))
        #expect(try await !hears(["file"]) { try Data("more".utf8).write(to: URL(fileURLWithPath: "\($0)/file")) })
        #expect(try await !hears(["file"]) { try #require(chmod("\($0)/file", 0o600) == 0) })
    }
}
