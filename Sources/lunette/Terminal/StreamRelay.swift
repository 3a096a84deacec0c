import Glibc
import LunetteAPI
import LunetteSpec
import Synchronization

/// Carries the user's streams to and from pipes whose other ends the shim gets.
///
/// The shim never gets the terminal itself: after a detach it must not write there, and whoever reads a terminal from
/// outside its session is stopped. Closing our ends is the detach.
final class StreamRelay: Sendable {
    private struct State {
        var outputs = 0
        var detached = false
        var filesAreClosed = false
        var onDetach: (@Sendable () -> Void)?
    }

    /// What goes with the call, in the order of `stdio`.
    let files: [Int32]
    let stdio: [String]
    private let input: Int32
    private let outputs: [(from: Int32, to: Int32)]
    private let detachKeys: [UInt8]
    private let state = Mutex(State())

    /// - Parameters:
    ///   - stdin: whether the container reads what the user types or pipes in.
    ///   - tty: one stream out, not two.
    ///   - detachKeys: what typed in a row leaves the container running; looked for when stdin is a terminal.
    init(stdin: Bool, stdout: Bool = true, stderr: Bool = true, tty: Bool, detachKeys: [UInt8] = [0x10, 0x11]) throws(LunetteError) {
        var files: [Int32] = []
        var stdio: [String] = []
        var outputs: [(Int32, Int32)] = []
        var input: Int32 = -1
        func pipes() throws(LunetteError) -> (read: Int32, write: Int32) {
            var ends: [Int32] = [-1, -1]
            guard pipe(&ends) == 0 else { throw WireSocket.failure("make a pipe", errno) }
            for end in ends { WireSocket.closeOnExec(end, nonBlocking: false) }
            return (ends[0], ends[1])
        }
        if stdin {
            let ends = try pipes()
            files.append(ends.read)
            stdio.append("stdin")
            input = ends.write
        }
        if stdout {
            let ends = try pipes()
            files.append(ends.write)
            stdio.append("stdout")
            outputs.append((ends.read, 1))
        }
        if stderr, !tty {
            let ends = try pipes()
            files.append(ends.write)
            stdio.append("stderr")
            outputs.append((ends.read, 2))
        }
        self.files = files
        self.stdio = stdio
        self.input = input
        self.outputs = outputs.map { (from: $0.0, to: $0.1) }
        self.detachKeys = detachKeys
    }

    /// Carries until the ends.
    /// - Parameter closing: whether the engine has its ends by now, so that ours are closed and the outputs can end.
    func start(closing: Bool = true, onDetach: @escaping @Sendable () -> Void) throws(LunetteError) {
        if closing { closeFiles() }
        state.withLock { state in
            state.outputs = outputs.count
            state.onDetach = onDetach
        }
        for (from, to) in outputs { try OwnThread.start { self.carry(from, to) } }
        if input >= 0 { try OwnThread.start { self.feed() } }
    }

    func closeFiles() {
        let open = state.withLock { state in
            defer { state.filesAreClosed = true }
            return !state.filesAreClosed
        }
        if open { for file in files { close(file) } }
    }

    var isDetached: Bool { state.withLock { $0.detached } }

    /// Waits until all output has been written, or for `patience` seconds; at once after a detach.
    func drained(patience: Double) async {
        let end = MonotonicClock.now + patience
        while MonotonicClock.now < end {
            if state.withLock({ $0.outputs == 0 || $0.detached }) { return }
            do { try await Task.sleep(for: .milliseconds(1)) } catch { return }
        }
    }

    private func carry(_ from: Int32, _ to: Int32) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(from, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            if state.withLock({ $0.detached }) { break }
            // Nobody reads our output any more: the container's goes the same way.
            if !Output.write(to, Array(buffer[..<count])) { break }
        }
        close(from)
        state.withLock { $0.outputs -= 1 }
    }

    private func feed() {
        let isTerminal = Output.isTerminal(0)
        var matched = 0
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        loop: while true {
            let count = read(0, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            var bytes = Array(buffer[..<count])
            if isTerminal, !detachKeys.isEmpty {
                var passed: [UInt8] = []
                for byte in bytes {
                    if byte == detachKeys[matched] {
                        matched += 1
                        if matched == detachKeys.count {
                            detach()
                            break loop
                        }
                    } else {
                        // Keys that only began the sequence are the container's after all.
                        passed += detachKeys[..<matched]
                        matched = byte == detachKeys[0] ? 1 : 0
                        if matched == 0 { passed.append(byte) }
                    }
                }
                bytes = passed
            }
            if !bytes.isEmpty, !Output.write(input, bytes) { break }
        }
        close(input)
    }

    private func detach() {
        state.withLock { state in
            state.detached = true
            defer { state.onDetach = nil }
            return state.onDetach
        }?()
    }
}
