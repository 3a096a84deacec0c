internal import CLinux
package import LunetteSpec

/// Says which system call failed, on what, and with which number; converted once, at the border, into a `LunetteError`.
package struct SystemCallError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The call (`openat2`), or what was tried in words (`make cgroup`).
    package var call: String
    package var target: String
    package var errno: Int32

    package init(_ call: String, _ target: String, errno: Int32) {
        self.call = call
        self.target = target
        self.errno = errno
    }

    package var description: String { "\(call)\(target.isEmpty ? "" : " \(target)"): \(errnoText(errno))" }

    /// The same failure as the API's error.
    package var lunette: LunetteError {
        LunetteError(
            errorCode(forErrno: errno), description, errno: errno,
            details: ["syscall": .string(call), "errno": .string(errnoName(errno)), "path": .string(target)]
        )
    }
}

/// Glibc's words for an error number, lower-case at the front as our messages are.
package func errnoText(_ number: Int32) -> String {
    let text = String(cString: lnt_host_errno_text(number))
    return text.prefix(1).lowercased() + text.dropFirst()
}

/// `ENOENT` for 2.
package func errnoName(_ number: Int32) -> String { String(cString: lnt_host_errno_name(number)) }

/// The API's code for a kernel error number.
package func errorCode(forErrno number: Int32) -> ErrorCode {
    switch number {
    case ErrorNumber.noEntry: .notFound
    case ErrorNumber.exists: .alreadyExists
    case ErrorNumber.permission, ErrorNumber.access, ErrorNumber.readOnly: .denied
    case ErrorNumber.noSpace, ErrorNumber.quota, ErrorNumber.noMemory, ErrorNumber.processFiles, ErrorNumber.systemFiles, ErrorNumber.again:
        .resourceExhausted
    case ErrorNumber.timedOut: .timeout
    case ErrorNumber.noSystemCall, ErrorNumber.notSupported: .unsupported
    case ErrorNumber.busy: .conflict
    default: .io
    }
}

/// Linux error numbers by name, so that nobody needs the C library's macros for a comparison.
package enum ErrorNumber {
    package static let permission: Int32 = 1
    package static let noEntry: Int32 = 2
    package static let noProcess: Int32 = 3
    package static let interrupted: Int32 = 4
    package static let inputOutput: Int32 = 5
    package static let tooBig: Int32 = 7
    package static let badDescriptor: Int32 = 9
    package static let noChild: Int32 = 10
    package static let again: Int32 = 11
    package static let noMemory: Int32 = 12
    package static let access: Int32 = 13
    package static let busy: Int32 = 16
    package static let exists: Int32 = 17
    package static let crossDevice: Int32 = 18
    package static let noDevice: Int32 = 19
    package static let notDirectory: Int32 = 20
    package static let isDirectory: Int32 = 21
    package static let invalid: Int32 = 22
    package static let systemFiles: Int32 = 23
    package static let processFiles: Int32 = 24
    package static let noSpace: Int32 = 28
    package static let readOnly: Int32 = 30
    package static let brokenPipe: Int32 = 32
    package static let nameTooLong: Int32 = 36
    package static let noSystemCall: Int32 = 38
    package static let notEmpty: Int32 = 39
    package static let loop: Int32 = 40
    package static let notSupported: Int32 = 95
    package static let connectionReset: Int32 = 104
    package static let timedOut: Int32 = 110
    package static let connectionRefused: Int32 = 111
    package static let stale: Int32 = 116
    package static let quota: Int32 = 122
}

/// Turns a wrapper's `-errno` into a throw, anything else into the value.
@discardableResult
package func check(_ result: Int32, _ call: String, _ target: @autoclosure () -> String = "") throws(SystemCallError) -> Int32 {
    if result < 0 { throw SystemCallError(call, target(), errno: -result) }
    return result
}

@discardableResult
package func check(_ result: Int, _ call: String, _ target: @autoclosure () -> String = "") throws(SystemCallError) -> Int {
    if result < 0 { throw SystemCallError(call, target(), errno: Int32(-result)) }
    return result
}

/// Runs kernel work and converts its failure at the border.
/// - Parameter what: what was tried, put before the call ("read log of c1"); nil keeps the call's own words.
package func atBorder<T>(_ what: String? = nil, _ body: () throws(SystemCallError) -> T) throws(LunetteError) -> T {
    do throws(SystemCallError) { return try body() } catch {
        var failure = error.lunette
        if let what { failure.message = "\(what): \(failure.message)" }
        throw failure
    }
}
