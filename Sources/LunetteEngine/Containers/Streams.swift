import LunetteLinux
import LunetteRuntime
import LunetteSpec

/// The caller's descriptors by what they are for: `stdio` names them in the order in which they came.
struct Streams: Sendable {
    var stdin: FileDescriptor?
    var stdout: FileDescriptor?
    var stderr: FileDescriptor?
    /// The caller's terminal as it is now, for a container with a tty.
    var size: TerminalSize?

    init() {}

    var areGiven: Bool { stdin != nil || stdout != nil || stderr != nil }

    /// Reads `stdio` and duplicates the call's descriptors, which are the server's.
    init(_ arguments: inout FieldReader, _ call: Call) throws(LunetteError) {
        let names = try arguments.strings("stdio") ?? []
        guard names.count == call.files.count else {
            throw arguments.failure("stdio", "\(names.count) streams are named, and \(call.files.count) descriptors came with the call")
        }
        for (name, number) in zip(names, call.files) {
            let descriptor = try atBorder("take the caller's \(name)") { () throws(SystemCallError) in
                try FileDescriptor.duplicate(of: number)
            }
            switch name {
            case "stdin" where stdin == nil: stdin = descriptor
            case "stdout" where stdout == nil: stdout = descriptor
            case "stderr" where stderr == nil: stderr = descriptor
            default: throw arguments.failure("stdio", "\"\(displayable(name, limit: 40))\" is not stdin, stdout or stderr, or comes twice")
            }
        }
    }

    /// Closes our copies: the shim has its own, and the caller waits for the last writer to close.
    func close() {
        stdin?.close()
        stdout?.close()
        stderr?.close()
    }
}
