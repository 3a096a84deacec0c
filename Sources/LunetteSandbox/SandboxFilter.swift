internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// The seccomp programs of a sandbox.
enum SandboxFilter {
    /// - Throws: `invalid_argument` for a profile that is none.
    static func program(_ spec: SandboxSpec) throws(LunetteError) -> [UInt8] {
        let program = try profile(spec)
        return spec.connectPorts == nil && spec.bindPorts == nil ? program : SeccompCompiler.holdingPorts(program)
    }

    private static func profile(_ spec: SandboxSpec) throws(LunetteError) -> [UInt8] {
        switch spec.seccomp {
        case .unconfined: return []
        case .standard:
            // Nothing of it is kept on disk: a sandbox that may write there would choose the filter of the next one.
            return try SeccompCompiler(cacheDirectory: nil).program(.standard, capabilities: []).bytes
        case .path(let path): return try compile(try JSON.decode(try read(path), source: displayable(path)), firstIndex: 0)
        case .profile(let value): return try compile(value, firstIndex: 1)
        }
    }

    private static func compile(_ value: Value, firstIndex: Int) throws(LunetteError) -> [UInt8] {
        try SeccompCompiler.compile(try SeccompProfile(value, path: "seccomp", firstIndex: firstIndex, dialect: .engine([])))
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

    /// Asks the listener about every call that takes a path, and about connections; of another ABI nothing is asked.
    static func listener() -> [UInt8] {
        let (notify, allow): (UInt32, UInt32) = (0x7fc0_0000, 0x7fff_0000)
        var count = 0
        let table = lnt_path_calls(&count)
        let numbers = Set((0..<count).map { UInt32(bitPattern: table![$0].number) }).sorted()
        typealias Code = BPFInstruction.Code
        var program: [BPFInstruction] = [
            BPFInstruction(code: Code.loadWord, operand: 4),
            BPFInstruction(code: Code.jumpEqual, jumpFalse: UInt8(numbers.count + 1), operand: SeccompABI.native.auditArchitecture),
            BPFInstruction(code: Code.loadWord, operand: 0),
        ]
        for (index, number) in numbers.enumerated() {
            program.append(BPFInstruction(code: Code.jumpEqual, jumpTrue: UInt8(numbers.count - index), operand: number))
        }
        program.append(BPFInstruction(code: Code.return, operand: allow))
        program.append(BPFInstruction(code: Code.return, operand: notify))
        return BPFInstruction.encode(program)
    }
}
