internal import CLinux
internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// The seccomp programs of a sandbox.
enum SandboxFilter {
    /// - Throws: `invalid_argument` for a profile that is none.
    static func program(_ spec: SandboxSpec) throws(LunetteError) -> [UInt8] {
        var program = try profile(spec)
        // Unconfined, there is nothing that holds it.
        if geteuid() == 0, !program.isEmpty { program = SeccompCompiler.withoutSetUserID(program) }
        return spec.connectPorts == nil && spec.bindPorts == nil ? program : SeccompCompiler.holdingPorts(program)
    }

    private static func profile(_ spec: SandboxSpec) throws(LunetteError) -> [UInt8] {
        switch spec.seccomp {
        case .unconfined: return []
        case .standard:
            // Nothing of it is kept on disk: a sandbox that may write there would choose the filter of the next one.
            return try SeccompCompiler(cacheDirectory: nil).program(.standard, capabilities: []).bytes
        case .path(let path):
            let document: Value
            do throws(LunetteError) { document = try JSON.decode(try read(path), source: displayable(path)) } catch {
                var failure = error
                failure.path = "seccomp"
                throw failure
            }
            return try compile(document, notation: .json)
        case .profile(let value): return try compile(value, notation: .lua)
        }
    }

    private static func compile(_ value: Value, notation: Notation) throws(LunetteError) -> [UInt8] {
        try SeccompCompiler.compile(try SeccompProfile(value, path: "seccomp", notation: notation, dialect: .engine([])))
    }

    private static func read(_ path: String) throws(LunetteError) -> [UInt8] {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "/"
        do throws(SystemCallError) {
            return try Directory(folder).open(String(path.dropFirst(folder.count)), [.nonblocking], scope: []).readAll(limit: 1 << 20)
        } catch {
            throw LunetteError(
                errorCode(forErrno: error.errno), "read the profile \(displayable(path)): \(errnoText(error.errno))", path: "seccomp",
                errno: error.errno)
        }
    }

    /// Asks the listener about every call that takes a path, about connections and about what is sent to an address; of another ABI nothing is
    /// asked.
    static func listener() -> [UInt8] {
        let (notify, allow): (UInt32, UInt32) = (0x7fc0_0000, 0x7fff_0000)
        var count = 0
        let table = lnt_path_calls(&count)
        let (send, message) = (UInt32(LNT_INTENT_SEND.rawValue), UInt32(LNT_INTENT_SEND_MESSAGE.rawValue))
        func numbers(_ isWanted: (UInt32) -> Bool) -> [UInt32] {
            Set((0..<count).filter { isWanted(UInt32(table![$0].intent)) }.map { UInt32(bitPattern: table![$0].number) }).sorted()
        }
        let always = numbers { $0 != send && $0 != message }
        // From the end of what comes before them.
        let (toAllow, toNotify) = (UInt8(always.count), UInt8(always.count + 1))
        typealias Code = BPFInstruction.Code
        var program: [BPFInstruction] = [
            BPFInstruction(code: Code.loadWord, operand: 4),
            BPFInstruction(code: Code.jumpEqual, jumpFalse: toAllow + 9, operand: SeccompABI.native.auditArchitecture),
            BPFInstruction(code: Code.loadWord, operand: 0),
            // send(2) is a sendto(2) without address, both halves of the fifth argument: not worth the way.
            BPFInstruction(code: Code.jumpEqual, jumpFalse: 4, operand: numbers { $0 == send }[0]),
            BPFInstruction(code: Code.loadWord, operand: 48), BPFInstruction(code: Code.jumpEqual, jumpFalse: toNotify + 5, operand: 0),
            BPFInstruction(code: Code.loadWord, operand: 52),
            BPFInstruction(code: Code.jumpEqual, jumpTrue: toAllow + 3, jumpFalse: toNotify + 3, operand: 0),
            // The shim sends the listener itself with MSG_CONFIRM in the third (`Attended.listen`).
            BPFInstruction(code: Code.jumpEqual, jumpFalse: 2, operand: numbers { $0 == message }[0]),
            BPFInstruction(code: Code.loadWord, operand: 32),
            BPFInstruction(code: Code.jumpSet, jumpTrue: toAllow, jumpFalse: toNotify, operand: 0x800),
        ]
        for (index, number) in always.enumerated() {
            program.append(BPFInstruction(code: Code.jumpEqual, jumpTrue: UInt8(always.count - index), operand: number))
        }
        program.append(BPFInstruction(code: Code.return, operand: allow))
        program.append(BPFInstruction(code: Code.return, operand: notify))
        return BPFInstruction.encode(program)
    }
}
