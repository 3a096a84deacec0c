import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// Cgroup v2 under a container of `lunette-oci`, asked from the kernel: run by scripts/dev/test-in-vm.
@Suite(.runtimeUnderTest, .requires(.cgroupV2)) struct RuntimeCgroupV2Tests {
    private func file(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self).trimmingCharacters(in: .newlines)
    }

    private func folder(_ bundle: OCIBundle) async throws -> String {
        let line = file("/proc/\(try await bundle.pid())/cgroup")
        #expect(line.hasPrefix("0::/"))
        return "/sys/fs/cgroup\(line.dropFirst(3))"
    }

    private func pausing(_ resources: Value = .null, _ body: (OCIBundle, String) async throws -> Void) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]], "linux": ["resources": resources]])
            try await bundle.create()
            try await bundle.start()
            try await body(bundle, try await folder(bundle))
        }
    }

    @Test func limitsAreInTheKernelsFiles() async throws {
        let resources: Value = [
            "memory": ["limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432], "pids": ["limit": 33],
            "cpu": ["shares": 512, "quota": 45000, "period": 90000, "burst": 11000, "cpus": "0", "mems": "0"],
            "blockIO": ["weight": 500], "unified": ["memory.high": "50331648", "memory.oom.group": "1"],
        ]
        try await pausing(resources) { bundle, folder in
            let files = [
                "memory.max": "67108864", "memory.low": "33554432", "pids.max": "33", "cpu.weight": "20", "cpu.max": "45000 90000",
                "cpu.max.burst": "11000", "cpuset.cpus": "0", "cpuset.mems": "0", "memory.high": "50331648", "memory.oom.group": "1",
            ]
            for (name, text) in files { #expect(file("\(folder)/\(name)") == text, "\(name)") }
            try await bundle.call("update", "--memory", "134217728", "--pids-limit", "-1", "--cpu-quota", "-1", bundle.id)
            #expect(file("\(folder)/memory.max") == "134217728")
            #expect(file("\(folder)/pids.max") == "max")
            #expect(file("\(folder)/cpu.max") == "max 90000")
        }
    }

    @Test func everyProcessIsInItAndIsEndedByIt() async throws {
        try await pausing { bundle, folder in
            try await bundle.call("exec", "--detach", bundle.id, "/bin/sleep", "471242")
            try await eventually("two processes") { file("\(folder)/cgroup.procs").split(separator: "\n").count == 2 }
            let listed = try JSON.decode(Array(try await bundle.call("ps", "--format", "json", bundle.id).stdout), source: "ps")
            #expect(listed.arrayValue?.count == 2)
            try await bundle.call("pause", bundle.id)
            #expect(file("\(folder)/cgroup.events").contains("frozen 1"))
            #expect(try await bundle.state()["status"] == "paused")
            // A kill reaches what is frozen.
            try await bundle.call("kill", "--all", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            #expect(file("\(folder)/cgroup.procs") == "")
            try await bundle.call("delete", bundle.id)
            #expect(!FileManager.default.fileExists(atPath: folder))
        }
    }

    /// What systemd, Docker and Kubernetes' nodes do as a pid 1: the kernel takes no process in the container's own cgroup then.
    @Test func anExecGoesWherePid1Went() async throws {
        try await withBundle { bundle in
            try FileManager.default.createSymbolicLink(atPath: "\(bundle.rootfs)/bin/mkdir", withDestinationPath: "busybox")
            bundle.namespace(["type": "cgroup"])
            bundle.mount(
                ["destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]],
                ["destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "rw"]])
            let line = """
                cd /sys/fs/cgroup && mkdir -p s/t other && echo 1 > s/t/cgroup.procs && echo +pids > cgroup.subtree_control && echo moved
                exec sleep 60
                """
            bundle.change(["process": ["args": ["/bin/sh", "-c", .string(line)]]])
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("moved")
            #expect(try await bundle.call("exec", bundle.id, "cat", "/proc/self/cgroup").text == "0::/s/t")
            #expect(try await bundle.call("exec", "--cgroup", "other", bundle.id, "cat", "/proc/self/cgroup").text == "0::/other")
            // One that was named is no suggestion.
            let refused = try await bundle.call("exec", "--cgroup", "/", bundle.id, "cat", "/proc/self/cgroup", expecting: 1)
            #expect(refused.errorText.contains("--cgroup"), "\(refused.errorText)")
        }
    }

    @Test func itSeesItsOwnCgroupAlone() async throws {
        try await withBundle { bundle in
            bundle.namespace(["type": "cgroup"])
            bundle.mount(
                [
                    "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"],
                ], ["destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]])
            bundle.change([
                "process": ["args": ["/bin/sh", "-c", "cat /proc/self/cgroup /sys/fs/cgroup/pids.max; echo 5 >/sys/fs/cgroup/pids.max"]],
                "linux": ["resources": ["pids": ["limit": 44]]],
            ])
            let finished = try await bundle.run(expecting: nil)
            #expect(finished.text == "0::/\n44" && finished.code != 0, "\(finished.text) \(finished.errorText)")
        }
    }

    @Test(arguments: [false, true])
    func deviceRulesAreInForce(allows: Bool) async throws {
        try await withBundle { bundle in
            let rules: Value = [
                ["allow": false, "access": "rwm"], ["allow": .bool(allows), "type": "c", "major": 10, "minor": 229, "access": "rw"],
            ]
            bundle.change([
                "process": ["args": ["/bin/sh", "-c", "echo x >/dev/null && echo fine; exec 3</dev/fuse"]],
                "linux": ["resources": ["devices": rules], "devices": [["path": "/dev/fuse", "type": "c", "major": 10, "minor": 229]]],
            ])
            let finished = try await bundle.run(expecting: nil)
            #expect(finished.text == "fine")
            // A kernel without the driver has other words for it.
            #expect(finished.errorText.contains("not permitted") != allows, "\(finished.errorText)")
        }
    }

    @Test func wantOfMemoryIsCounted() async throws {
        try await withBundle { bundle in
            bundle.change([
                "process": ["args": ["/bin/sh", "-c", "sleep 0.2; (x=0123456789abcdef; while :; do x=$x$x; done); echo $?; sleep 471243"]],
                "linux": ["resources": ["memory": ["limit": 16_777_216, "swap": 16_777_216]]],
            ])
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("137")
            #expect(file("\(try await folder(bundle))/memory.events").contains("oom_kill 1"))
            let stats = try JSON.decode(Array(try await bundle.call("events", "--stats", bundle.id).stdout), source: "events")
            #expect(stats["data"]?["memory"]?["usage"]?["limit"] == 16_777_216, "\(stats)")
            #expect((stats["data"]?["pids"]?["current"]?.intValue ?? 0) >= 1)
        }
    }

    /// Nothing but an empty cgroup is taken: whoever is in it would be limited, and killed, with the container.
    @Test func anOccupiedCgroupIsRefused() async throws {
        try await pausing { bundle, folder in
            try await withBundle { other in
                other.change(["linux": ["cgroupsPath": .string(String(folder.dropFirst("/sys/fs/cgroup".count)))]])
                try await other.refusal(mentioning: "cgroupsPath")
            }
            #expect(try await bundle.state()["status"] == "running")
        }
    }
}
