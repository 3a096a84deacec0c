internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// The seccomp programs of a sandbox.
enum SandboxFilter {
    /// - Throws: `invalid_argument` for a profile that is none.
    static func program(_ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) -> [UInt8] {
        switch spec.seccomp {
        case .unconfined: return []
        case .standard:
            return try SeccompCompiler(cacheDirectory: cacheDirectory(spec, facts)).program(.standard, capabilities: []).bytes
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

    /// Compiled filters are kept where only their owner writes; nil where a sandbox of these rules could change what the next one loads.
    private static func cacheDirectory(_ spec: SandboxSpec, _ facts: SandboxFacts) -> String? {
        if facts.uid == 0 { return "/var/lib/lunette/cache/seccomp" }
        let base = facts.environment["XDG_CACHE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? facts.home + "/.cache"
        let folder = base + "/lunette/seccomp"
        // Where it isn't there yet, the folder that it will be made in says where it is.
        guard base != "/.cache", let real = SandboxFactsReader.resolved(base) ?? SandboxFactsReader.resolved(facts.home) else { return nil }
        for rule in spec.allowWrite {
            if let found = facts.found[rule], ContainerPath.isWithin(real, found.path) || ContainerPath.isWithin(found.path, real) {
                return nil
            }
        }
        return folder
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
