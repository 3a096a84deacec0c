internal import CLinux
internal import CSeccomp
internal import Glibc
internal import LunetteSpec

/// libseccomp: rules in, a program out.
enum SeccompLibrary {
    struct Rule {
        var name: String
        var number: Int32
        /// At most one for each of a call's six arguments.
        var conditions: [SeccompProfile.Argument]
        var action: UInt32
        /// Among the profile's `syscalls`, for errors.
        var position: Int
    }

    static var version: String {
        seccomp_version().map { "\($0.pointee.major).\($0.pointee.minor).\($0.pointee.micro)" } ?? "?"
    }

    /// The number of a call as libseccomp takes it; negative for one of another ABI; nil for a call that it doesn't know.
    static func number(of name: String) -> Int32? {
        let number = seccomp_syscall_resolve_name(name)
        return number != -1 ? number : SeccompABI.native.number(of: name).map { Int32($0) }
    }

    /// - Parameters:
    ///   - abis: those that the program judges; the native one is among them without being named.
    ///   - path: where the profile stands, for errors.
    ///   - limit: of processor time in microseconds. Where rules compare arguments, libseccomp works in a process that ends with it; rules
    ///     without take it no time.
    ///   - patience: seconds of the clock after which that process is ended too.
    /// - Throws: as `SeccompCompiler.compile`.
    static func program(
        _ rules: [Rule], defaultAction: UInt32, abis: [SeccompABI], path: String, limit: UInt64, patience: Int
    ) throws(LunetteError) -> [UInt8] {
        let others = abis.filter { $0 != .native }
        // libseccomp's export writes to a descriptor only; 2.5 has no other way.
        let number = lnt_host_memfd("lunette-seccomp")
        guard number >= 0 else { throw SystemCallError("memfd_create", "lunette-seccomp", errno: -number).lunette }
        let memory = FileDescriptor(owning: number)
        let outcome = others.map(\.token).withUnsafeBufferPointer { architectures in
            rules.map(given).withUnsafeBufferPointer { given in
                var all = lnt_seccomp_rules(
                    default_action: defaultAction, architectures: architectures.baseAddress, architecture_count: architectures.count,
                    rules: given.baseAddress, rule_count: given.count)
                return lnt_seccomp_compile(&all, memory.number, rules.contains { !$0.conditions.isEmpty } ? limit : 0, Int32(patience))
            }
        }
        guard outcome.step == LNT_SECCOMP_DONE.rawValue else { throw failure(outcome, rules, others, path) }
        do throws(SystemCallError) {
            try memory.seek(to: 0)
            return try memory.readAll(limit: BPFInstruction.maximumCount * BPFInstruction.size + 1)
        } catch {
            throw error.lunette
        }
    }

    private static func given(_ rule: Rule) -> lnt_seccomp_rule {
        var result = lnt_seccomp_rule()
        result.action = rule.action
        result.number = rule.number
        result.count = UInt32(rule.conditions.count)
        // SAFETY: the comparisons are six in a row, and a rule has at most one for each of a call's six arguments; `prefix` holds it to that.
        withUnsafeMutableBytes(of: &result.comparisons) { bytes in
            let comparisons = bytes.bindMemory(to: scmp_arg_cmp.self)
            for (index, condition) in rule.conditions.prefix(comparisons.count).enumerated() {
                comparisons[index] = scmp_arg_cmp(
                    arg: condition.index, op: comparison(condition.comparison), datum_a: condition.value, datum_b: condition.valueTwo)
            }
        }
        return result
    }

    private static func failure(
        _ outcome: lnt_seccomp_outcome, _ rules: [Rule], _ abis: [SeccompABI], _ path: String
    ) -> LunetteError {
        let index = Int(outcome.index)
        var place = path
        let what: String
        switch lnt_seccomp_step(rawValue: outcome.step) {
        case LNT_SECCOMP_PROCESS where outcome.error == ETIMEDOUT:
            return LunetteError(
                .timeout, "compile the seccomp profile: the process that does it has not ended in its time", path: path,
                hint: "the machine is overloaded, or somebody has stopped the process")
        case LNT_SECCOMP_PROCESS:
            return LunetteError(
                .resourceExhausted, "start a process to compile the seccomp profile: \(errnoText(outcome.error))", path: path,
                errno: outcome.error)
        case LNT_SECCOMP_INIT:
            return LunetteError(.internal, "libseccomp refuses the default action", path: "\(path).defaultAction")
        case LNT_SECCOMP_BAD_ARCHITECTURE: what = "refuse other architectures"
        case LNT_SECCOMP_TREE: what = "order the calls as a tree"
        case LNT_SECCOMP_ARCHITECTURE where abis.indices.contains(index):
            what = "judge \(abis[index].rawValue)"
            place += ".architectures"
        case LNT_SECCOMP_RULE where rules.indices.contains(index):
            what = "add a rule for \(rules[index].name)"
            place += ".syscalls[\(rules[index].position)]"
        default: what = "write the program"
        }
        guard outcome.error == 0 else {
            return LunetteError(
                .invalidArgument, "compile the seccomp profile: \(what): \(errnoText(outcome.error))", path: place, errno: outcome.error)
        }
        return LunetteError(
            .invalidArgument, "compile the seccomp profile: \(what): libseccomp \(version) doesn't come to an end with it", path: place,
            hint: "give the call fewer rules that compare its arguments, or one rule with \"equal\" for each value")
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
}
