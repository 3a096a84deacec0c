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

    @Test func whatIsNoLimitIsRefused() {
        #expect(throws: LunetteError.self) { try read("--memory", "1g") }
        #expect(throws: LunetteError.self) { try read("--memory", "") }
        let said = #expect(throws: LunetteError.self) { try read("--l3-cache-schema", "x") }
        #expect(said?.message.contains("unsupported") == true)
        #expect(throws: LunetteError.self) { try read("--resources", "/nonexistent/file") }
    }
}
