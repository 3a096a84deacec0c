import CLinux
import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

/// Packets that mean nothing, on a control socket of a shim that looks after a running container.
@Suite("Nothing on the control socket hurts a shim", .serialized, .requires(.root, .overlay, .userNamespaces, .file("/bin/busybox")))
struct ShimHostileTests {
    /// xorshift: the same packets at every run.
    private struct Numbers {
        var state: UInt64
        mutating func next(below limit: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(limit))
        }
    }

    private static func descriptors(of pid: Int32) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").map {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\($0)")) ?? "gone"
        }
    }

    @Test func randomPacketsAreAnsweredAndLeaveNothing() throws {
        let harness = try ShimHarness()
        try harness.spawn(harness.plan(["sh", "-c", "while true; do sleep 1; done"]))
        try harness.start()
        let started = try harness.decode(try harness.next(LNT_MSG_STARTED), as: lnt_state.self)
        try query(harness)
        let before = try Self.descriptors(of: started.shim_pid)
        let plan = try SealedMemory.make("plan", try ExecPlan(process: ProcessPlan(arguments: ["/bin/true"])).encoded())
        let (out, null) = (try ShimHarness.pipe(), open("/dev/null", O_RDWR | O_CLOEXEC))
        defer { for fd in [out.read, out.write, null] { close(fd) } }
        var numbers = Numbers(state: 0x6c75_6e65_7474_6521)
        let sizes = [
            0, 1, 4, 7, MemoryLayout<lnt_message>.size, MemoryLayout<lnt_attach>.size, MemoryLayout<lnt_signal>.size, 512, 1024, 4000,
        ]
        // Ends a container on purpose (START, RELEASE before the end are refused; SIGNAL and ABORT are left out where they would end it).
        for round in 0..<1500 {
            let connection = try harness.connect()
            for _ in 0..<numbers.next(below: 6) {
                var bytes = (0..<sizes[numbers.next(below: sizes.count)]).map { _ in UInt8(numbers.next(below: 256)) }
                if bytes.count >= 8, numbers.next(below: 4) > 0 {
                    let kinds = [
                        LNT_MSG_START, LNT_MSG_EXEC, LNT_MSG_ATTACH, LNT_MSG_RESIZE, LNT_MSG_RELEASE, LNT_MSG_QUERY, LNT_MSG_CLOSE_STDIN,
                    ]
                    bytes.replaceSubrange(0..<4, with: [UInt8(kinds[numbers.next(below: kinds.count)].rawValue), 0, 0, 0])
                    // Flags that say what came, sometimes; otherwise anything. A sink of the program itself would stay, so none is that.
                    if bytes.count >= 16, numbers.next(below: 2) == 0 {
                        bytes.replaceSubrange(8..<16, with: [UInt8(numbers.next(below: 32)), 0, 0, 0, 77, 0, 0, 0])
                    }
                } else if bytes.count >= 4, [2, 7].contains(bytes[0]) {
                    bytes[0] = 99
                }
                let choices = [plan.number, out.write, out.read, null]
                let fds = (0..<numbers.next(below: 9)).map { _ in choices[numbers.next(below: choices.count)] }
                // A connection that the shim has cut off takes nothing more.
                _ = lnt_send(connection, bytes, bytes.count, fds, fds.count, 0)
            }
            close(connection)
            // Programs of execs that succeeded say something now and then; nobody listens.
            if round % 100 == 99 { try query(harness) }
        }
        try query(harness)
        // What execs held goes with them.
        try waitUntil({ try Self.descriptors(of: started.shim_pid).count <= before.count }) {
            "\(try Self.descriptors(of: started.shim_pid).sorted()) instead of \(before.sorted())"
        }
        try harness.signal(SIGKILL, everyone: true)
        #expect(try harness.exited().signal == SIGKILL)
    }

    private func query(_ harness: ShimHarness) throws {
        let id = harness.header(LNT_MSG_QUERY)
        try harness.send(id)
        while true {
            let state = try harness.decode(try harness.next(LNT_MSG_STATE), as: lnt_state.self)
            if state.message.id != id.id { continue }
            #expect(state.state == LNT_IS_RUNNING.rawValue)
            return
        }
    }

    private func waitUntil(_ holds: () throws -> Bool, _ otherwise: () throws -> String) throws {
        let end = Date().addingTimeInterval(Double(ShimHarness.patience) / 1000)
        while try !holds() {
            guard Date() < end else { throw ShimHarness.Failed(description: try otherwise()) }
            usleep(20_000)
        }
    }
}
