package import LunetteSpec
internal import Synchronization

/// A compiled seccomp filter, ready for the kernel.
package struct SeccompProgram: Sendable, Hashable {
    /// `struct sock_filter[]`; empty means no filter.
    package var bytes: [UInt8]
    /// SECCOMP_FILTER_FLAG_* but for NEW_LISTENER, which goes with a plan's listener.
    package var flags: UInt64

    package static let none = SeccompProgram(bytes: [], flags: 0)
}

/// Turns profiles into programs, through libseccomp, for the ABIs that they list; keeps what it made, in memory and on disk.
///
/// A process of an ABI that isn't listed is killed with SIGSYS at its first call: a list of one ABI's numbers means nothing for another's.
/// Compiling takes one to two milliseconds for one ABI, ten for three, so a program is kept under the digest of its profile. Any thread
/// may use it; it blocks.
package final class SeccompCompiler: Sendable {
    private let cache: SeccompCache?
    private let known = Mutex<[String: SeccompProgram]>([:])

    /// - Parameter cacheDirectory: made when missing, 0700; nil keeps programs in memory only.
    package init(cacheDirectory: String?) { cache = cacheDirectory.map(SeccompCache.init(path:)) }

    /// The program of a container: its profile under its capabilities. Empty when it has no profile.
    /// - Throws: `invalid_argument` for a profile that can't be compiled; `internal` when libseccomp fails. A cache that can't be written is no error.
    package func program(for spec: RuntimeSpec) throws(LunetteError) -> SeccompProgram {
        guard let seccomp = spec.linux.seccomp else { return .none }
        return try program(seccomp, capabilities: spec.process?.capabilities?.bounding ?? [])
    }

    /// The program of a profile for a process that has these capabilities.
    /// - Throws: as above.
    package func program(
        _ seccomp: RuntimeSpec.LinuxSection.Seccomp, capabilities: [Capability]
    ) throws(LunetteError) -> SeccompProgram {
        if case .standard = seccomp, capabilities.isEmpty, let kept = Self.standardWithoutCapabilities {
            return SeccompProgram(bytes: kept.withUnsafeBytes(Array.init), flags: 0)
        }
        // libseccomp's version takes part: a newer one may compile the same profile differently.
        let version = SeccompLibrary.version
        let key: String
        let profile: SeccompProfile
        switch seccomp {
        case .standard:
            key = "standard-\(Self.revision)-\(SeccompProfile.standardRevision)-\(String(capabilities.mask, radix: 16))-\(version)"
            if let program = known.withLock({ $0[key] }) { return program }
            profile = .standard(for: capabilities)
        case .profile(let given):
            key = "profile-\(Self.revision)-\(SHA256.digest(of: given.canonicalBytes).hex)-\(version)"
            if let program = known.withLock({ $0[key] }) { return program.with(given) }
            profile = given
        }
        if let bytes = cache?.read(key) {
            let program = SeccompProgram(bytes: bytes, flags: 0)
            known.withLock { $0[key] = program }
            return program.with(profile)
        }
        let program = SeccompProgram(bytes: try Self.compile(profile), flags: 0)
        cache?.write(key, program.bytes)
        known.withLock { $0[key] = program }
        return program.with(profile)
    }

    /// Counts changes of what is made of the same profile; part of the compiled program's name in the cache.
    private static let revision = 2

    /// Compiles without any cache.
    ///
    /// - Parameters:
    ///   - path: where the profile stands in the user's input, for errors.
    ///   - limit: of processor time, in microseconds; more than 0. Rules that compare arguments are compiled within it.
    ///   - patience: seconds of the clock that they may take at most, on a machine with little time for them.
    /// - Throws: `invalid_argument` for a profile that libseccomp refuses or doesn't come to an end with; `internal` and `resource_exhausted`
    ///   when it can't be asked.
    package static func compile(
        _ profile: SeccompProfile, path: String = "linux.seccomp", limit: UInt64 = 2_000_000, patience: Int = 60
    ) throws(LunetteError) -> [UInt8] {
        let defaultAction = profile.defaultAction.value(errno: profile.defaultErrnoRet)
        let abis = SeccompABI.judged(by: profile)
        var prologue = SeccompPrologue()
        let rules = sorted(profile, abis, defaultAction, &prologue)
        addAbsence(profile, abis, &prologue)
        let bytes =
            BPFInstruction.encode(prologue.instructions)
            + (try SeccompLibrary.program(rules, defaultAction: defaultAction, abis: abis, path: path, limit: limit, patience: patience))
        guard bytes.count <= BPFInstruction.maximumCount * BPFInstruction.size else {
            throw LunetteError(
                .invalidArgument, "compile the seccomp profile: it is longer than the kernel's 4096 instructions", path: path)
        }
        return bytes
    }

    /// The rules that libseccomp compiles; the others go into the prologue.
    private static func sorted(
        _ profile: SeccompProfile, _ abis: [SeccompABI], _ defaultAction: UInt32, _ prologue: inout SeccompPrologue
    ) -> [SeccompLibrary.Rule] {
        let unconditional = Set(profile.syscalls.filter { $0.args.isEmpty && $0.action == .allow }.flatMap(\.names))
        var late: [(name: String, conditions: [SeccompProfile.Argument], action: UInt32)] = []
        var rules: [SeccompLibrary.Rule] = []
        for (index, rule) in profile.syscalls.enumerated() {
            let action = rule.action.value(errno: rule.errnoRet)
            for name in rule.names {
                let isRefusal = !rule.args.isEmpty && rule.action != .allow && unconditional.contains(name)
                // libseccomp would have to translate a number that it doesn't know.
                let isByHand = abis.count > 1 && SeccompABI.isNewer(name)
                for conditions in alternatives(rule.args) {
                    if isRefusal {
                        for abi in abis {
                            guard let number = abi.number(of: name) else { continue }
                            prologue.answer(abi, number: number, when: conditions, action: action)
                        }
                    } else if isByHand {
                        late.append((name, conditions, action))
                    } else if action != defaultAction, let number = SeccompLibrary.number(of: name) {
                        rules.append(
                            SeccompLibrary.Rule(name: name, number: number, conditions: conditions, action: action, position: index))
                    }
                }
            }
        }
        // With conditions first: one without would hide them.
        for rule in late.filter({ !$0.conditions.isEmpty }) + late.filter({ $0.conditions.isEmpty }) {
            for abi in abis {
                guard let number = abi.number(of: rule.name) else { continue }
                prologue.answer(abi, number: number, when: rule.conditions, action: rule.action)
            }
        }
        return rules
    }

    /// As runc does: two conditions on one argument are alternatives, and then all are.
    private static func alternatives(_ conditions: [SeccompProfile.Argument]) -> [[SeccompProfile.Argument]] {
        Set(conditions.map(\.index)).count < conditions.count ? conditions.map { [$0] } : [conditions]
    }

    /// Calls newer than any that the profile names are absent rather than refused, unless they pass or are absent anyway.
    private static func addAbsence(_ profile: SeccompProfile, _ abis: [SeccompABI], _ prologue: inout SeccompPrologue) {
        let absent = SeccompProfile.Action.errno.value(errno: 38)
        guard ![.allow, .log].contains(profile.defaultAction), profile.defaultAction.value(errno: profile.defaultErrnoRet) != absent else {
            return
        }
        for abi in abis {
            guard let last = profile.syscalls.lazy.flatMap(\.names).compactMap({ abi.number(of: $0) }).max() else { continue }
            prologue.answer(abi, above: last, action: absent)
        }
    }
}

extension SeccompProgram {
    /// With the flags that a profile asks for; they take no part in the program's bytes.
    fileprivate func with(_ profile: SeccompProfile) -> SeccompProgram {
        var flags: UInt64 = 0
        for flag in profile.flags {
            switch flag {
            // Threads share it; the process that loads it has one. With a listener the kernel refuses the two together.
            case "SECCOMP_FILTER_FLAG_TSYNC": flags |= profile.notifies ? 0 : 1
            case "SECCOMP_FILTER_FLAG_LOG": flags |= 2
            case "SECCOMP_FILTER_FLAG_SPEC_ALLOW": flags |= 4
            // The kernel refuses it where nothing listens.
            case "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": flags |= profile.notifies ? 32 : 0
            default: break
            }
        }
        return SeccompProgram(bytes: bytes, flags: flags)
    }
}

extension SeccompProfile.Action {
    /// SECCOMP_RET_*. `errno` is what ERRNO fails with and TRACE tells the tracer: EPERM when the profile names none.
    func value(errno: UInt32?) -> UInt32 {
        switch self {
        case .kill, .killThread: 0
        case .killProcess: 0x8000_0000
        case .trap: 0x0003_0000
        case .errno: 0x0005_0000 | (errno ?? 1)
        case .trace: 0x7ff0_0000 | (errno ?? 1)
        case .allow: 0x7fff_0000
        case .log: 0x7ffc_0000
        case .notify: 0x7fc0_0000
        }
    }
}
