internal import CLuaBridge
internal import Glibc
internal import LunetteAPI
internal import LunetteSpec

/// The descriptors that go with an exec or attach: pipes whose other ends this process serves, files, or its own streams.
///
/// What is captured never passes through the engine.
// SAFETY: the fields set in `init` are constant; output is only touched under each reader's own lock.
final class ProcessStreams: @unchecked Sendable {
    /// How much of each stream is kept; the rest is read and dropped.
    static let captureLimit = 16 << 20

    /// The wire's arguments: without what only the caller does, with `stdio`.
    private(set) var arguments: Value
    /// In the order of `stdio`.
    private(set) var files: [Int32] = []
    private var readers: [(name: String, reader: PipeReader)] = []
    private var isClosed = false

    /// - Returns: nil when the function takes no descriptors.
    init?(
        for function: APIFunction, _ request: APIRequest, directory: String, onChunk: (@Sendable (Value) -> Void)?
    ) throws(LunetteError) {
        guard ["container.exec", "container.attach", "sandbox.run", "process.run"].contains(function.name),
            case .map(var map) = request.arguments
        else {
            return nil
        }
        arguments = request.arguments
        guard map["stdio"] == nil else {
            throw LunetteError(.invalidArgument, "is set by the caller's own stdin, stdout and stderr", path: "stdio")
        }
        var names: [Value] = []
        do throws(LunetteError) {
            if function.name == "container.attach" {
                for number in Int32(0)...2 { files.append(try duplicate(number)) }
                names = ["stdin", "stdout", "stderr"]
            } else {
                // Words of `exec` and `process.run`; a sandbox's stdin is text or a file.
                let word = function.name == "sandbox.run" ? nil : map["stdin"]?.stringValue
                if word == "inherit" {
                    files.append(try duplicate(0))
                    names.append("stdin")
                } else if let input = map["stdin"], !input.isNull, word != "null" {
                    files.append(try openInput(input, directory))
                    names.append("stdin")
                }
                for name in ["stdout", "stderr"] where !(name == "stderr" && map["tty"]?.boolValue == true) {
                    let isDetached = map["detach"]?.boolValue == true
                    let wanted = map[name] ?? (isDetached ? "null" : "capture")
                    if isDetached, wanted == "capture" || wanted.boolValue != nil {
                        throw LunetteError(
                            .invalidArgument, "nobody reads what a detached command writes", path: name,
                            hint: "write it to a file: \(name) = { file = \"…\" }")
                    }
                    guard let file = try openOutput(wanted, name, directory, onChunk) else { continue }
                    files.append(file)
                    names.append(.string(name))
                }
            }
        } catch {
            closeFiles()
            for (_, reader) in readers { reader.stop() }
            throw error
        }
        for name in ["stdin", "stdout", "stderr", "check"] { map[name] = nil }
        map["stdio"] = .array(names)
        arguments = .map(map)
    }

    deinit { closeFiles() }

    private func closeFiles() {
        guard !isClosed else { return }
        isClosed = true
        for file in files { close(file) }
    }

    private func duplicate(_ number: Int32) throws(LunetteError) -> Int32 {
        let copy = fcntl(number, F_DUPFD_CLOEXEC, 3)
        if copy >= 0 { return copy }
        // A closed stdin or stdout is as good as /dev/null.
        return try open("/dev/null", O_RDWR, "stdio")
    }

    private func open(_ path: String, _ flags: Int32, _ what: String) throws(LunetteError) -> Int32 {
        let file = Glibc.open(path, flags | O_CLOEXEC, 0o666)
        if file < 0 { throw .system("open \(path)", errno, path: what) }
        return file
    }

    private func makePipe() throws(LunetteError) -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        let result = lnt_lua_pipe(&ends)
        if result != 0 { throw .system("make a pipe", -result, path: nil) }
        return (ends[0], ends[1])
    }

    private func openInput(_ value: Value, _ directory: String) throws(LunetteError) -> Int32 {
        if let path = value["file"]?.stringValue {
            return try open(APIRegistry.absolutePath(path, directory: directory), O_RDONLY, "stdin.file")
        }
        let pipe = try makePipe()
        let bytes = value.byteString ?? []
        onOwnThread {
            // The command may end without reading everything: that is no error of ours.
            var mask = sigset_t()
            sigemptyset(&mask)
            sigaddset(&mask, SIGPIPE)
            pthread_sigmask(SIG_BLOCK, &mask, nil)
            bytes.withUnsafeBytes { buffer in
                var offset = 0
                while offset < buffer.count {
                    let written = write(pipe.write, buffer.baseAddress! + offset, buffer.count - offset)
                    if written < 0, errno == EINTR { continue }
                    if written <= 0 { break }
                    offset += written
                }
            }
            close(pipe.write)
        }
        return pipe.read
    }

    private func openOutput(
        _ value: Value, _ name: String, _ directory: String, _ onChunk: (@Sendable (Value) -> Void)?
    ) throws(LunetteError) -> Int32? {
        if let path = value["file"]?.stringValue {
            return try open(APIRegistry.absolutePath(path, directory: directory), O_WRONLY | O_CREAT | O_TRUNC, "\(name).file")
        }
        switch value.stringValue {
        case "inherit": return try duplicate(name == "stdout" ? 1 : 2)
        case "null": return nil
        default: break
        }
        let pipe = try makePipe()
        var onBytes: (@Sendable ([UInt8]) -> Void)?
        if value.boolValue == true {
            onBytes = { bytes in
                let chunk: ValueMap = ["stream": .string(name), "data": .text(bytes)]
                onChunk?(.map(chunk))
            }
        }
        let reader = PipeReader(pipe.read, limit: Self.captureLimit, onBytes: onBytes)
        readers.append((name, reader))
        return pipe.write
    }

    /// What was captured.
    struct Output {
        var map = ValueMap()
        func merged(into result: Value) -> Value {
            guard case .map(var merged) = result else { return result }
            for (name, value) in map { merged[name] = value }
            return .map(merged)
        }
    }

    /// Closes this side's ends and waits until what was written has been read.
    func finish() async -> Output {
        closeFiles()
        var output = Output()
        for (name, reader) in readers {
            let (bytes, isTruncated, isStreamed) = await reader.finish()
            if !isStreamed { output.map[name] = .text(bytes) }
            if isTruncated { output.map["truncated"] = true }
        }
        return output
    }
}

/// Reads a pipe on a thread of its own until its end, or until told to take what is there and stop.
// SAFETY: `bytes`, `isDone`, `waiter` are only touched under `mutex`.
final class PipeReader: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var bytes: [UInt8] = []
    private var isTruncated = false
    private var isDone = false
    private var waiter: CheckedContinuation<Void, Never>?
    private let isStreamed: Bool
    /// Written to when the command has ended: a grandchild may hold the pipe open for ever.
    private var wake: [Int32] = [-1, -1]

    init(_ descriptor: Int32, limit: Int, onBytes: (@Sendable ([UInt8]) -> Void)?) {
        pthread_mutex_init(mutex, nil)
        isStreamed = onBytes != nil
        // Without one, `finish` waits for the pipe's own end: no worse than any shell.
        _ = lnt_lua_pipe(&wake)
        onOwnThread { self.read(descriptor, limit, onBytes) }
    }

    deinit {
        for end in wake where end >= 0 { close(end) }
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    private func read(_ descriptor: Int32, _ limit: Int, _ onBytes: (@Sendable ([UInt8]) -> Void)?) {
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        var isStopping = false
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count > 0 {
                if let onBytes {
                    onBytes(Array(buffer[0..<count]))
                } else {
                    pthread_mutex_lock(mutex)
                    let kept = min(count, limit - bytes.count)
                    if kept < count { isTruncated = true }
                    bytes += buffer[0..<kept]
                    pthread_mutex_unlock(mutex)
                }
                continue
            }
            if count == 0 || (errno != EAGAIN && errno != EINTR) { break }
            if errno == EAGAIN {
                if isStopping { break }
                var waits = [
                    pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: wake[0], events: Int16(POLLIN), revents: 0),
                ]
                _ = poll(&waits, 2, -1)
                // Once more around: what was written before the end is in the pipe now.
                if waits[1].revents != 0 { isStopping = true }
            }
        }
        close(descriptor)
        pthread_mutex_lock(mutex)
        isDone = true
        let waiter = self.waiter
        self.waiter = nil
        pthread_mutex_unlock(mutex)
        waiter?.resume()
    }

    func stop() {
        var one: UInt8 = 1
        _ = write(wake[1], &one, 1)
    }

    func finish() async -> (bytes: [UInt8], isTruncated: Bool, isStreamed: Bool) {
        stop()
        await withCheckedContinuation { continuation in
            pthread_mutex_lock(mutex)
            let isDone = self.isDone
            if !isDone { waiter = continuation }
            pthread_mutex_unlock(mutex)
            if isDone { continuation.resume() }
        }
        return take()
    }

    private func take() -> (bytes: [UInt8], isTruncated: Bool, isStreamed: Bool) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return (bytes, isTruncated, isStreamed)
    }
}

extension LunetteError {
    /// A system call that failed: what was tried, and the kernel's word for why.
    static func system(_ what: String, _ number: Int32, path: String?) -> LunetteError {
        let code: ErrorCode =
            switch number {
            case ENOENT, ENOTDIR: .notFound
            case EACCES, EPERM, EROFS, ELOOP: .denied
            case EEXIST, ENOTEMPTY: .alreadyExists
            case ENOSPC, EDQUOT, ENOMEM, EMFILE, ENFILE: .resourceExhausted
            default: .io
            }
        return LunetteError(code, "\(what): \(String(cString: strerror(number)).lowercasedFirst)", path: path, errno: number)
    }
}

extension String {
    fileprivate var lowercasedFirst: String { prefix(1).lowercased() + dropFirst() }
}
