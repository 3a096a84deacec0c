internal import CLinux
internal import CSeccomp
package import LunetteSpec
internal import Synchronization

/// A compiled seccomp filter, ready for the kernel.
package struct SeccompProgram: Sendable, Hashable {
    /// `struct sock_filter[]`; empty means no filter.
    package var bytes: [UInt8]
    /// SECCOMP_FILTER_FLAG_*.
    package var flags: UInt64

    package static let none = SeccompProgram(bytes: [], flags: 0)
}

/// Turns profiles into programs, through libseccomp, for the machine's own ABI; keeps what it made, in memory and on disk.
///
/// A process of another ABI (32-bit, x32) is killed with SIGSYS at its first call: a list of one ABI's numbers means nothing for another's.
/// Compiling takes one to two milliseconds, so a program is kept under the digest of its profile. Any thread may use it; it blocks.
package final class SeccompCompiler: Sendable {
    private let cache: SeccompCache?
    private let known = Mutex<[String: SeccompProgram]>([:])

    /// - Parameter cacheDirectory: made when missing, 0700; nil keeps programs in memory only.
    package init(cacheDirectory: String?) { cache = cacheDirectory.map(SeccompCache.init(path:)) }

    /// The program of a container: its profile under its capabilities. Empty when it has no profile.
    /// - Throws: `invalid_argument` for a profile that can't be compiled; `internal` when libseccomp fails. A cache that can't be written is no error.
    package func program(for spec: RuntimeSpec) throws(LunetteError) -> SeccompProgram {
        guard let seccomp = spec.linux.seccomp else { return .none }
        let capabilities = spec.process?.capabilities?.bounding ?? []
        // libseccomp's version takes part: a newer one may compile the same profile differently.
        let version = seccomp_version().map { "\($0.pointee.major).\($0.pointee.minor).\($0.pointee.micro)" } ?? "?"
        let key: String
        let profile: SeccompProfile
        switch seccomp {
        case .standard:
            key = "tree-standard-\(SeccompProfile.standardRevision)-\(String(capabilities.mask, radix: 16))-\(version)"
            if let program = known.withLock({ $0[key] }) { return program }
            profile = .standard(for: capabilities)
        case .profile(let given):
            key = "tree-\(SHA256.digest(of: Array(JSON.encode(given.value).utf8)).hex)-\(version)"
            if let program = known.withLock({ $0[key] }) { return program }
            profile = given
        }
        let flags = Self.flags(profile)
        if let bytes = cache?.read(key) {
            let program = SeccompProgram(bytes: bytes, flags: flags)
            known.withLock { $0[key] = program }
            return program
        }
        let program = SeccompProgram(bytes: try Self.compile(profile), flags: flags)
        cache?.write(key, program.bytes)
        known.withLock { $0[key] = program }
        return program
    }

    private static func flags(_ profile: SeccompProfile) -> UInt64 {
        var flags: UInt64 = 0
        if profile.flags.contains("SECCOMP_FILTER_FLAG_LOG") { flags |= 2 }
        if profile.flags.contains("SECCOMP_FILTER_FLAG_SPEC_ALLOW") { flags |= 4 }
        return flags
    }

    /// Compiles without any cache.
    package static func compile(_ profile: SeccompProfile) throws(LunetteError) -> [UInt8] {
        let defaultAction = action(profile.defaultAction, profile.defaultErrnoRet)
        guard let context = seccomp_init(defaultAction) else { throw LunetteError(.internal, "libseccomp refuses the default action") }
        defer { seccomp_release(context) }
        try require(seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, 0x8000_0000), "refuse other architectures")  // SCMP_ACT_KILL_PROCESS
        // A tree over the numbers (2) instead of a chain: at the load the kernel tries the filter on every number, which took 0.6 ms.
        try require(seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2), "order the calls as a tree")
        let unconditional = Set(profile.syscalls.filter { $0.args.isEmpty && $0.action == .allow }.flatMap(\.names))
        var prologue = SeccompPrologue()
        for rule in profile.syscalls {
            let value = action(rule.action, rule.errnoRet ?? (rule.action == .errno ? profile.defaultErrnoRet : nil))
            for name in rule.names {
                guard let number = number(of: name) else { continue }
                if !rule.args.isEmpty, rule.action != .allow, unconditional.contains(name) {
                    prologue.deny(number: UInt32(number), when: rule.args, action: value)
                } else if value != defaultAction {
                    try add(rule, number: number, action: value, to: context, name: name)
                }
            }
        }
        let bytes = BPFInstruction.encode(prologue.instructions) + (try export(context))
        guard bytes.count <= BPFInstruction.maximumCount * BPFInstruction.size else {
            throw LunetteError(.invalidArgument, "compile the seccomp profile: it is longer than the kernel's 4096 instructions")
        }
        return bytes
    }

    private static func add(
        _ rule: SeccompProfile.Rule, number: Int32, action: UInt32, to context: scmp_filter_ctx, name: String
    ) throws(LunetteError) {
        let comparisons = rule.args.map { argument in
            scmp_arg_cmp(arg: argument.index, op: comparison(argument.comparison), datum_a: argument.value, datum_b: argument.valueTwo)
        }
        // As runc does: two conditions on one argument are alternatives, which libseccomp takes as two rules.
        let isAlternative = Set(rule.args.map(\.index)).count < rule.args.count
        let sets = isAlternative ? comparisons.map { [$0] } : [comparisons]
        for set in sets {
            let result = set.withUnsafeBufferPointer { seccomp_rule_add_array(context, action, number, UInt32(set.count), $0.baseAddress) }
            // The same rule twice is what a profile's author wrote, and harmless.
            if result != -17 { try require(result, "add a rule for \(name)") }
        }
    }

    /// libseccomp's export writes to a descriptor only; 2.5 has no other way.
    private static func export(_ context: scmp_filter_ctx) throws(LunetteError) -> [UInt8] {
        do throws(SystemCallError) {
            let number = lnt_host_memfd("lunette-seccomp")
            guard number >= 0 else { throw SystemCallError("memfd_create", "lunette-seccomp", errno: -number) }
            let memory = FileDescriptor(owning: number)
            let result = seccomp_export_bpf(context, memory.number)
            guard result == 0 else { throw SystemCallError("export the seccomp program", "", errno: -result) }
            try memory.seek(to: 0)
            return try memory.readAll(limit: BPFInstruction.maximumCount * BPFInstruction.size + 1)
        } catch {
            throw error.lunette
        }
    }

    private static func require(_ result: Int32, _ what: String) throws(LunetteError) {
        guard result < 0 else { return }
        throw LunetteError(.invalidArgument, "compile the seccomp profile: \(what): \(errnoText(-result))", errno: -result)
    }

    private static func action(_ action: SeccompProfile.Action, _ errno: UInt32?) -> UInt32 {
        switch action {
        case .kill, .killThread: 0
        case .killProcess: 0x8000_0000
        case .trap: 0x0003_0000
        case .errno: 0x0005_0000 | (errno ?? 1)
        case .trace: 0x7ff0_0000 | (errno ?? 1)
        case .allow: 0x7fff_0000
        case .log: 0x7ffc_0000
        // Refused when the profile is read.
        case .notify: 0x0005_0000 | 38
        }
    }

    private static func comparison(_ comparison: SeccompProfile.Comparison) -> scmp_compare {
        switch comparison {
        case .notEqual: SCMP_CMP_NE
        case .less: SCMP_CMP_LT
        case .lessOrEqual: SCMP_CMP_LE
        case .equal: SCMP_CMP_EQ
        case .greaterOrEqual: SCMP_CMP_GE
        case .greater: SCMP_CMP_GT
        case .maskedEqual: SCMP_CMP_MASKED_EQ
        }
    }

    /// The native number; nil for a call that this machine doesn't have.
    package static func number(of name: String) -> Int32? {
        let number = seccomp_syscall_resolve_name(name)
        // Negative numbers stand for calls of other ABIs.
        return number >= 0 ? number : newer[name]
    }

    /// Calls that came after libseccomp 2.5.4; since 424 all architectures count alike.
    private static let newer: [String: Int32] = [
        "process_mrelease": 448, "futex_waitv": 449, "set_mempolicy_home_node": 450, "cachestat": 451, "fchmodat2": 452,
        "map_shadow_stack": 453,
        "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456, "statmount": 457, "listmount": 458, "mseal": 462, "setxattrat": 463,
        "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
    ]
}
