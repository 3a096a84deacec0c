internal import CLinux
internal import Synchronization

/// Owns one open descriptor: closed when the last reference goes, or by `close()`. May be held by anyone, on any thread.
package final class FileDescriptor: Sendable {
    private let storage: Atomic<Int32>

    /// Takes ownership of `number`.
    package init(owning number: Int32) { storage = Atomic(number) }

    deinit {
        let number = storage.load(ordering: .acquiring)
        if number >= 0 { _ = lnt_host_close(number) }
    }

    /// The descriptor; -1 once closed or released. Valid only while a reference to this object is held.
    package var number: Int32 { storage.load(ordering: .acquiring) }

    /// Closes now; a second close does nothing.
    package func close() {
        let number = storage.exchange(-1, ordering: .acquiringAndReleasing)
        if number >= 0 { _ = lnt_host_close(number) }
    }

    /// Gives ownership away: the caller closes.
    package func release() -> Int32 { storage.exchange(-1, ordering: .acquiringAndReleasing) }

    /// A second descriptor for the same open file, close-on-exec, not below 3.
    package func duplicate() throws(SystemCallError) -> FileDescriptor { try .duplicate(of: number) }

    package static func duplicate(of number: Int32) throws(SystemCallError) -> FileDescriptor {
        FileDescriptor(owning: try check(lnt_host_dup(number, 3), "duplicate descriptor", "\(number)"))
    }

    /// A pipe: what is written to the second comes out of the first.
    package static func pipe() throws(SystemCallError) -> (read: FileDescriptor, write: FileDescriptor) {
        var ends: [Int32] = [-1, -1]
        try check(lnt_host_pipe(&ends, 0), "pipe2")
        return (FileDescriptor(owning: ends[0]), FileDescriptor(owning: ends[1]))
    }

    package func setNonblocking(_ on: Bool) throws(SystemCallError) {
        try check(lnt_host_set_nonblocking(number, on ? 1 : 0), "set O_NONBLOCK", "\(number)")
    }

    /// - Returns: up to `count` bytes; empty at the end.
    package func read(upTo count: Int) throws(SystemCallError) -> [UInt8] {
        var failure: SystemCallError?
        let number = self.number
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            let got = lnt_host_read(number, buffer.baseAddress, count)
            if got < 0 { failure = SystemCallError("read", "", errno: Int32(-got)) } else { initialized = got }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Reads to the end.
    /// - Parameter limit: more than this is EFBIG's cousin E2BIG: nothing from outside fills our memory.
    package func readAll(limit: Int) throws(SystemCallError) -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let part = try read(upTo: 65536)
            // Who keeps it keeps no room for more.
            if part.isEmpty { return all.capacity > 2 * all.count ? all.withUnsafeBufferPointer { [UInt8]($0) } : all }
            // As a rule it is all there is.
            if all.isEmpty { all = part } else { all += part }
            if all.count > limit { throw SystemCallError("read", "more than \(limit) bytes", errno: ErrorNumber.tooBig) }
        }
    }

    package func writeAll(_ bytes: [UInt8]) throws(SystemCallError) { try writeAll(bytes[...]) }

    package func writeAll(_ bytes: ArraySlice<UInt8>) throws(SystemCallError) {
        var rest = bytes
        while !rest.isEmpty {
            let number = self.number
            let wrote = rest.withUnsafeBytes { lnt_host_write(number, $0.baseAddress, $0.count) }
            try check(wrote, "write")
            rest = rest.dropFirst(wrote)
        }
    }

    package func seek(to offset: Int64) throws(SystemCallError) {
        let result = lnt_host_seek(number, offset, 0)
        if result < 0 { throw SystemCallError("lseek", "", errno: Int32(-result)) }
    }

    /// Makes the file `size` bytes long; a longer one gets a hole. Source: ftruncate(2).
    package func truncate(to size: Int64) throws(SystemCallError) { try check(lnt_host_truncate(number, size), "ftruncate") }

    package func synchronize() throws(SystemCallError) { try check(lnt_host_fsync(number), "fsync") }
}
