internal import CLinux

/// An advisory lock on a file, held until `release()` or the end of this object; the kernel drops it with a killed process.
package final class FileLock: Sendable {
    private let file: FileDescriptor

    private init(_ file: FileDescriptor) { self.file = file }

    /// - Returns: nil when somebody else holds it.
    package static func take(_ file: FileDescriptor, label: String) throws(SystemCallError) -> FileLock? {
        let (exclusive, nonblocking): (Int32, Int32) = (2, 4)
        let result = lnt_host_flock(file.number, exclusive | nonblocking)
        if -result == ErrorNumber.again { return nil }
        try check(result, "lock", label)
        return FileLock(file)
    }

    /// - Parameter wait: false gives nil when somebody else holds it. With true this blocks.
    package static func take(_ name: String, in directory: Directory, wait: Bool = false) throws(SystemCallError) -> FileLock? {
        let file = try directory.open(name, [.readWrite, .create, .noFollow], mode: 0o600)
        let exclusive: Int32 = 2
        let nonblocking: Int32 = 4
        let result = lnt_host_flock(file.number, exclusive | (wait ? 0 : nonblocking))
        if -result == ErrorNumber.again { return nil }
        try check(result, "lock", "\(directory.label)/\(name)")
        return FileLock(file)
    }

    package func release() { file.close() }
}
