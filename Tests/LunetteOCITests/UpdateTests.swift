import Foundation
import Glibc
import LunetteSpec
import Testing

@testable import LunetteOCI

/// Limits as `update` takes them.
@Suite struct UpdateTests {
    private func read(_ words: String...) throws -> RuntimeSpec.Resources {
        try ResourceChange.read(try Options(words[...], Command.update.options, order: .anywhere))
    }

    @Test func optionsBecomeTheConfigsResources() throws {
        let read = try read(
            "--memory", "1048576", "--memory-swap", "-1", "--cpu-quota=-1", "--cpu-share", "512", "--cpuset-cpus", "0-1", "--pids-limit",
            "7")
        #expect(read.memory.limit == 1_048_576 && read.memory.swap == -1 && read.cpu.quota == -1 && read.cpu.shares == 512)
        #expect(read.cpu.cpus == "0-1" && read.pidsLimit == 7)
        #expect(read.memory.reservation == nil && read.cpu.period == nil)
    }

    @Test(
        arguments: [
            ("64m", 64 << 20), ("1g", 1 << 30), ("1.5G", 3 << 29), ("2 GiB", 2 << 30), ("3kb", 3072), ("5b", 5), ("7", 7), ("-1", -1),
            ("9223372036854775807", .max),
        ] as [(String, Int64)])
    func sizesHaveTheUnitsOfRunc(_ text: String, _ bytes: Int64) throws {
        let memory = try read("--memory", text, "--memory-swap", text, "--memory-reservation", text, "--kernel-memory", text).memory
        #expect(memory.limit == bytes && memory.swap == bytes && memory.reservation == bytes)
    }

    @Test func unknownFieldsOfAFileAreNamed() throws {
        let path = "/tmp/lunette-update-\(getpid()).json"
        try Data("{\"memroy\": 1, \"memory\": {\"limit\": 1048576, \"swop\": 2}}".utf8).write(to: URL(fileURLWithPath: path))
        defer { unlink(path) }
        var warnings: [String] = []
        let read = try ResourceChange.read(try Options(["-r", path], Command.update.options, order: .anywhere)) { warnings.append($0) }
        #expect(read.memory.limit == 1_048_576)
        #expect(
            warnings.sorted() == [
                "resources.memory.swop: not known and ignored (did you mean \"swap\"?)",
                "resources.memroy: not known and ignored (did you mean \"memory\"?)",
            ])
    }

    /// runc: cannot unmarshal array into Go value.
    @Test func aFileThatIsNoObjectIsRefused() throws {
        let path = "/tmp/lunette-update-array-\(getpid()).json"
        defer { unlink(path) }
        for (text, words) in [
            ("[]", "resources: expected an object, got an array"), ("{\"cpu\": []}", "resources.cpu: expected an object, got an array"),
        ] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            let said = #expect(throws: LunetteError.self) { try read("-r", path) }
            #expect(said?.description == words)
        }
    }

    @Test func errorsNameWhatWasTyped() throws {
        let error = LunetteError(.invalidArgument, "no", path: "linux.resources.memory.limit")
        let typed = try Options(["--memory", "1"], Command.update.options, order: .anywhere)
        #expect(ResourceChange.naming(error, typed).path == "--memory")
        for (option, value, words) in [("--cpuset-cpus", "x", "\"x\" is not a list"), ("--blkio-weight", "5", "5 is not within")] {
            let said = #expect(throws: LunetteError.self) { try read(option, value) }
            #expect(said?.path == option && said?.message.hasPrefix(words) == true)
        }
        let file = try Options(["-r", "-"], Command.update.options, order: .anywhere)
        #expect(ResourceChange.naming(error, file).path == "resources.memory.limit")
    }

    @Test func whatIsNoLimitIsRefused() {
        for size in ["1x", "g", "1 g ", "1..5g", ".5g", "1.g", "-2", "1e3", "9223372036854775808", "9007199254740993k", "٣m"] {
            let said = #expect(throws: LunetteError.self) { try read("--memory", size) }
            #expect(said?.message == "--memory: \"\(size)\" is no size")
        }
        #expect(throws: LunetteError.self) { try read("--pids-limit", "1k") }
        #expect(throws: LunetteError.self) { try read("--kernel-memory", "much") }
        #expect(throws: LunetteError.self) { try read("--memory", "") }
        let said = #expect(throws: LunetteError.self) { try read("--l3-cache-schema", "x") }
        #expect(said?.message.contains("unsupported") == true)
        #expect(throws: LunetteError.self) { try read("--resources", "/nonexistent/file") }
    }
}
