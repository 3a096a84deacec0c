internal import CLinux
package import LunetteLinux
package import LunetteSpec

/// Reads a container's log with the contract's options.
package struct LogReader: Sendable {
    private let directory: Directory
    private let options: LogOptions
    /// Comes when no more will be written.
    private let ended: OneShot<Void>

    /// - Parameter ended: fulfilled already for a container that doesn't run; only `follow` asks.
    package init(_ directory: Directory, _ options: LogOptions, ended: OneShot<Void>) {
        self.directory = directory
        self.options = options
        self.ended = ended
    }

    /// - Parameter onEntry: gets each entry in order; its throw ends the reading and is thrown on.
    /// - Throws: `cancelled`, `io`, and what `onEntry` throws.
    package func read(_ onEntry: @Sendable (LogEntry) async throws(LunetteError) -> Void) async throws(LunetteError) {
        // Watched before the first read, so that nothing written in between goes unnoticed.
        let notifier = options.follow ? try atBorder("follow the log", { () throws(SystemCallError) in try watchDirectory() }) : nil
        var cursor = LogCursor(directory, joins: !options.pieces)
        let since = options.since.map(Timestamp.text)
        var last = options.tail.map { Tail(limit: max(0, $0)) }
        while true {
            // The order matters: "ended" known before an empty read means that nothing is left.
            let isOver = !options.follow || ended.known != nil
            if Task.isCancelled { throw LunetteError(.cancelled, "reading the log was cancelled") }
            let before = cursor
            let (after, found) = try await blocking { () throws(LunetteError) in
                var cursor = before
                let entries = try atBorder("read the log", { () throws(SystemCallError) in try cursor.next() })
                return (cursor, entries)
            }
            cursor = after
            var entries = found
            if cursor.isAtEnd, isOver { entries += cursor.flush() }
            for entry in entries where wanted(entry, since) {
                if last != nil { last?.append(entry) } else { try await onEntry(entry) }
            }
            guard cursor.isAtEnd else { continue }
            if let tail = last {
                last = nil
                for entry in tail.entries { try await onEntry(entry) }
            }
            if isOver { return }
            if let notifier { try await waitForNews(notifier) }
        }
    }

    private func wanted(_ entry: LogEntry, _ since: String?) -> Bool {
        guard entry.stream == .stdout ? options.stdout : options.stderr else { return false }
        return since.map { entry.timestamp >= $0 } ?? true
    }

    private func watchDirectory() throws(SystemCallError) -> FileDescriptor {
        let notifier = FileDescriptor(owning: try check(lnt_host_inotify(), "inotify_init1"))
        let modifyCreateMovedTo: UInt32 = 0x2 | 0x100 | 0x80
        try check(
            lnt_host_inotify_add(notifier.number, "/proc/self/fd/\(directory.descriptor.number)", modifyCreateMovedTo), "inotify_add_watch",
            directory.label)
        return notifier
    }

    private func waitForNews(_ notifier: FileDescriptor) async throws(LunetteError) {
        let news = OneShot<Void>()
        let watch = try atBorder(
            "follow the log",
            { () throws(SystemCallError) in
                try Poller.shared.watch(notifier, .readable, once: true) { _ in news.fulfil(()) }
            })
        let end = Task { [ended] in if await ended.valueUnlessCancelled() != nil { news.fulfil(()) } }
        let came: Void? = await news.valueUnlessCancelled()
        end.cancel()
        watch.cancel()
        if came == nil { throw LunetteError(.cancelled, "following the log was cancelled") }
        // Drained, or it would wake us for ever; what the events say doesn't matter.
        while true {
            var buffer = [UInt8](repeating: 0, count: 4096)
            if lnt_host_read(notifier.number, &buffer, buffer.count) <= 0 { break }
        }
    }
}

/// The last n entries of a stream.
private struct Tail {
    private let limit: Int
    private var ring: [LogEntry] = []
    private var start = 0
    init(limit: Int) { self.limit = limit }

    mutating func append(_ entry: LogEntry) {
        if limit == 0 { return }
        if ring.count < limit {
            ring.append(entry)
        } else {
            ring[start] = entry
            start = (start + 1) % limit
        }
    }

    var entries: [LogEntry] { Array(ring[start...] + ring[..<start]) }
}
