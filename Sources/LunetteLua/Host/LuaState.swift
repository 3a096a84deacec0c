internal import CLuaBridge
internal import LunetteLinux
internal import LunetteSpec

/// Owns one Lua state. Every function enters Lua protected; nothing here can be jumped over.
///
/// Not Sendable: it belongs to the thread that opened it.
final class LuaState {
    /// What a state may use; zero means no limit.
    struct Limits: Sendable {
        var memory = 0
        var instructions: UInt64 = 0
        var wallSeconds = 0.0
        /// No io, os, debug, package; text chunks only; bounded string and table functions.
        var isLimited = false
    }

    /// Answers Lua's calls.
    enum Answer {
        case results([Value])
        case failure(LunetteError)
        case await(Int64)
    }

    private var pointer: OpaquePointer
    /// Says to other threads since when Lua runs.
    let pulse: Pulse
    var onCall: ((Value) -> Answer)?
    var onPump: (() -> Bool)?

    /// - Parameters:
    ///   - pulse: tells other threads since when Lua runs.
    ///   - time: the clock of a test; nil: the system's.
    init(limits: Limits, pulse: Pulse = Pulse(), time: VirtualTime? = nil, countsLines: Bool = false) throws(LunetteError) {
        self.pulse = pulse
        var state: OpaquePointer?
        // The context is set below, when `self` exists; nothing calls back before the boot.
        let box = CallbackBox()
        var options = lnt_lua_options()
        options.context = Unmanaged.passUnretained(box).toOpaque()
        options.call = { context, input, length, out in
            let box = Unmanaged<CallbackBox>.fromOpaque(context!).takeUnretainedValue()
            return box.answer(UnsafeRawBufferPointer(start: input, count: length), out!)
        }
        options.pump = { context in
            Unmanaged<CallbackBox>.fromOpaque(context!).takeUnretainedValue().state?.onPump?() == true ? 0 : -1
        }
        if let time {
            box.time = time
            options.time = { context, isUnix in
                let time = Unmanaged<CallbackBox>.fromOpaque(context!).takeUnretainedValue().time!
                return isUnix ? time.now : time.monotonic
            }
        }
        options.memory_limit = limits.memory
        options.instruction_limit = limits.instructions
        options.wall_limit_nanoseconds = UInt64(limits.wallSeconds * 1e9)
        options.is_limited = limits.isLimited
        options.counts_lines = countsLines
        guard lnt_lua_open(&options, &state) == 0, let state else {
            throw LunetteError(.resourceExhausted, "open a Lua state: not enough memory")
        }
        self.pointer = state
        self.box = box
        box.state = self
        try boot()
    }

    private let box: CallbackBox

    deinit { lnt_lua_close(pointer) }

    private final class CallbackBox {
        weak var state: LuaState?
        var time: VirtualTime?

        func answer(_ input: UnsafeRawBufferPointer, _ out: UnsafeMutablePointer<lnt_bytes>) -> Int32 {
            let answer: Answer
            do throws(LunetteError) {
                let request = try MessagePack.decode(Array(input))
                answer = state?.onCall?(request) ?? .failure(LunetteError(.internal, "the Lua host is gone"))
            } catch {
                answer = .failure(error)
            }
            let (status, value): (Int, Value) =
                switch answer {
                case .results(let results): (LNT_LUA_OK, .array(results))
                case .failure(let error): (LNT_LUA_ERROR, error.value)
                case .await(let token): (LNT_LUA_AWAIT, .array([.int(token)]))
                }
            let bytes = MessagePack.encode(value)
            guard bytes.withUnsafeBytes({ lnt_bytes_append(out, $0.baseAddress, $0.count) }) == 0 else { return Int32(LNT_LUA_ERROR) }
            return Int32(status)
        }
    }

    private func boot() throws(LunetteError) {
        _ = try finish { lnt_lua_boot(pointer, "core", $0) }
    }

    private func finish(_ body: (UnsafeMutablePointer<lnt_bytes>) -> Int32) throws(LunetteError) -> [Value] {
        var out = lnt_bytes()
        pulse.begin()
        let status = body(&out)
        pulse.end()
        defer { lnt_bytes_free(&out) }
        let value = out.length == 0 ? .null : try MessagePack.decode(Array(UnsafeBufferPointer(start: out.data, count: out.length)))
        if status == LNT_LUA_OK { return value.arrayValue ?? [] }
        if case .map = value { throw LunetteError(value: value) }
        throw LunetteError(.scriptFailed, value.stringValue ?? "the Lua state failed")
    }

    /// Calls an entry of the stdlib.
    /// - Throws: what Lua raised.
    @discardableResult
    func enter(_ entry: String, _ argument: Value) throws(LunetteError) -> [Value] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(1024)
        MessagePack.append(argument, to: &bytes)
        return try finish { out in
            bytes.withUnsafeBytes { lnt_lua_enter(pointer, entry, $0.baseAddress, $0.count, out) }
        }
    }

    /// Wakes what waits for a token, with one MessagePack value: an array of results, or an error record.
    func deliver(_ token: Int64, isError: Bool, _ bytes: [UInt8]) throws(LunetteError) {
        _ = try finish { out in
            bytes.withUnsafeBytes {
                lnt_lua_deliver(pointer, token, Int32(isError ? LNT_LUA_ERROR : LNT_LUA_OK), $0.baseAddress, $0.count, out)
            }
        }
    }

    /// Collects all its garbage.
    func collect() { lnt_lua_collect(pointer) }

    /// Collects all its garbage, and gives back what the thread's stack holds unused: nothing runs here for a while.
    func rest() {
        collect()
        lnt_lua_release_stack()
    }

    /// Gives what is free in the process's heap back to the system.
    static func releaseHeap() { lnt_lua_release_heap() }

    var memory: Int { lnt_lua_memory(pointer) }

    /// Tells how often lines of files ran.
    func lines(_ tell: (_ file: String, _ line: Int, _ count: Int) -> Void) {
        withoutActuallyEscaping(tell) { tell in
            var tell = tell
            withUnsafeMutablePointer(to: &tell) { pointer in
                lnt_lua_lines(
                    self.pointer,
                    { context, source, line, count in
                        let tell = context!.assumingMemoryBound(to: ((String, Int, Int) -> Void).self)
                        tell.pointee(String(cString: source!), Int(line), Int(clamping: count))
                    }, pointer)
            }
        }
    }

    /// What the call that is being answered takes on this side of the border: its bytes, and more for each value.
    var callCost: Int { lnt_lua_call_cost(pointer) }

    /// A limit ended the stdlib's own scheduler in the middle: what it had taken up may never be answered.
    var isBroken: Bool { lnt_lua_is_broken(pointer) }

    /// Makes the code raise that runs, or that runs next; callable from any thread while the state is open.
    var interrupter: Interrupter { Interrupter(pointer: pointer) }

    /// Says that the interrupt was dealt with: what runs from now on is not meant.
    func forgetInterrupt() { lnt_lua_forget_interrupt(pointer) }

    // SAFETY: lnt_lua_interrupt takes the state's lock; the runner stops interrupting before it closes the state.
    struct Interrupter: @unchecked Sendable {
        fileprivate let pointer: OpaquePointer
        func interrupt() { lnt_lua_interrupt(pointer) }
    }
}
