import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteRuntime

@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/bin/busybox"))) struct LifecycleTests {
    /// Attack 32: /run is a small tmpfs that the machine needs.
    @Test func whatItWritesToItsNetworkFilesDoesntTakeTheMachinesRun() async throws {
        try await RuntimeFixture.with { fixture in
            let line = "for f in hosts hostname resolv.conf; do head -c 1048576 /dev/zero > /etc/$f || exit 3; done"
            let container = try await fixture.runtime.create(fixture.request("c1", ["sh", "-c", line]))
            try await container.start()
            #expect(try await container.exit().code == 0)
            func size(_ path: String, _ name: String) throws -> Int64? { try Directory(path).status(name)?.size }
            for name in ["hosts", "hostname", "resolv.conf"] {
                #expect(try size("\(fixture.folder)/s/containers/c1", name) == nil, "\(name)")
                #expect(try size("\(fixture.folder)/r/containers/c1", name) == 1 << 20, "\(name)")
            }
            #expect(await fixture.runtime.reap(id: "c1", ReapOptions(storage: false)).isClean)
            // The next start has them anew.
            #expect(try await fixture.run("cat /etc/hostname").output == "c1\n")
        }
    }

    @Test func aProgramRunsAndItsOutputAndExitCodeComeBack() async throws {
        try await RuntimeFixture.with { fixture in
            let (output, exit) = try await fixture.run("echo out; echo err >&2; exit 7")
            #expect(output.contains("out\n"))
            #expect(output.contains("err\n"))
            #expect(exit.code == 7)
            #expect(exit.reason == .exited)
            #expect(exit.signal == nil)
            #expect(abs(exit.finishedAt - SystemClock.now) < 60)
        }
    }

    @Test func nothingRunsBeforeStart() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["echo", "ran"]))
            #expect(container.knownExit == nil)
            #expect(try await fixture.log() == "")
            #expect(container.record.initProcess?.isAlive == true)
            try await container.start()
            #expect(try await container.exit().code == 0)
            await #expect(throws: LunetteError.self) { try await container.start() }
            #expect(container.profile.map(\.phase).contains("execute"))
        }
    }

    @Test func aSignalEndsTheProgramAndIsNamed() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await container.start()
            try await container.kill(signal: SIGTERM)
            let exit = try await container.exit()
            #expect(exit.signal == "SIGTERM")
            #expect(exit.code == 143)
            #expect(exit.reason == .signal)
            await #expect(throws: LunetteError.self) { try await container.kill(signal: SIGTERM) }
        }
    }

    @Test func killAndExitCode137AreToldApart() async throws {
        try await RuntimeFixture.with { fixture in
            let (_, exit) = try await fixture.run("exit 137")
            #expect(exit.signal == nil)
            #expect(exit.code == 137)
            let (_, killed) = try await fixture.run("kill -9 $$")
            #expect(killed.signal == "SIGKILL")
            #expect(killed.code == 137)
        }
    }

    @Test func aMissingProgramIs127AndAFileThatIsNoneIs126() async throws {
        try await RuntimeFixture.with { fixture in
            for (program, code, kind) in [
                ("nosuchprogram", 127, ErrorCode.notFound), ("/bin/nosuch", 127, .notFound), ("/etc/passwd", 126, .denied),
            ] {
                // What can be known before the gate is said by create, the rest by start.
                let failure = await #expect(throws: LunetteError.self) {
                    let container = try await fixture.runtime.create(fixture.request("c1", [program]))
                    try await container.start()
                }
                #expect(failure?.code == kind)
                #expect(failure?.details?["exit_code"]?.intValue == Int64(code))
                #expect(failure?.details?["step"]?.stringValue == "execute")
                if let exit = fixture.runtime.container("c1")?.knownExit {
                    #expect(exit.reason == .startFailed)
                    #expect(exit.code == Int32(code))
                }
                #expect(await fixture.runtime.reap(id: "c1", ReapOptions(storage: true)).isClean)
            }
        }
    }

    @Test func aFailedLaunchSaysWhichStepAndLeavesNothing() async throws {
        try await RuntimeFixture.with { fixture in
            var request = fixture.request("c1", ["true"]) { $0.mounts = [MountSpec(.bind, source: "/does/not/exist", target: "/data")] }
            request.spec.name = "broken"
            let failure = await #expect(throws: LunetteError.self) { try await fixture.runtime.create(request) }
            #expect(failure?.details?["step"]?.stringValue == "open-tree")
            #expect(failure?.message.contains("/does/not/exist") == true)
            let survey = try await fixture.runtime.survey()
            #expect(survey.ids.isEmpty)
        }
    }

    @Test func aRestartKeepsTheContainersFilesAndTheLogGoesOn() async throws {
        try await RuntimeFixture.with { fixture in
            for round in 1...3 {
                let container = try await fixture.runtime.create(fixture.request("c1", ["sh", "-c", "echo x >> /kept; wc -l < /kept"]))
                try await container.start()
                #expect(try await container.exit().code == 0)
                #expect(await fixture.runtime.reap(id: "c1", ReapOptions(storage: false)).isClean, "round \(round)")
            }
            #expect(try await fixture.log() == "1\n2\n3\n")
        }
    }

    @Test func theSameIdIsNotLaunchedTwice() async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await container.start()
            let failure = await #expect(throws: LunetteError.self) { try await fixture.runtime.create(fixture.request("c1", ["true"])) }
            #expect(failure?.code == .alreadyExists)
            #expect(container.knownExit == nil)
            #expect(container.record.initProcess?.isAlive == true)
        }
    }

    @Test(arguments: ["..", "a/b", "", "-x", "a\u{0}b", String(repeating: "a", count: 65), "é"])
    func namesThatLeadElsewhereAreRefused(id: String) async throws {
        try await RuntimeFixture.with { fixture in
            let failure = await #expect(throws: LunetteError.self) { try await fixture.runtime.create(fixture.request(id, ["true"])) }
            #expect(failure?.code == .invalidArgument)
            #expect(await !fixture.runtime.reap(id: id, ReapOptions(storage: true)).isClean)
            let state = try Directory(making: "\(fixture.folder)/naive/containers")
            let isOutside = mkdir("\(state.label)/../x", 0o755) == 0 && rmdir("\(fixture.folder)/naive/x") == 0
            undefended("as a folder's name, an id leads out", isOutside)
        }
    }

    @Test func aClientsDescriptorsCarryStdinAndOutput() async throws {
        try await RuntimeFixture.with { fixture in
            let (output, outputEnd) = try FileDescriptor.pipe()
            let (inputEnd, input) = try FileDescriptor.pipe()
            var request = fixture.request("c1", ["cat"]) { $0.hasStdin = true }
            request.io = ProcessIO(stdin: inputEnd, stdout: outputEnd)
            let container = try await fixture.runtime.create(request)
            try await container.start()
            try input.writeAll(Array("through\n".utf8))
            input.close()
            let exit = try await container.exit()
            #expect(exit.code == 0)
            outputEnd.close()
            request.io = .none
            #expect(try await blocking { () throws(SystemCallError) in try output.read(upTo: 100) } == Array("through\n".utf8))
            #expect(try await fixture.log() == "through\n")
        }
    }

    @Test func aTerminalIsTheContainersOwn() async throws {
        try await RuntimeFixture.with { fixture in
            var request = fixture.request("c1", ["sh", "-c", "tty; stty size; test -t 0 && test -t 1 && echo yes"]) {
                $0.hasTerminal = true
            }
            request.io.size = TerminalSize(rows: 33, columns: 111)
            let (output, _) = try await fixture.run(request)
            #expect(output.contains("/dev/pts/0"))
            #expect(output.contains("33 111"))
            #expect(output.contains("yes"))
        }
    }

    @Test func manyContainersLiveAtOnceAndLeaveNothing() async throws {
        try await RuntimeFixture.with { fixture in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        var request = fixture.request("many\(number)", ["sh", "-c", "echo \(number); cat /etc/hostname"])
                        request.idRange = IDRange(first: IDRangeAllocator.base + UInt32(number) * 65536, count: 65536)
                        let (output, exit) = try await fixture.run(request)
                        #expect(exit.code == 0)
                        #expect(output == "\(number)\nmany\(number)\n")
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
