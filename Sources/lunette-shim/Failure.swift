import CLinux

/// A C string that outlives its use: in the mapped plan, or a literal.
typealias Text = UnsafePointer<CChar>

/// Why a step of the plan could not be done; becomes the error that the user sees.
// SAFETY: the texts lie in the mapped plan or are literals, and there is one thread.
struct Failure: Error, @unchecked Sendable {
    var step: UInt32
    var index: UInt32
    var call: StaticString
    var errno: Int32
    var path: Text?
}

/// The record that is being executed, so that a failing call needn't be told.
// SAFETY: the shim and everything it clones are single-threaded.
nonisolated(unsafe) var currentStep: UInt32 = UInt32(LNT_SET_UP.rawValue)
// SAFETY: as above.
nonisolated(unsafe) var currentIndex: UInt32 = 0

/// Passes a result >= 0 through and turns -errno into a failure of the current step.
@discardableResult
func check(_ result: Int32, _ call: StaticString, _ path: Text? = nil) throws(Failure) -> Int32 {
    guard result < 0 else { return result }
    throw failure(call, errno: -result, path)
}

func failure(_ call: StaticString, errno: Int32, _ path: Text? = nil) -> Failure {
    Failure(step: currentStep, index: currentIndex, call: call, errno: errno, path: path)
}

/// What ended before the program could run, from its raw wait status: the "errno" is then a signal or an exit code.
func earlyEnd(of what: StaticString, _ raw: Int32?, outOfMemory: Bool = false) -> Failure {
    (currentStep, currentIndex) = (LNT_SET_UP.rawValue, 0)
    guard let raw else { return failure("wait", errno: Int32(LNT_ECHILD), literal(what)) }
    let signal = raw & 0x7f
    if signal == 0 { return failure("exited", errno: (raw >> 8) & 0xff, literal(what)) }
    return failure(outOfMemory ? "out of memory" : "killed", errno: signal, literal(what))
}

/// The bytes of a literal; the compiler ends them with NUL.
func literal(_ text: StaticString) -> Text { UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self) }

extension Failure {
    /// Fills the wire form; a long path keeps its end, which says more.
    func record(type: lnt_message_type, id: UInt32, process: UInt32) -> lnt_failure {
        var out = lnt_failure()
        out.message.type = type.rawValue
        out.message.id = id
        out.step = step
        out.index = index
        out.error = errno
        out.process = process
        withUnsafeMutableBytes(of: &out.call) { into in
            let count = min(call.utf8CodeUnitCount, into.count - 1)
            into.baseAddress!.copyMemory(from: call.utf8Start, byteCount: count)
        }
        if let path {
            withUnsafeMutableBytes(of: &out.path) { into in
                let length = lnt_length(path)
                let count = min(length, into.count - 1)
                into.baseAddress!.copyMemory(from: path + (length - count), byteCount: count)
            }
        }
        return out
    }
}
