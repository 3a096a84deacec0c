import CLinux
import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@Suite("Programs join a running container", .serialized, .requires(.root, .overlay, .userNamespaces, .file("/bin/busybox")))
struct ShimExecTests {
    /// A container that does nothing, started.
    private func running(userNamespace: Bool = true, initProcess: Bool = true) throws -> ShimHarness {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["sleep", "1000"], userNamespace: userNamespace, monitor: MonitorPlan(initProcess: initProcess)))
        try harness.start()
        _ = try harness.next(LNT_MSG_STARTED)
        return harness
    }

    private func end(_ harness: ShimHarness) throws {
        try harness.signal(SIGKILL, everyone: true)
        _ = try harness.exited()
    }

    private func exec(_ harness: ShimHarness, _ process: ProcessPlan, flags: [lnt_attach_flags] = [], fds: [Int32] = []) throws -> UInt32 {
        let plan = try SealedMemory.make("plan", try ExecPlan(process: process).encoded())
        var message = lnt_attach()
        message.message = harness.header(LNT_MSG_EXEC)
        message.flags = flags.reduce(0) { $0 | $1.rawValue }
        try harness.send(message, [plan.number] + fds)
        let id = message.message.id
        while true {
            let done = try harness.decode(try harness.next(LNT_MSG_DONE), as: lnt_done.self)
            if done.message.id == id {
                guard done.error == 0 else { throw ShimHarness.Failed(description: "exec: errno \(done.error)") }
                return done.process
            }
        }
    }

    private func process(_ arguments: [String], user: String = "0", terminal: Bool = false, stdin: Bool = false) -> ProcessPlan {
        ProcessPlan(
            arguments: arguments, environment: ["PATH=/bin"], user: user, capabilities: CapabilityPlan(bounding: 0xa80425fb),
            terminal: terminal,
            stdin: stdin)
    }

    private func output(_ harness: ShimHarness, _ process: ProcessPlan) throws -> (text: String, event: lnt_exec_event) {
        let out = try ShimHarness.pipe()
        let number = try exec(harness, process, flags: [LNT_HAS_STDOUT, LNT_BACK_PRESSURE], fds: [out.write])
        close(out.write)
        let text = ShimHarness.readAll(out.read)
        let bytes = try harness.next(LNT_MSG_EXEC_EXITED, LNT_MSG_EXEC_FAILED)
        if let bytes, bytes[0] == UInt8(LNT_MSG_EXEC_FAILED.rawValue) {
            throw ShimHarness.Failed(description: ShimHarness.describe(try harness.decode(bytes, as: lnt_failure.self)))
        }
        let event = try harness.decode(bytes, as: lnt_exec_event.self)
        #expect(event.process == number)
        return (text, event)
    }

    @Test(arguments: [true, false]) func joinsEveryNamespace(userNamespace: Bool) throws {
        let harness = try running(userNamespace: userNamespace)
        let script =
            "for n in user mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; readlink /proc/$(ps | grep -v ps | grep 'sleep 1000' | head -1 | wc -c >/dev/null; echo 2)/ns/$n; done; hostname; exit 3"
        let (text, event) = try output(harness, process(["sh", "-c", script]))
        let lines = text.split(separator: "\n").map(String.init)
        try #require(lines.count == 15, "\(text)")
        for index in stride(from: 0, to: 14, by: 2) { #expect(lines[index] == lines[index + 1]) }
        #expect(lines[14] == "shimtest")
        #expect(event.status == 3 << 8)
        try end(harness)
    }

    @Test func hasItsOwnUserEnvironmentAndWorkingDirectory() throws {
        let harness = try running()
        var plan = process(["sh", "-c", "id -u; echo $HOME $X; pwd; echo x > /dev/stdout"], user: "bob")
        plan.environment += ["X=1"]
        plan.workingDirectory = "/tmp"
        #expect(try output(harness, plan).text == "1000\n/home/bob 1\n/tmp\nx\n")
        try end(harness)
    }

    @Test func failuresAreToldAndTheContainerGoesOn() throws {
        let harness = try running()
        _ = try exec(harness, process(["nothing-of-that-name"]))
        let missing = ShimHarness.failure(try harness.decode(try harness.next(LNT_MSG_EXEC_FAILED), as: lnt_failure.self))
        #expect(missing.exitCode == 127 && missing.step == .execute)
        var outside = process(["true"])
        outside.workingDirectory = "/proc/self/fd/7"
        _ = try exec(harness, outside)
        #expect(
            ShimHarness.failure(try harness.decode(try harness.next(LNT_MSG_EXEC_FAILED), as: lnt_failure.self)).step == .workingDirectory)
        #expect(try output(harness, process(["echo", "alive"])).text == "alive\n")
        try end(harness)
    }

    @Test func manyRunAtOnce() throws {
        let harness = try running()
        var numbers: Set<UInt32> = []
        for _ in 0..<20 { numbers.insert(try exec(harness, process(["sleep", "0.3"]))) }
        #expect(numbers.count == 20)
        for _ in 0..<20 {
            let event = try harness.decode(try harness.next(LNT_MSG_EXEC_EXITED), as: lnt_exec_event.self)
            #expect(numbers.remove(event.process) != nil)
            #expect(event.status == 0)
        }
        try end(harness)
    }

    @Test func stdinAndSignals() throws {
        let harness = try running()
        let (input, out) = (try ShimHarness.pipe(), try ShimHarness.pipe())
        _ = try exec(harness, process(["cat"], stdin: true), flags: [LNT_HAS_STDIN, LNT_HAS_STDOUT], fds: [input.read, out.write])
        close(input.read)
        close(out.write)
        _ = lnt_write_all(input.write, "abc", 3)
        close(input.write)
        #expect(ShimHarness.readAll(out.read) == "abc")
        _ = try harness.next(LNT_MSG_EXEC_EXITED)
        let number = try exec(harness, process(["sleep", "100"]))
        _ = try harness.next(LNT_MSG_EXEC_STARTED)
        try harness.signal(SIGTERM, process: number)
        #expect(try harness.decode(try harness.next(LNT_MSG_EXEC_EXITED), as: lnt_exec_event.self).status == SIGTERM)
        try end(harness)
    }

    /// Both ends are seen in one turn of the shim's loop.
    @Test func inputsThatEndTogetherAllEnd() throws {
        let harness = try running()
        let inputs = try (0..<4).map { _ in try ShimHarness.pipe() }
        for input in inputs {
            _ = try exec(harness, process(["cat"], stdin: true), flags: [LNT_HAS_STDIN], fds: [input.read])
            close(input.read)
            _ = try harness.next(LNT_MSG_EXEC_STARTED)
        }
        let shim = try #require(harness.shim)
        kill(shim.pid, SIGSTOP)
        for input in inputs { close(input.write) }
        kill(shim.pid, SIGCONT)
        for _ in inputs { #expect(try harness.decode(try harness.next(LNT_MSG_EXEC_EXITED), as: lnt_exec_event.self).status == 0) }
        try end(harness)
    }

    /// The number that the terminal had is free for the next exec's pipes. The kernel's SIGHUP would end the program.
    @Test func inputForATerminalThatIsGoneGoesNowhere() throws {
        let harness = try running()
        let gone = try exec(harness, process(["sh", "-c", "trap '' HUP; exec <&- >&- 2>&-; exec sleep 100"], terminal: true))
        _ = try harness.next(LNT_MSG_EXEC_STARTED)
        let shim = try #require(harness.shim)
        func hasMaster() throws -> Bool {
            let folder = "/proc/\(shim.pid)/fd"
            for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
                // Closed since it was listed: not the one.
                guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(name)") else { continue }
                if target.hasSuffix("/ptmx") { return true }
            }
            return false
        }
        var patience = 1000
        while try hasMaster(), patience > 0 {
            usleep(10_000)
            patience -= 1
        }
        #expect(patience > 0, "the shim keeps a terminal that nobody uses")
        let (input, out) = (try ShimHarness.pipe(), try ShimHarness.pipe())
        _ = try exec(harness, process(["cat"], stdin: true), flags: [LNT_HAS_STDIN, LNT_HAS_STDOUT], fds: [input.read, out.write])
        close(input.read)
        close(out.write)
        _ = try harness.next(LNT_MSG_EXEC_STARTED)
        // The character for the end, a size, and bytes for who has no terminal any more.
        var ending = lnt_signal()
        ending.message = harness.header(LNT_MSG_CLOSE_STDIN)
        ending.process = gone
        try harness.send(ending)
        let typed = try ShimHarness.pipe()
        _ = lnt_write_all(typed.write, "for the gone", 12)
        close(typed.write)
        var attach = lnt_attach()
        attach.message = harness.header(LNT_MSG_ATTACH)
        attach.process = gone
        attach.flags = LNT_HAS_STDIN.rawValue
        try harness.send(attach, [typed.read])
        close(typed.read)
        var resize = lnt_resize()
        resize.message = harness.header(LNT_MSG_RESIZE)
        resize.process = gone
        (resize.rows, resize.columns) = (10, 10)
        try harness.send(resize)
        var answer = lnt_done()
        repeat {
            answer = try harness.decode(try harness.next(LNT_MSG_DONE), as: lnt_done.self)
        } while answer.message.id != resize.message.id
        #expect(answer.error == ENODEV)
        _ = lnt_write_all(input.write, "abc", 3)
        close(input.write)
        #expect(ShimHarness.readAll(out.read) == "abc")
        try end(harness)
    }

    @Test func aTerminalOfItsOwn() throws {
        let harness = try running()
        let (text, event) = try output(harness, process(["sh", "-c", "tty; exit 2"], terminal: true))
        #expect(text == "/dev/pts/0\r\n")
        #expect(event.status == 2 << 8)
        try end(harness)
    }

    @Test func aBackgroundChildDoesntHoldTheExitUp() throws {
        let harness = try running()
        let (text, event) = try output(harness, process(["sh", "-c", "(sleep 100 &); echo done"]))
        #expect(text == "done\n")
        #expect(event.status == 0)
        try end(harness)
    }

    @Test func execsEndWithTheContainer() throws {
        let harness = try running()
        _ = try exec(harness, process(["sleep", "100"]))
        _ = try harness.next(LNT_MSG_EXEC_STARTED)
        try harness.signal(SIGKILL, everyone: true)
        // In either order: both processes were killed at once.
        let types = try (0..<2).map { _ in try #require(try harness.next(LNT_MSG_EXEC_EXITED, LNT_MSG_EXITED))[0] }
        #expect(Set(types) == [UInt8(LNT_MSG_EXEC_EXITED.rawValue), UInt8(LNT_MSG_EXITED.rawValue)])
        try harness.send(harness.header(LNT_MSG_RELEASE))
        #expect(harness.shim?.waitForExit(milliseconds: 5000) == true)
    }

    @Test func outliveTheEngine() throws {
        let harness = try running()
        _ = try exec(harness, process(["sh", "-c", "sleep 0.2; touch /by-exec"]))
        _ = try harness.next(LNT_MSG_EXEC_STARTED)
        harness.hangUp()
        for _ in 0..<500 where access("\(harness.store)/upper/by-exec", F_OK) != 0 { usleep(10_000) }
        #expect(access("\(harness.store)/upper/by-exec", F_OK) == 0)
        harness.useConnection(try harness.connect())
        try end(harness)
    }

    @Test func aRepeatedRequestStartsNothingAnew() throws {
        let harness = try running()
        var message = lnt_attach()
        withUnsafeMutableBytes(of: &message.key) { $0.copyBytes(from: Array("0123456789abcdef".utf8)) }
        let plan = try SealedMemory.make(
            "plan", try ExecPlan(process: process(["sh", "-c", "echo x >> /count; sleep 0.3; exit 6"])).encoded())
        func ask() throws -> UInt32 {
            message.message = harness.header(LNT_MSG_EXEC)
            try harness.send(message, [plan.number])
            return try harness.decode(try harness.next(LNT_MSG_DONE), as: lnt_done.self).process
        }
        let first = try ask()
        _ = try harness.next(LNT_MSG_EXEC_STARTED)
        // The engine dies; the next one repeats the request, while it runs and once more when it has ended.
        harness.hangUp()
        harness.useConnection(try harness.connect())
        #expect(try ask() == first)
        _ = try harness.next(LNT_MSG_EXEC_STARTED)
        let event = try harness.decode(try harness.next(LNT_MSG_EXEC_EXITED), as: lnt_exec_event.self)
        #expect(event.status == 6 << 8 && event.process == first && event.message.id == message.message.id)
        #expect(try ask() == first)
        let again = try harness.decode(try harness.next(LNT_MSG_EXEC_EXITED), as: lnt_exec_event.self)
        #expect(again.status == 6 << 8 && again.process == first && again.message.id == message.message.id)
        #expect(try String(contentsOfFile: "\(harness.store)/upper/count", encoding: .utf8) == "x\n")
        try end(harness)
    }

    @Test func theHelperCantBeOpenedFromInside() throws {
        let harness = try ShimHarness()
        mkdir("\(harness.store)/layer/shim", 0o755)
        try FileManager.default.copyItem(atPath: "/bin/busybox", toPath: "\(harness.store)/layer/shim/sleep")
        // What exe points to can be read by whoever could open the process's descriptors; afterwards it is the program's own.
        let watch = "while true; do for p in /proc/[0-9]*; do case $(readlink $p/exe) in *shim*) touch /opened; esac; done; done"
        try harness.spawn(harness.plan(["sh", "-c", watch]))
        try harness.start()
        _ = try harness.next(LNT_MSG_STARTED)
        for _ in 0..<100 {
            _ = try exec(harness, process(["true"]))
            _ = try harness.next(LNT_MSG_EXEC_EXITED)
        }
        #expect(access("\(harness.store)/upper/opened", F_OK) != 0)
        // A program like any other that only has the name is seen.
        for _ in 0..<20 where access("\(harness.store)/upper/opened", F_OK) != 0 {
            _ = try exec(harness, process(["/shim/sleep", "0.1"]))
            _ = try harness.next(LNT_MSG_EXEC_EXITED)
        }
        undefended("a plain program that joins is opened", access("\(harness.store)/upper/opened", F_OK) == 0)
        try end(harness)
    }
}
