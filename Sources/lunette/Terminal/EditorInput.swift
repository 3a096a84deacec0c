import Glibc
import LunetteAPI
import Synchronization

/// Reads libedit's characters, so that other threads can reach the line it edits: Ctrl-C drops it, and lines are shown above it.
///
/// libedit may only be called from the thread that is in it; that thread waits here for a key or for a byte in the pipe.
enum EditorInput {
    private typealias GetCharacter = @convention(c) (UnsafeMutablePointer<FILE>?) -> Int32
    private typealias Redisplay = @convention(c) () -> Int32

    private static let ends: (read: Int32, write: Int32) = {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return (-1, -1) }
        // A full pipe has woken the reader already: writing must never wait.
        for end in ends { WireSocket.closeOnExec(end, nonBlocking: true) }
        return (ends[0], ends[1])
    }()
    private static let notes = Mutex<[String]>([])
    private static let isInterrupted = Mutex(false)

    /// Has libedit read by us; to be called before its first line.
    static func install(_ library: UnsafeMutableRawPointer) {
        guard ends.read >= 0, let variable = dlsym(library, "rl_getc_function") else { return }
        redisplay = dlsym(library, "rl_forced_update_display").map { unsafeBitCast($0, to: Redisplay.self) }
        let next: GetCharacter = { _ in EditorInput.next() }
        variable.assumingMemoryBound(to: GetCharacter?.self).pointee = next
    }

    /// Drops what is typed; the line comes back empty.
    static func interrupt() {
        isInterrupted.withLock { $0 = true }
        wake()
    }

    /// Shows a line above the prompt, as soon as the editor's thread is there.
    static func note(_ text: String) {
        notes.withLock { $0.append(text) }
        wake()
    }

    /// An interrupt of the time before this line is none of its.
    static func forget() {
        isInterrupted.withLock { $0 = false }
        queued = []
    }

    private static func wake() {
        var byte: UInt8 = 1
        _ = write(ends.write, &byte, 1)
    }

    /// The next character, decoded: libedit takes it for a wide one.
    private static func next() -> Int32 {
        while true {
            if !queued.isEmpty { return queued.removeFirst() }
            var polled = [pollfd(fd: 0, events: Int16(POLLIN), revents: 0), pollfd(fd: ends.read, events: Int16(POLLIN), revents: 0)]
            if poll(&polled, 2, -1) < 0, errno != EINTR { return -1 }
            if polled[1].revents != 0 {
                var bytes = [UInt8](repeating: 0, count: 64)
                while read(ends.read, &bytes, bytes.count) > 0 {}
                showNotes()
                if isInterrupted.withLock({ flag in
                    defer { flag = false }
                    return flag
                }) {
                    // Ctrl-U empties the line, the newline hands it over.
                    queued = [0x15, 0x0a]
                }
                continue
            }
            if polled[0].revents != 0 { return character() }
        }
    }

    private static func showNotes() {
        let lines = notes.withLock { notes in
            defer { notes = [] }
            return notes
        }
        guard !lines.isEmpty else { return }
        Output.write(1, Array(("\r\u{1b}[K" + lines.joined(separator: "\n") + "\n").utf8))
        _ = redisplay?()
    }

    /// Draws the prompt and the line again where the cursor is; on the editor's thread.
    static func redraw() { _ = redisplay?() }

    /// One character of UTF-8; what isn't is taken byte by byte.
    private static func character() -> Int32 {
        guard let first = byte() else { return -1 }
        let more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0
        var value = more == 0 ? UInt32(first) : UInt32(first) & (0x3f >> UInt32(more))
        for _ in 0..<more {
            guard let next = byte() else { return -1 }
            value = value << 6 | UInt32(next & 0x3f)
        }
        return Int32(bitPattern: value)
    }

    private static func byte() -> UInt8? {
        var byte: UInt8 = 0
        while true {
            let count = read(0, &byte, 1)
            if count == 1 { return byte }
            if count < 0, errno == EINTR { continue }
            return nil
        }
    }

    // SAFETY: both are touched only by the one thread that reads lines.
    nonisolated(unsafe) private static var queued: [Int32] = []
    nonisolated(unsafe) private static var redisplay: Redisplay?
}
