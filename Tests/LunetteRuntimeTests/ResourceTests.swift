import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteRuntime

@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/bin/busybox"))) struct ResourceTests {
    @Test func tooMuchMemoryEndsWithReasonOOM() async throws {
        try await RuntimeFixture.with { fixture in
            let (_, exit) = try await fixture.run("exec dd if=/dev/zero of=/dev/null bs=200M count=1") {
                $0.resources.memory = 32 << 20
                $0.resources.memorySwap = 32 << 20
            }
            #expect(exit.oomKilled)
            #expect(exit.reason == .oom)
            #expect(exit.code == 137)
        }
    }

    @Test func theProcessLimitStopsAForkBomb() async throws {
        try await RuntimeFixture.with { fixture in
            let (output, _) = try await fixture.run("for i in $(seq 40); do sleep 1 & done; echo tried; wait") { $0.resources.pids = 10 }
            #expect(output.contains("can't fork"))
        }
    }

    @Test func limitsAreSeenFromInside() async throws {
        try await RuntimeFixture.with { fixture in
            let (output, _) = try await fixture.run("cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max") {
                $0.resources.memory = 64 << 20
            }
            #expect(output.hasPrefix("67108864"))
        }
    }

    @Test func pausingStopsTheProgramAndResumingLetsItGoOn() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(
                fixture.request("c1", ["sh", "-c", "while true; do echo tick; usleep 2000; done"]))
            try await container.start()
            try await eventually("it ticks") { try await fixture.log().contains("tick") }
            try await container.pause()
            #expect(await container.isPaused)
            // What was on its way is written within this; then nothing more comes.
            try await Task.sleep(for: .milliseconds(50))
            let before = try await fixture.log().count
            try await Task.sleep(for: .milliseconds(50))
            #expect(try await fixture.log().count == before)
            try await container.resume()
            #expect(await !container.isPaused)
            try await eventually("it ticks again") { try await fixture.log().count > before }
            try await container.pause()
            try await container.kill(signal: SIGKILL)
            #expect(try await container.exit().signal == "SIGKILL")
        }
    }

    @Test func statisticsAndProcessesAreReadFromOutside() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(
                fixture.request("c1", ["sh", "-c", "sleep 1000 & exec sleep 2000"]) { $0.resources.memory = 64 << 20 })
            try await container.start()
            try await eventually("both sleep") {
                try await container.processes().arrayValue?.filter { $0["command"]?.stringValue?.hasPrefix("sleep") == true }.count == 2
            }
            let processes = try #require(try await container.processes().arrayValue)
            #expect(processes.count == 3)
            #expect(processes.contains { $0["is_init"]?.boolValue == true && $0["container_pid"]?.intValue == 1 })
            let figures = try await container.stats()
            #expect(figures["pids"]?["current"]?.intValue == 3)
            #expect(figures["memory"]?["limit"]?.intValue == 64 << 20)
            #expect(figures["memory"]?["used"]?.intValue ?? 0 > 0)
            #expect(figures["cpu"]?["used"]?.doubleValue ?? 0 > 0)
            let notEnforced = try await container.update(
                from: ResourceSpec(memory: 64 << 20), to: ResourceSpec(memory: 128 << 20, memorySwap: 256 << 20))
            #expect(notEnforced == [])
            #expect(try await container.stats()["memory"]?["limit"]?.intValue == 128 << 20)
        }
    }

    @Test(.requires(.cgroupV1)) func theKernelsCgroupsDoNotPileUp() async throws {
        try await RuntimeFixture.with { fixture in
            let before = try dyingMemoryCgroups()
            for _ in 0..<30 { _ = try await fixture.run("cat /bin/busybox > /copied") }
            // Other tests' containers come and go beside; a leak of ours would be 30 for good.
            try await eventually("dead memory cgroups go") { try dyingMemoryCgroups() < before + 20 }
        }
    }
}

/// Memory cgroups that the kernel still keeps though their directory is gone: what `memory.force_empty` before the rmdir avoids.
func dyingMemoryCgroups() throws -> Int {
    let line = readSmallFile("/proc/cgroups")?.split(separator: "\n").first { $0.hasPrefix("memory\t") }
    let known = try #require(line.flatMap { Int($0.split(separator: "\t")[2]) })
    func directories(_ path: String) -> Int {
        guard let directory = try? Directory(path), let names = try? directory.entries() else { return 0 }
        return 1 + names.filter { (try? directory.status($0))??.kind == .directory }.map { directories("\(path)/\($0)") }.reduce(0, +)
    }
    return known - directories("/sys/fs/cgroup/memory")
}
