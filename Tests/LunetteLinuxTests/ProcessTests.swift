import Foundation
import Glibc
import LunetteLinux
import LunetteTesting
import Synchronization
import Testing

@Suite struct ProcessTests {
    @Test func aSpawnedProgramHasExactlyTheDescriptorsNamed() throws {
        let (output, input) = try FileDescriptor.pipe()
        // One that would leak if close-on-exec were forgotten anywhere.
        let stray = open("/dev/null", O_RDONLY)
        defer { close(stray) }
        var request = SpawnRequest(
            .path("/bin/sh"), arguments: ["sh", "-c", "cd /proc/self/fd; echo *; echo $VALUE"], environment: ["VALUE=here"])
        request.descriptors = [nil, input, nil]
        let child = try spawn(request)
        input.close()
        let text = String(decoding: try output.readAll(limit: 1000), as: UTF8.self)
        #expect(try child.reap(block: true) == 0)
        // The shell itself may open one for the directory it expands.
        let numbers = text.split(separator: "\n")[0].split(separator: " ").compactMap { Int($0) }
        #expect(numbers.filter { $0 < 3 } == [0, 1, 2])
        #expect(!numbers.contains(Int(stray)))
        #expect(text.hasSuffix("here\n"))
    }

    @Test func aProgramRunsFromASealedDescriptor() throws {
        let shell = try SealedMemory.copy(try Directory("/").open("bin/true", scope: .inRoot), name: "true")
        let child = try spawn(SpawnRequest(.descriptor(shell), arguments: ["true"]))
        #expect(try child.reap(block: true) == 0)
    }

    /// Attack 84: between fork and exec of a process with busy threads nothing may take a lock, malloc's least of all.
    @Test func spawningBesideBusyThreadsNeverHangs() async throws {
        let isOver = Atomic(false)
        let busy = (0..<8).map { _ in
            Thread {
                while !isOver.load(ordering: .relaxed) {
                    _ = (0..<64).map { [UInt8](repeating: 7, count: $0 * 97) }
                }
            }
        }
        defer { isOver.store(true, ordering: .relaxed) }
        for thread in busy { thread.start() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<250 {
                        try await blocking { () throws(SystemCallError) in
                            let child = try spawn(SpawnRequest(.path("/bin/true"), arguments: ["true"]))
                            #expect(child.waitForExit(milliseconds: 60_000))
                            let status = try child.reap(block: true)
                            #expect(status == 0)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test func aMissingProgramIsReportedAtOnce() {
        let failure = #expect(throws: SystemCallError.self) { _ = try spawn(SpawnRequest(.path("/no/such/program"), arguments: ["x"])) }
        #expect(failure?.errno == ErrorNumber.noEntry)
    }

    @Test func anIdentityOutlivesItsPid() throws {
        let child = try spawn(SpawnRequest(.path("/bin/sleep"), arguments: ["sleep", "1000"]))
        let identity = try #require(ProcessIdentity.of(pid: child.pid))
        #expect(identity.isAlive)
        #expect(ProcessIdentity(value: identity.value) == identity)
        var other = identity
        other.startTime += 1
        #expect(!other.isAlive)
        other = identity
        other.bootID = "another"
        #expect(!other.isAlive)
        try child.signal(SIGKILL)
        #expect(child.waitForExit(milliseconds: 5000))
        #expect(!identity.isAlive)
        let status = try #require(try child.reap(block: true))
        #expect(WaitStatus(raw: status).signal == SIGKILL)
        #expect(WaitStatus(raw: status).code == 137)
        #expect(try child.signal(SIGTERM) == false)
    }

    @Test func aStatLineIsReadAroundAnyName() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 50 60 0 0 20 0 3 0 12345 1000 25 18446744073709551615 1 1"
        let stat = ProcessStat(text: line)
        #expect(stat?.command == "a) b (c")
        #expect(stat?.parent == 7)
        #expect(stat?.startTime == 12345)
        #expect(stat?.residentPages == 25)
        #expect(ProcessStat(text: "garbage") == nil)
    }

    @Test func descriptorsTravelWithAMessage() throws {
        let (left, right) = try UnixSocket.pair(kind: .packet)
        let (output, input) = try FileDescriptor.pipe()
        try left.send(Array("take".utf8), descriptors: [input])
        input.close()
        let message = try #require(try right.receive(upTo: 100))
        #expect(message.bytes == Array("take".utf8))
        #expect(message.descriptors.count == 1)
        try message.descriptors[0].writeAll(Array("through".utf8))
        message.descriptors[0].close()
        #expect(try output.readAll(limit: 100) == Array("through".utf8))
        #expect(try right.receive(upTo: 100, wait: false) == nil)
    }

    @Test func aMessageThatDoesNotFitIsMarked() throws {
        let (left, right) = try UnixSocket.pair(kind: .packet)
        try left.send([UInt8](repeating: 7, count: 50))
        #expect(try right.receive(upTo: 10)?.isTruncated == true)
    }

    @Test func aListeningSocketKnowsItsPeer() async throws {
        try await withTemporaryDirectory { directory in
            let path = "\(directory.label)/socket"
            let listener = try UnixSocket.listen(path, kind: .stream)
            #expect(try directory.status("socket")?.permissions == 0o600)
            let client = try UnixSocket.connect(path, kind: .stream)
            let server = try listener.accept()
            #expect(try server.peer() == UnixSocket.Peer(pid: getpid(), uid: getuid(), gid: getgid()))
            client.shutdown()
            #expect(try server.receive(upTo: 10)?.bytes == [])
        }
    }
}
