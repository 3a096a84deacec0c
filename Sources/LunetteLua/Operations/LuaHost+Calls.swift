internal import Glibc
internal import LunetteAPI
internal import LunetteLinux
internal import LunetteSpec

/// A call under way in a Swift task.
struct TaskOperation: Cancellable {
    let task: Task<Void, Never>
    func cancel() { task.cancel() }
}

extension LuaHost {
    /// Checks a call against the registry and makes its request; nothing is sent yet.
    private func request(
        _ name: String, _ given: Value, _ source: Value, _ line: Value, _ cause: Value
    ) throws(LunetteError) -> (APIFunction, APIRequest) {
        guard let function = APIRegistry.function(name), function.place == .engine else {
            throw LunetteError(.internal, "\(name) is not a function of the API")
        }
        if isReadOnly { try ReadOnly.check(function, given) }
        if let permissions = options.permissions {
            guard let wanted = function.permission ?? Optional("api:\(name)"), permissions.contains(wanted) else {
                throw LunetteError(.denied, "\(name) is not among what this code may call", hint: options.grantHint?(name))
            }
        }
        // An empty Lua table is both an empty list and an empty map.
        let arguments = given.mapValue == nil ? Value.map([:]) : given
        try APIRegistry.check(arguments, for: function)
        let actor = Actor(
            uid: getuid(), gid: getgid(), pid: getpid(), script: source.stringValue ?? options.script,
            line: line.intValue.map { Int($0) })
        let request = APIRequest(
            id: randomIdentifier(bytes: 16), function: name,
            arguments: APIRegistry.withAbsolutePaths(arguments, for: function, directory: options.directory), actor: actor,
            cause: cause.arrayValue?.compactMap(\.stringValue) ?? [])
        return (function, request)
    }

    /// `api`, name, arguments, source, line, cause → waits for the result.
    func startCall(_ arguments: Arguments) throws(LunetteError) -> LuaState.Answer {
        let (function, request) = try request(arguments.text(0), arguments[1], arguments[2], arguments[3], arguments[4])
        if let standIn = dryRun?.answer(function, request.arguments) { return .results([standIn]) }
        let hold = try holdCall()
        let streams = try ProcessStreams(for: function, request, directory: options.directory, onChunk: nil)
        let token = newToken()
        let session = session
        let mailbox = mailbox
        let task = Task {
            let result = await performCall(request, streams, session, onChunk: nil)
            // Encoded here, so that a big result costs the Lua thread nothing but its own part.
            let bytes: [UInt8]
            var isError = false
            switch result {
            case .success(let value): bytes = MessagePack.encode(.array([value]))
            case .failure(let error):
                isError = true
                bytes = MessagePack.encode(error.value)
            }
            let failed = isError
            mailbox.post { host in
                // Until here, also of a call that was cancelled.
                withExtendedLifetime(hold) { host.inFlight[token] = nil }
                host.deliverBytes(token, isError: failed, bytes)
            }
        }
        inFlight[token] = TaskOperation(task: task)
        return .await(token)
    }

    /// `stream`, id, name, arguments, source, line, cause → chunks come as `chunk`, the result as `end`.
    func startStream(_ arguments: Arguments) throws(LunetteError) -> LuaState.Answer {
        let id = arguments[0].intValue ?? 0
        let (function, request) = try request(arguments.text(1), arguments[2], arguments[3], arguments[4], arguments[5])
        let session = session
        let mailbox = mailbox
        if let standIn = dryRun?.answer(function, request.arguments) {
            // Once its reader waits: the end comes as it would from the engine.
            mailbox.post { host in host.deliver(id, .success(.array(["end", standIn]))) }
            return .results([])
        }
        let hold = try holdCall(CallBudget.stream)
        let control = StreamControl(window: 64)
        @Sendable func send(_ chunk: Value) {
            let bytes = MessagePack.encode(.array(["chunk", chunk]))
            mailbox.post { host in host.deliverBytes(id, isError: false, bytes) }
        }
        let streams = try ProcessStreams(for: function, request, directory: options.directory) { chunk in
            control.waitBlocking()
            send(chunk)
        }
        let task = Task {
            let result = await performCall(request, streams, session) { (chunk) async throws(LunetteError) in
                await control.wait()
                if Task.isCancelled { throw LunetteError(.cancelled, "the stream was closed") }
                send(chunk)
            }
            mailbox.post { host in
                let isOurs = withExtendedLifetime(hold) { host.inFlight.removeValue(forKey: id) != nil }
                guard isOurs else { return }
                host.deliver(id, result.map { .array(["end", $0]) })
            }
        }
        control.task = task
        inFlight[id] = control
        return .results([])
    }
}

private func performCall(
    _ request: APIRequest, _ streams: ProcessStreams?, _ source: SessionSource,
    onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)?
) async -> Result<Value, LunetteError> {
    do throws(LunetteError) {
        let session = try await source.session()
        guard let streams else { return .success(try await session.call(request, files: [], onChunk: onChunk)) }
        var request = request
        request.arguments = streams.arguments
        let result: Value
        do throws(LunetteError) {
            result = try await session.call(request, files: streams.files, onChunk: onChunk)
        } catch {
            _ = await streams.finishCounted()
            throw error
        }
        return .success(await streams.finishCounted().merged(into: result))
    } catch {
        return .failure(error)
    }
}

extension ProcessStreams {
    /// As `finish`, which waits for what a process that has ended wrote: that comes by itself.
    fileprivate func finishCounted() async -> Output {
        Activity.shared.begin()
        defer { Activity.shared.end() }
        return await finish()
    }
}

/// How many chunks a stream may send before its reader has taken some.
// SAFETY: every field is only touched under `mutex`; `task` is set once before anything can cancel.
final class StreamControl: Cancellable, @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var credit: Int
    private var isCancelled = false
    private var waiters: [CheckedContinuation<Void, Never>] = []
    var task: Task<Void, Never>?
    /// Cancelled with it, where no task is.
    var ended: (any Cancellable)?

    init(window: Int) {
        credit = window
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    private func locked<T>(_ body: () -> T) -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    func add(_ count: Int) {
        let woken = locked {
            credit += count
            let number = min(credit, waiters.count)
            let woken = Array(waiters.prefix(number))
            waiters.removeFirst(number)
            credit -= number
            pthread_cond_broadcast(condition)
            return woken
        }
        for waiter in woken { waiter.resume() }
    }

    /// Waits until one more chunk may be sent; at once when the stream was cancelled.
    func wait() async {
        await withCheckedContinuation { continuation in
            let isFree = locked {
                if isCancelled { return true }
                if credit > 0 {
                    credit -= 1
                    return true
                }
                waiters.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    /// As `wait`, for a thread that may block.
    func waitBlocking() {
        locked {
            while credit == 0, !isCancelled { pthread_cond_wait(condition, mutex) }
            if credit > 0 { credit -= 1 }
        }
    }

    func cancel() {
        let woken = locked {
            isCancelled = true
            pthread_cond_broadcast(condition)
            defer { waiters = [] }
            return waiters
        }
        for waiter in woken { waiter.resume() }
        task?.cancel()
        ended?.cancel()
    }
}
