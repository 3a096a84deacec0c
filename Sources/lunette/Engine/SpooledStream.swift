import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec

/// A stream of the command as a file without a name, which a call can take again when the engine died in it: a pipe's bytes are gone once read.
struct SpooledStream {
    let descriptor: Int32

    /// Makes an empty file in `$TMPDIR`, or in /var/tmp: images are too large for a /tmp in memory.
    init() throws(LunetteError) {
        let folder = Environment["TMPDIR"] ?? "/var/tmp"
        var file = open(folder, O_TMPFILE_FLAGS | O_RDWR | O_CLOEXEC, 0o600)
        if file < 0, [EOPNOTSUPP, EISDIR, EINVAL].contains(errno) {
            // A file system without O_TMPFILE: a name for a moment.
            var template = Array("\(folder)/lunette.XXXXXX".utf8CString)
            file = mkstemp(&template)
            if file >= 0 {
                unlink(template)
                WireSocket.closeOnExec(file, nonBlocking: false)
            }
        }
        guard file >= 0 else {
            throw LunetteError(
                .io, "make a temporary file in \(folder): \(Errno(errno))", errno: errno, hint: "TMPDIR names another folder")
        }
        descriptor = file
    }

    private init(descriptor: Int32) { self.descriptor = descriptor }

    /// Stdin, as it is when it is a file read from its start, else a copy of it.
    static func input() async throws(LunetteError) -> SpooledStream {
        var status = stat()
        if fstat(0, &status) == 0, status.st_mode & S_IFMT == S_IFREG, lseek(0, 0, SEEK_CUR) == 0 {
            let copy = fcntl(0, F_DUPFD_CLOEXEC, 3)
            if copy >= 0 { return SpooledStream(descriptor: copy) }
        }
        let file = try SpooledStream()
        do throws(LunetteError) { try await SpooledStream.copy(from: 0, to: file.descriptor, what: "read stdin") } catch {
            file.close()
            throw error
        }
        return file
    }

    /// Writes all of it to another descriptor.
    func copy(to output: Int32) async throws(LunetteError) {
        lseek(descriptor, 0, SEEK_SET)
        try await SpooledStream.copy(from: descriptor, to: output, what: "write to stdout")
    }

    func close() { Glibc.close(descriptor) }

    /// On a thread of its own: either end may be a pipe that nobody serves for long.
    private static func copy(from input: Int32, to output: Int32, what: String) async throws(LunetteError) {
        let failure: LunetteError? = await withCheckedContinuation { continuation in
            do throws(LunetteError) {
                try OwnThread.start { continuation.resume(returning: copyBlocking(from: input, to: output, what: what)) }
            } catch {
                continuation.resume(returning: error)
            }
        }
        if let failure { throw failure }
    }

    private static func copyBlocking(from input: Int32, to output: Int32, what: String) -> LunetteError? {
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = read(input, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count == 0 { return nil }
            if count < 0 || !Output.write(output, Array(buffer[..<count])) {
                let code = errno
                return LunetteError(
                    code == ENOSPC ? .resourceExhausted : .io, "\(what): \(Errno(code))", errno: code,
                    hint: code == ENOSPC ? "TMPDIR names a folder with more room" : nil)
            }
        }
    }
}

/// `O_TMPFILE`, which Swift can't import: a macro of several flags.
private let O_TMPFILE_FLAGS: Int32 = 0o20000000 | O_DIRECTORY
