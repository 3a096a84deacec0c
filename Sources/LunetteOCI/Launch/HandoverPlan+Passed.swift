internal import LunetteLinux
internal import LunetteSpec

extension HandoverPlan {
    /// Appends what is passed to the shim for the program's sake, and says where it stands.
    init(_ terminal: TerminalOwner, _ preserved: Int, newKeyring: Bool, passed: inout [FileDescriptor]) throws(LunetteError) {
        var console: Int?
        if case .socket(let socket) = terminal {
            console = passed.count
            passed.append(socket.descriptor)
        }
        let first = passed.count
        for number in 0..<preserved {
            passed.append(
                try atBorder("pass descriptor \(3 + number)", { () throws(SystemCallError) in try .duplicate(of: Int32(3 + number)) }))
        }
        self.init(console: console, preserved: first..<first + preserved, newKeyring: newKeyring)
    }
}
