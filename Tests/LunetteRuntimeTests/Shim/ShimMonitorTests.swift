import CLinux
import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@Suite("The shim looks after a running program", .serialized, .requires(.root, .overlay, .userNamespaces, .file("/bin/busybox")))
struct ShimMonitorTests {
    private func isAlive(_ pid: Int32) -> Bool { kill(pid, 0) == 0 }

    /// Polls for something another process does; ten seconds at most.
    private func eventually(_ what: () -> Bool) -> Bool {
        for _ in 0..<1000 {
            if what() { return true }
            usleep(10_000)
        }
        return false
    }

    @Test func theGateStaysClosedUntilStartAndSurvivesTheEngine() throws {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["sh", "-c", "echo started"]))
        let created = try harness.created()
        #expect(created.state == LNT_IS_CREATED.rawValue)
        #expect(created.host_uid == Int32(ShimHarness.idBase))
        harness.hangUp()
        usleep(50_000)
        #expect(isAlive(created.program_pid))
        #expect(harness.log().isEmpty)
        harness.useConnection(try harness.connect())
        let state = try harness.decode(try harness.next(LNT_MSG_STATE), as: lnt_state.self)
        #expect(state.state == LNT_IS_CREATED.rawValue)
        try harness.start()
        #expect(try harness.exited().code == 0)
        #expect(harness.log().count == 1)
        #expect(harness.log()[0].hasSuffix(" stdout F:1 started"))
    }

    @Test func theExitRecordOutlivesEverybody() throws {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["sh", "-c", "sleep 0.1; exit 9"]))
        try harness.start()
        _ = try harness.next(LNT_MSG_STARTED)
        harness.hangUp()
        #expect(harness.shim?.waitForExit(milliseconds: 5000) == true, "the shim leaves when nobody is connected")
        let record =
            try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: "\(harness.state)/exit"))) as? [String: Any]
        #expect(record?["code"] as? Int == 9)
        #expect(record?["status"] as? Int == 9 << 8)
        #expect(record?["signal"] as? Int == 0)
        let boot = try String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        #expect(record?["boot_id"] as? String == String(boot.dropLast()))
    }

    @Test func aConnectedShimStaysUntilReleased() throws {
        let harness = try ShimHarness()
        _ = try harness.run("true")
        usleep(100_000)
        #expect(harness.shim?.waitForExit(milliseconds: 0) == false)
        try harness.send(harness.header(LNT_MSG_RELEASE))
        #expect(harness.shim?.waitForExit(milliseconds: 5000) == true)
    }

    @Test func abortTakesAnUnstartedContainerDown() throws {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["sleep", "100"]))
        let created = try harness.created()
        try harness.send(harness.header(LNT_MSG_ABORT))
        #expect(harness.shim?.waitForExit(milliseconds: 5000) == true)
        #expect(!isAlive(created.init_pid))
    }

    @Test func signalsReachTheProgramAndKillEndsEverything() throws {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["sh", "-c", "trap 'echo got' USR1; (sleep 1000 &); echo ready; while true; do sleep 0.05; done"]))
        try harness.start()
        let running = try harness.decode(try harness.next(LNT_MSG_STARTED), as: lnt_state.self)
        #expect(eventually { harness.log().count == 1 })
        try harness.signal(SIGUSR1)
        #expect(eventually { harness.log().count == 2 })
        try harness.signal(SIGKILL)
        let exit = try harness.exited()
        #expect(exit.signal == 9 && exit.code == 137)
        try harness.send(harness.header(LNT_MSG_RELEASE))
        #expect(harness.shim?.waitForExit(milliseconds: 5000) == true)
        #expect(!isAlive(running.init_pid))
    }

    @Test func initForwardsSignals() throws {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["sh", "-c", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done"]))
        try harness.start()
        let running = try harness.decode(try harness.next(LNT_MSG_STARTED), as: lnt_state.self)
        #expect(eventually { harness.log().count == 1 })
        kill(running.init_pid, SIGTERM)
        #expect(try harness.exited().code == 5)
    }

    @Test func stdinIsRelayedToItsEnd() throws {
        let harness = try ShimHarness()
        let (input, out) = (try ShimHarness.pipe(), try ShimHarness.pipe())
        try harness.spawn(harness.plan(["wc", "-c"], process: { $0.stdin = true }))
        try harness.start(LNT_HAS_STDIN, LNT_HAS_STDOUT, fds: [input.read, out.write])
        close(input.read)
        close(out.write)
        let megabyte = [UInt8](repeating: 0x61, count: 1 << 20)
        #expect(lnt_write_all(input.write, megabyte, megabyte.count) == 0)
        close(input.write)
        #expect(ShimHarness.readAll(out.read) == "1048576\n")
        #expect(try harness.exited().code == 0)
    }

    @Test func withoutStdinTheProgramReadsTheEndAtOnce() throws {
        #expect(try ShimHarness().run("cat; echo over").stdout == "over\n")
    }

    @Test func backPressureLosesNothingAndTheLogHasEveryLine() throws {
        let harness = try ShimHarness()
        let outcome = try harness.run("seq 1 200000")
        #expect(outcome.stdout.utf8.count == 1_288_895)
        let lines = harness.log()
        #expect(lines.count == 200_000)
        #expect(lines.last?.hasSuffix(" stdout F:200000 200000") == true)
    }

    @Test func aReaderThatStopsHoldsOnlyItsOwnSinkUp() throws {
        let harness = try ShimHarness()
        let out = try ShimHarness.pipe()
        try harness.spawn(harness.plan(["sh", "-c", "seq 1 400000"]))
        // Attached without a right to wait, never read: dropped after its megabyte.
        try harness.start(LNT_HAS_STDOUT, fds: [out.write])
        close(out.write)
        _ = try harness.next(LNT_MSG_SINK_DROPPED)
        #expect(try harness.exited().code == 0)
        #expect(harness.log("log.1").count + harness.log().count == 400_000, "rotated once on the way")
        #expect(ShimHarness.readAll(out.read).utf8.count >= 1 << 20)
    }

    @Test func aSinkThatVanishesHoldsNothingUp() throws {
        let harness = try ShimHarness()
        let out = try ShimHarness.pipe()
        try harness.spawn(harness.plan(["sh", "-c", "seq 1 100000"]))
        close(out.read)
        try harness.start(LNT_HAS_STDOUT, LNT_BACK_PRESSURE, fds: [out.write])
        close(out.write)
        #expect(try harness.exited().code == 0)
        #expect(harness.log().count == 100_000)
    }

    /// How many descriptors the shim has open.
    private func openFiles(_ pid: Int32) -> Int { (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count) ?? -1 }

    @Test func aReaderThatLeavesASilentProgramTakesItsPipesAlong() throws {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["sleep", "1000"], process: { $0.stdin = true }))
        try harness.start()
        let shim = try harness.decode(try harness.next(LNT_MSG_STARTED), as: lnt_state.self).shim_pid
        let before = openFiles(shim)
        var clients: [Int32] = []
        for _ in 0..<10 {
            let (out, err) = (try ShimHarness.pipe(), try ShimHarness.pipe())
            try harness.attach(LNT_HAS_STDOUT, LNT_HAS_STDERR, fds: [out.write, err.write])
            for fd in [out.write, err.write] { close(fd) }
            clients += [out.read, err.read]
        }
        _ = try harness.next(LNT_MSG_DONE)
        #expect(eventually { openFiles(shim) == before + 20 })
        for fd in clients { close(fd) }
        #expect(eventually { openFiles(shim) == before }, "\(openFiles(shim)) instead of \(before)")
        try harness.signal(SIGKILL)
        _ = try harness.exited()
    }

    @Test func aDetachLetsGoWhatOneAttachBrought() throws {
        let harness = try ShimHarness()
        let (one, other, input) = (try ShimHarness.pipe(), try ShimHarness.pipe(), try ShimHarness.pipe())
        try harness.spawn(harness.plan(["sh", "-c", "read line; echo $line"], process: { $0.stdin = true }))
        try harness.start()
        _ = try harness.next(LNT_MSG_STARTED)
        try harness.attach(LNT_HAS_STDIN, LNT_HAS_STDOUT, LNT_STDIN_KEEPS_OPEN, key: 1, fds: [input.read, one.write])
        try harness.attach(LNT_HAS_STDOUT, key: 2, fds: [other.write])
        for fd in [one.write, other.write, input.read] { close(fd) }
        try harness.detach(key: 1)
        #expect(ShimHarness.readAll(one.read) == "", "its end comes though the program runs")
        close(input.write)
        let late = try ShimHarness.pipe()
        try harness.attach(LNT_HAS_STDIN, key: 3, fds: [late.read])
        close(late.read)
        #expect(lnt_write_all(late.write, Array("word\n".utf8), 5) == 0)
        #expect(ShimHarness.readAll(other.read) == "word\n")
        #expect(try harness.exited().code == 0)
        close(late.write)
    }

    @Test func logsKeepBytesExactly() throws {
        let harness = try ShimHarness()
        let long = String(repeating: "x", count: 8192 * 2 + 5)
        _ = try harness.run(
            harness.plan(["sh", "-c", "echo \"$LONG\"; printf 'a\\r\\n\\nlast'"], process: { $0.environment += ["LONG=\(long)"] }))
        let entries = harness.log().map { line in
            line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        }
        #expect(entries.map { $0[2] } == ["P:1", "P:2", "F:3", "F:4", "F:5", "P:6"])
        #expect(entries[0][3] + entries[1][3] + entries[2][3] == long)
        #expect(entries[3...].map { $0[3] } == ["a\r", "", "last"])
        #expect(entries.allSatisfy { $0[0].count == 30 && $0[0].hasSuffix("Z") })
    }

    @Test func logsRotateBetweenEntriesAndSequencesGoOn() throws {
        let harness = try ShimHarness()
        let monitor = MonitorPlan(logMaximumSize: 50_000, logMaximumFiles: 3)
        _ = try harness.run(harness.plan(["seq", "1", "5000"], monitor: monitor))
        let files = try FileManager.default.contentsOfDirectory(atPath: harness.container).sorted()
        #expect(files == ["log", "log.1", "log.2"])
        var next: Int? = nil
        for name in ["log.2", "log.1", "log"] {
            let size = try FileManager.default.attributesOfItem(atPath: "\(harness.container)/\(name)")[.size] as? Int
            #expect(size! <= 50_000)
            for line in harness.log(name) {
                let parts = line.split(separator: " ")
                let sequence = Int(parts[2].dropFirst(2))!
                #expect(Int(parts[3]) == sequence)
                if let next { #expect(sequence == next) }
                next = sequence + 1
            }
        }
        #expect(next == 5001)
    }

    @Test func aSecondLifeGoesOnWithTheLog() throws {
        let harness = try ShimHarness()
        _ = try harness.run("echo one")
        try harness.send(harness.header(LNT_MSG_RELEASE))
        _ = harness.shim?.waitForExit(milliseconds: 5000)
        unlink("\(harness.state)/shim.sock")
        _ = try harness.run("echo two")
        #expect(harness.log().map { $0.split(separator: " ")[2] } == ["F:1", "F:2"])
    }

    @Test func aTerminalIsTheContainersOwn() throws {
        let harness = try ShimHarness()
        let (input, out) = (try ShimHarness.pipe(), try ShimHarness.pipe())
        let plan = harness.plan(
            ["sh", "-c", "tty; stty size; test -c /dev/console && echo console; read line; echo \"<$line>\"; exit 4"], user: "bob",
            terminal: true,
            process: {
                $0.stdin = true
                $0.terminalRows = 33
                $0.terminalColumns = 99
            })
        try harness.spawn(plan)
        try harness.start(LNT_HAS_STDIN, LNT_HAS_STDOUT, LNT_BACK_PRESSURE, fds: [input.read, out.write])
        close(out.write)
        close(input.read)
        _ = lnt_write_all(input.write, "hello\n", 6)
        // The terminal's own echo comes between the lines wherever the machine has it.
        let text = ShimHarness.readAll(out.read).replacingOccurrences(of: "\r", with: "").replacingOccurrences(of: "hello\n", with: "")
        #expect(text.contains("/dev/pts/0\n33 99\nconsole\n") || text.contains("/dev/console\n33 99\nconsole\n"), "\(text)")
        #expect(text.contains("<hello>"))
        #expect(try harness.exited().code == 4)
        close(input.write)
    }

    @Test func aTerminalIsResized() throws {
        let harness = try ShimHarness()
        let plan = harness.plan(
            ["sh", "-c", "trap 'stty size' WINCH; echo ready; while true; do sleep 0.05; done"], terminal: true,
            process: { $0.stdin = true })
        try harness.spawn(plan)
        try harness.start()
        #expect(eventually { harness.log().count == 1 })
        var size = lnt_resize()
        size.message = harness.header(LNT_MSG_RESIZE)
        (size.rows, size.columns) = (50, 120)
        try harness.send(size)
        #expect(eventually { harness.log().contains { $0.contains("50 120") } })
        try harness.signal(SIGKILL)
        _ = try harness.exited()
    }

    @Test func killingTheShimAtTheGateLeavesNothing() async throws {
        undefended("a child outlives its killed parent", try await NaiveRuntime.childOutlivesItsParent())
        for initProcess in [true, false] {
            let harness = try ShimHarness()
            try harness.spawn(harness.plan(["sleep", "1000"], monitor: MonitorPlan(initProcess: initProcess)))
            let created = try harness.created()
            kill(created.shim_pid, SIGKILL)
            #expect(try harness.next(LNT_MSG_EXITED) == nil, "the engine sees the end of the socket")
            #expect(eventually { !isAlive(created.init_pid) && !isAlive(created.program_pid) }, "init \(initProcess)")
        }
    }

    /// Attack 89: whatever a shim was doing when it was killed, no stage of it waits for ever.
    @Test func killingTheShimAnywhereInItsLaunchLeavesNothing() async throws {
        undefended("a child outlives its killed parent", try await NaiveRuntime.childOutlivesItsParent())
        for round in 0..<60 {
            let harness = try ShimHarness()
            harness.name = "killed-\(UInt64.random(in: 0...UInt64.max))"
            // One tree with a mapping of its own, so that the namespace made for it is in the way of the knife as well.
            let mapping = [IDMapping(containerID: 0, hostID: ShimHarness.idBase, size: 1)]
            let plan = harness.plan(["sleep", "1000"], monitor: MonitorPlan(initProcess: round % 2 == 0)) { steps in
                steps.insert(
                    .openTree(
                        TreePlan(
                            slot: 20, source: .path(harness.container), mapping: .custom(uid: mapping, gid: mapping),
                            expectation: .directory)),
                    at: 2)
            }
            try harness.spawn(plan)
            let shim = try #require(harness.shim)
            usleep(UInt32.random(in: 0...8000))
            try shim.signal(SIGKILL)
            #expect(eventually { processes(naming: harness.name).isEmpty }, "round \(round): \(processes(naming: harness.name))")
        }
    }

    /// The processes that live with this name on their command line, by state.
    private func processes(naming name: String) -> [String] {
        let pids = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
        return pids.compactMap { pid in
            // Read after it ended, it has none: neither is a process any more.
            guard let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"),
                String(decoding: line, as: UTF8.self).contains(name)
            else { return nil }
            return ProcessStat.read(pid: pid).map { "\(pid) \($0.command) \($0.state)" }
        }
    }

    @Test(arguments: ["0", "bob"])
    func killingTheShimEndsTheContainer(_ user: String) throws {
        let policy = try ShimHarness()
        let answering = ["sh", "-c", "trap 'touch /tmp/survived' USR1; echo up; while :; do sleep 0.02; done"]
        try policy.spawn(policy.plan(answering, user: user, monitor: MonitorPlan(shimDeath: .goOn)))
        try policy.start()
        let other = try policy.decode(try policy.next(LNT_MSG_STARTED), as: lnt_state.self)
        #expect(eventually { policy.log().contains { $0.contains("up") } })
        kill(other.shim_pid, SIGKILL)
        #expect(try policy.next(LNT_MSG_EXITED) == nil)
        // It answers: a number alone may be a process that has ended.
        kill(other.program_pid, SIGUSR1)
        undefended("by another policy it goes on", eventually { access("\(policy.store)/upper/tmp/survived", F_OK) == 0 })
        kill(other.init_pid, SIGKILL)
        for initProcess in [true, false] {
            let harness = try ShimHarness()
            try harness.spawn(harness.plan(["sleep", "1000"], user: user, monitor: MonitorPlan(initProcess: initProcess)))
            try harness.start()
            let running = try harness.decode(try harness.next(LNT_MSG_STARTED), as: lnt_state.self)
            kill(running.shim_pid, SIGKILL)
            #expect(eventually { !isAlive(running.init_pid) }, "init \(initProcess)")
            #expect(try harness.next(LNT_MSG_EXITED) == nil)
        }
    }

    @Test func byPolicyTheContainerOutlivesItsShim() throws {
        let harness = try ShimHarness()
        try harness.spawn(
            harness.plan(
                ["sh", "-c", "for i in $(seq 1 30); do echo line; sleep 0.02; done; touch /survived"],
                monitor: MonitorPlan(shimDeath: .goOn)))
        try harness.start()
        let running = try harness.decode(try harness.next(LNT_MSG_STARTED), as: lnt_state.self)
        kill(running.shim_pid, SIGKILL)
        #expect(eventually { access("\(harness.store)/upper/survived", F_OK) == 0 })
        #expect(eventually { !isAlive(running.init_pid) })
    }

    @Test(.requires(.cgroupV1)) func joinsCgroupsAndCountsOutOfMemoryKills() throws {
        let name = "lunette-shim-test-\(getpid())"
        let memory = "/sys/fs/cgroup/memory/\(name)"
        let pids = "/sys/fs/cgroup/pids/\(name)"
        for path in [memory, pids] { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        defer { for path in [memory, pids] { rmdir(path) } }
        try "16777216".write(toFile: "\(memory)/memory.limit_in_bytes", atomically: false, encoding: .utf8)
        let harness = try ShimHarness()
        let plan = harness.plan(
            ["sh", "-c", "grep -E 'pids|memory' /proc/self/cgroup; dd if=/dev/zero of=/dev/null bs=64M count=1"],
            monitor: MonitorPlan(oomEvents: "\(memory)/memory.oom_control"),
            steps: { $0.insert(.joinCgroups(v1: [memory, pids], v2: nil), at: 1) })
        let outcome = try harness.run(plan)
        #expect(
            outcome.stdout.split(separator: "\n").allSatisfy { $0.hasSuffix(":/") },
            "the cgroup namespace was made after the join: \(outcome.stdout)")
        #expect(outcome.exit.oom_kills >= 1)
        #expect(outcome.exit.code == 137)
        try harness.send(harness.header(LNT_MSG_RELEASE))
        _ = harness.shim?.waitForExit(milliseconds: 5000)
    }

    @Test func networkOfAnotherContainerIsJoinedWithItsUserNamespace() throws {
        let first = try ShimHarness()
        try first.spawn(first.plan(["sleep", "1000"]))
        try first.start()
        let running = try first.decode(try first.next(LNT_MSG_STARTED), as: lnt_state.self)
        let second = try ShimHarness()
        let plan = second.plan(
            ["sh", "-c", "readlink /proc/self/ns/net; readlink /proc/self/ns/user; ip link show lo | grep -c UP"],
            steps: { steps in
                steps[0] = .namespaces(
                    NamespacePlan(
                        create: [.ipc, .uts, .cgroup, .pid, .mount],
                        join: [
                            .init(kind: .network, source: .path("/proc/\(running.init_pid)/ns/net")),
                            .init(kind: .user, source: .path("/proc/\(running.init_pid)/ns/user")),
                        ]))
                steps.removeAll { $0 == .raiseLoopback }
            })
        let outcome = try second.run(plan)
        let net = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(running.init_pid)/ns/net")
        let user = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(running.init_pid)/ns/user")
        #expect(outcome.stdout == "\(net)\n\(user)\n1\n")
        try first.signal(SIGKILL)
        _ = try first.exited()
    }
}
