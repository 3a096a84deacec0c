import CLinux

/// One output of a program (the container's or an exec's) on its way to the log and to whoever is attached.
struct Stream {
    var isUsed = false
    var fd: Int32 = -1
    /// 0 = the container's program, else an exec's number.
    var process: UInt32 = 0
    /// 1 = stdout (or the terminal), 2 = stderr.
    var which: UInt32 = 0
    var isLogged = false
    /// The program has ended: what is there is handed over, then the sinks are closed.
    var isEnding = false
    /// What was read last and not every sink has yet.
    var chunk: UnsafeMutableRawPointer?
    var length = 0
}

/// Where a stream's bytes go besides the log.
struct Sink {
    var isUsed = false
    var fd: Int32 = -1
    var stream: Int32 = 0
    var position = 0
    /// The program waits for it.
    var hasBackPressure = false
    var isSocket = false
    /// A terminal: may lag for a moment without being dropped.
    var isTerminal = false
    var stalledSince: UInt64 = 0
    /// Of the ATTACH that brought it.
    var key = Execs.Key()
}

/// A client's input on its way to a program's stdin.
struct Input {
    var isUsed = false
    var source: Int32 = -1
    var destination: Int32 = -1
    var process: UInt32 = 0
    var keepsOpen = false
    var memory: UnsafeMutableRawPointer?
    var length = 0
    var position = 0
    var key = Execs.Key()
}

/// Relays bytes between programs and clients. Nothing here blocks: a descriptor that can't take or give is polled.
struct Relay {
    static let streamLimit = 2 + 2 * Int(LNT_EXECS)
    static let sinkLimit = 192
    static let inputLimit = 1 + Int(LNT_EXECS)
    static let chunkSize = 8192
    /// How long a terminal that was attached later may hold a program up.
    static let patience: UInt64 = 2_000_000_000

    let streams: UnsafeMutablePointer<Stream>
    let sinks: UnsafeMutablePointer<Sink>
    let inputs: UnsafeMutablePointer<Input>
    /// One above the highest entry ever used, so that untouched pages stay untouched.
    var (streamCount, sinkCount, inputCount) = (0, 0, 0)

    init() throws(Failure) {
        let sizes = (
            Self.streamLimit * MemoryLayout<Stream>.stride, Self.sinkLimit * MemoryLayout<Sink>.stride,
            Self.inputLimit * MemoryLayout<Input>.stride
        )
        // Zero bytes are an unused entry.
        guard let memory = lnt_map_anonymous(sizes.0 + sizes.1 + sizes.2) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        streams = memory.assumingMemoryBound(to: Stream.self)
        sinks = (memory + sizes.0).assumingMemoryBound(to: Sink.self)
        inputs = (memory + sizes.0 + sizes.1).assumingMemoryBound(to: Input.self)
    }

    /// Takes a program's output over. The descriptor becomes non-blocking and the relay's own.
    mutating func add(_ fd: Int32, process: UInt32, which: UInt32, isLogged: Bool) -> Bool {
        for index in 0..<Self.streamLimit where !streams[index].isUsed {
            _ = lnt_set_nonblocking(fd, 1)
            streams[index] = Stream(isUsed: true, fd: fd, process: process, which: which, isLogged: isLogged)
            streamCount = max(streamCount, index + 1)
            return true
        }
        return false
    }

    private func stream(_ process: UInt32, _ which: UInt32) -> Int? {
        for index in 0..<streamCount where streams[index].isUsed && streams[index].process == process && streams[index].which == which {
            return index
        }
        return nil
    }

    /// Attaches a client's descriptor to an output; it is closed when there is none.
    mutating func attach(_ fd: Int32, process: UInt32, which: UInt32, hasBackPressure: Bool, key: Execs.Key) {
        guard let stream = stream(process, which) else {
            _ = lnt_close(fd)
            return
        }
        // A client whose engine died asks again through the next one, with the same pipe: it has it all already.
        for index in 0..<sinkCount where sinks[index].isUsed && sinks[index].stream == Int32(stream) && isSame(sinks[index].fd, fd) {
            sinks[index].key = key
            _ = lnt_close(fd)
            return
        }
        for index in 0..<Self.sinkLimit where !sinks[index].isUsed {
            var sink = Sink(isUsed: true, fd: fd, stream: Int32(stream), position: streams[stream].length, hasBackPressure: hasBackPressure)
            sink.key = key
            var status = lnt_file_status()
            if lnt_fstat(fd, &status) == 0 {
                let kind = status.mode & UInt32(LNT_S_IFMT)
                sink.isSocket = kind == UInt32(LNT_S_IFSOCK)
                sink.isTerminal = kind == UInt32(LNT_S_IFCHR)
                if kind == UInt32(LNT_S_IFIFO) || kind == UInt32(LNT_S_IFCHR) {
                    // A description of our own, so that O_NONBLOCK doesn't change the client's.
                    let own = reopen(fd, Int32(LNT_O_WRONLY))
                    if own >= 0 {
                        _ = lnt_close(fd)
                        sink.fd = own
                    }
                }
                // Room for a lagging reader is in the kernel, not here.
                if kind == UInt32(LNT_S_IFIFO), !hasBackPressure { _ = lnt_set_pipe_size(sink.fd, 1 << 20) }
            }
            sinks[index] = sink
            sinkCount = max(sinkCount, index + 1)
            return
        }
        _ = lnt_close(fd)
    }

    private func isSame(_ left: Int32, _ right: Int32) -> Bool {
        var (first, second) = (lnt_file_status(), lnt_file_status())
        guard lnt_fstat(left, &first) == 0, lnt_fstat(right, &second) == 0 else { return false }
        return first.mode & UInt32(LNT_S_IFMT) == UInt32(LNT_S_IFIFO) && first.inode == second.inode && first.device == second.device
    }

    private func reopen(_ fd: Int32, _ access: Int32) -> Int32 {
        withUnsafeTemporaryAllocation(byteCount: 32, alignment: 8) { bytes in
            var path = TextBuffer(bytes.baseAddress!, capacity: 31)
            path.append("/proc/self/fd/")
            path.append(UInt64(fd))
            return lnt_open(path.terminate(), access | Int32(LNT_O_NONBLOCK) | Int32(LNT_O_NOCTTY), 0)
        }
    }

    /// Feeds a program's stdin from a client's descriptor. `destination` becomes the relay's own unless a relay feeds it already.
    mutating func feed(_ given: Int32, to destination: Int32, process: UInt32, keepsOpen: Bool, key: Execs.Key) {
        for index in 0..<inputCount where inputs[index].isUsed && inputs[index].process == process && isSame(inputs[index].source, given) {
            inputs[index].key = key
            _ = lnt_close(given)
            return
        }
        var source = given
        var status = lnt_file_status()
        let kind = lnt_fstat(given, &status) == 0 ? status.mode & UInt32(LNT_S_IFMT) : 0
        if kind == UInt32(LNT_S_IFIFO) || kind == UInt32(LNT_S_IFCHR) {
            // A description of our own that never blocks: who else reads the same pipe may have taken what poll saw.
            let own = reopen(given, Int32(LNT_O_RDONLY))
            if own >= 0 {
                _ = lnt_close(given)
                source = own
            }
        }
        for index in 0..<Self.inputLimit where !inputs[index].isUsed {
            inputs[index] = Input(
                isUsed: true, source: source, destination: destination, process: process, keepsOpen: keepsOpen, key: key)
            inputCount = max(inputCount, index + 1)
            return
        }
        _ = lnt_close(source)
    }

    /// Lets go what a client brought that has left. The program's stdin stays as it is.
    mutating func detach(_ process: UInt32, _ key: Execs.Key) {
        for index in 0..<sinkCount
        where sinks[index].isUsed && streams[Int(sinks[index].stream)].process == process && sinks[index].key.matches(key) {
            release(index)
        }
        for index in 0..<inputCount where inputs[index].isUsed && inputs[index].process == process && inputs[index].key.matches(key) {
            endInput(index, closesProgram: false)
        }
    }

    /// Drops a sink that has all there was.
    mutating func release(_ index: Int) {
        _ = lnt_close(sinks[index].fd)
        sinks[index].isUsed = false
    }

    /// Moves what can be moved from a stream to the log and its sinks. `dropped` is called with the number of a sink that is given up.
    mutating func pump(_ index: Int, log: UnsafeMutablePointer<LogFile>?, dropped: (UInt32, UInt32) -> Void) {
        var rounds = 0
        while streams[index].isUsed {
            if !deliver(index, dropped: dropped) { return }
            streams[index].length = 0
            // A flood on one stream leaves the others and the control socket their turn, except at the end, when everything is taken.
            rounds += 1
            if rounds > 16, !streams[index].isEnding { return }
            if streams[index].chunk == nil { streams[index].chunk = lnt_map_anonymous(Self.chunkSize) }
            guard let chunk = streams[index].chunk else { return }
            let count = lnt_read(streams[index].fd, chunk, Self.chunkSize)
            if count == -Int(LNT_EAGAIN) {
                // An exec's children may hold its output for ever; its sinks end with it all the same.
                if streams[index].isEnding { closeSinks(index) }
                return
            }
            guard count > 0 else {
                // The end, or EIO: the last user of the terminal closed it.
                close(index, log: log)
                return
            }
            streams[index].length = count
            for sink in 0..<sinkCount where sinks[sink].isUsed && sinks[sink].stream == Int32(index) { sinks[sink].position = 0 }
            if streams[index].isLogged, let log {
                log.pointee.append(streams[index].which, chunk.assumingMemoryBound(to: UInt8.self), count)
            }
        }
    }

    /// Offers the chunk to every sink; false while one with a right to wait hasn't all of it.
    private mutating func deliver(_ index: Int, dropped: (UInt32, UInt32) -> Void) -> Bool {
        let length = streams[index].length
        guard length > 0, let chunk = streams[index].chunk else { return true }
        var isDone = true
        for number in 0..<sinkCount where sinks[number].isUsed && sinks[number].stream == Int32(index) {
            while sinks[number].position < length {
                let rest = length - sinks[number].position
                let from = chunk + sinks[number].position
                let written =
                    sinks[number].isSocket ? Int(lnt_send_socket(sinks[number].fd, from, rest)) : lnt_write(sinks[number].fd, from, rest)
                if written > 0 {
                    sinks[number].position += written
                    sinks[number].stalledSince = 0
                    continue
                }
                if written == -Int(LNT_EAGAIN) {
                    if sinks[number].hasBackPressure {
                        isDone = false
                        break
                    }
                    let now = lnt_clock_monotonic()
                    if sinks[number].stalledSince == 0 { sinks[number].stalledSince = now }
                    if sinks[number].isTerminal, now - sinks[number].stalledSince < Self.patience {
                        isDone = false
                        break
                    }
                }
                release(number)
                dropped(streams[index].process, streams[index].which)
                break
            }
        }
        return isDone
    }

    private mutating func closeSinks(_ index: Int) {
        for number in 0..<sinkCount where sinks[number].isUsed && sinks[number].stream == Int32(index) { release(number) }
    }

    private mutating func close(_ index: Int, log: UnsafeMutablePointer<LogFile>?) {
        if streams[index].isLogged, let log { log.pointee.end(streams[index].which) }
        closeSinks(index)
        // A terminal takes input by the same number, which is anybody's from the next line on.
        for input in 0..<inputCount where inputs[input].isUsed && inputs[input].destination == streams[index].fd {
            endInput(input, closesProgram: false)
        }
        _ = lnt_close(streams[index].fd)
        if let chunk = streams[index].chunk { _ = lnt_unmap(chunk, Self.chunkSize) }
        streams[index] = Stream()
        while streamCount > 0, !streams[streamCount - 1].isUsed { streamCount -= 1 }
    }

    /// Moves input from a client to a program.
    mutating func pumpInput(_ index: Int) {
        if inputs[index].memory == nil { inputs[index].memory = lnt_map_anonymous(4096) }
        guard let memory = inputs[index].memory else { return }
        if inputs[index].position == inputs[index].length {
            let count = lnt_read(inputs[index].source, memory, 4096)
            if count == -Int(LNT_EAGAIN) { return }
            guard count > 0 else {
                endInput(index, closesProgram: !inputs[index].keepsOpen)
                return
            }
            inputs[index].length = count
            inputs[index].position = 0
        }
        let written = lnt_write(inputs[index].destination, memory + inputs[index].position, inputs[index].length - inputs[index].position)
        if written > 0 {
            inputs[index].position += written
        } else if written != -Int(LNT_EAGAIN) {
            endInput(index, closesProgram: true)
        }
    }

    /// What the program's stdin was closed with is told by `closedInput`.
    var closedInput: UInt32 = UInt32.max

    mutating func endInput(_ index: Int, closesProgram: Bool) {
        _ = lnt_close(inputs[index].source)
        if let memory = inputs[index].memory { _ = lnt_unmap(memory, 4096) }
        if closesProgram { closedInput = inputs[index].process }
        inputs[index] = Input()
    }

    mutating func endInputs(of process: UInt32) {
        for index in 0..<inputCount where inputs[index].isUsed && inputs[index].process == process { endInput(index, closesProgram: false) }
    }

    /// Hands over what an ended program has written; true when nothing is kept up by a sink.
    mutating func finish(_ process: UInt32, log: UnsafeMutablePointer<LogFile>?, dropped: (UInt32, UInt32) -> Void) -> Bool {
        var isDone = true
        for index in 0..<streamCount where streams[index].isUsed && streams[index].process == process {
            streams[index].isEnding = true
            pump(index, log: log, dropped: dropped)
            if index < streamCount, streams[index].isUsed, streams[index].length > 0 { isDone = false }
        }
        return isDone
    }

    /// Whether that output is still read. A terminal is closed when its last user has closed it, and then its number means something else.
    func reads(_ fd: Int32, of process: UInt32) -> Bool {
        for index in 0..<streamCount where streams[index].isUsed && streams[index].fd == fd && streams[index].process == process {
            return true
        }
        return false
    }

    /// Nothing of the process's output is left to read.
    func isFinished(_ process: UInt32) -> Bool {
        for index in 0..<streamCount where streams[index].isUsed && streams[index].process == process { return false }
        return true
    }

    /// Ends what is left, at the shim's end.
    mutating func closeAll(log: UnsafeMutablePointer<LogFile>?) {
        for index in 0..<Self.streamLimit where index < streamCount && streams[index].isUsed { close(index, log: log) }
    }
}
