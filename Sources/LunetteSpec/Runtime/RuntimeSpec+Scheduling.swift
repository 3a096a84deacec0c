extension RuntimeSpec {
    /// `process.scheduler`: what sched_setattr(2) is told.
    package struct Scheduler: Sendable, Hashable {
        package enum Policy: String, CaseIterable, Sendable {
            case other = "SCHED_OTHER"
            case fifo = "SCHED_FIFO"
            case roundRobin = "SCHED_RR"
            case batch = "SCHED_BATCH"
            case iso = "SCHED_ISO"
            case idle = "SCHED_IDLE"
            case deadline = "SCHED_DEADLINE"

            /// The kernel's number (linux/sched.h).
            package var number: UInt32 {
                switch self {
                case .other: 0
                case .fifo: 1
                case .roundRobin: 2
                case .batch: 3
                case .iso: 4
                case .idle: 5
                case .deadline: 6
                }
            }
        }

        package enum Flag: String, CaseIterable, Sendable {
            case resetOnFork = "SCHED_FLAG_RESET_ON_FORK"
            case reclaim = "SCHED_FLAG_RECLAIM"
            case deadlineOverrun = "SCHED_FLAG_DL_OVERRUN"
            case keepPolicy = "SCHED_FLAG_KEEP_POLICY"
            case keepParameters = "SCHED_FLAG_KEEP_PARAMS"
            case minimumUtilisation = "SCHED_FLAG_UTIL_CLAMP_MIN"
            case maximumUtilisation = "SCHED_FLAG_UTIL_CLAMP_MAX"

            package var bit: UInt64 { 1 << UInt64(Self.allCases.firstIndex(of: self)!) }
        }

        package var policy: Policy
        package var nice: Int64 = 0
        package var priority: Int64 = 0
        package var flags: [Flag] = []
        /// Nanoseconds, for SCHED_DEADLINE.
        package var runtime: UInt64 = 0
        package var deadline: UInt64 = 0
        package var period: UInt64 = 0

        init(reading table: inout FieldReader) throws(LunetteError) {
            guard let policy = try table.choice("policy", Policy.self) else { throw table.failure("policy", "is required") }
            self.policy = policy
            nice = try table.int("nice", in: -20...19) ?? 0
            priority = try table.int("priority", in: 0...99) ?? 0
            for (index, text) in (try table.strings("flags") ?? []).enumerated() {
                guard let flag = Flag(rawValue: text) else {
                    throw table.failure(table.item("flags", index), "\"\(displayable(text, limit: 60))\" is not a flag of sched_setattr")
                }
                flags.append(flag)
            }
            runtime = try table.unsigned64("runtime") ?? 0
            deadline = try table.unsigned64("deadline") ?? 0
            period = try table.unsigned64("period") ?? 0
            if policy != .deadline, runtime != 0 || deadline != 0 || period != 0 {
                throw LunetteError(.invalidArgument, "runtime, deadline and period are SCHED_DEADLINE's alone", path: table.path)
            }
            if priority != 0, policy != .fifo, policy != .roundRobin {
                throw table.failure("priority", "is for SCHED_FIFO and SCHED_RR alone")
            }
        }

        var value: Value {
            var map: ValueMap = ["policy": .string(policy.rawValue)]
            if nice != 0 { map["nice"] = .int(nice) }
            if priority != 0 { map["priority"] = .int(priority) }
            if !flags.isEmpty { map["flags"] = .array(flags.map { .string($0.rawValue) }) }
            if runtime != 0 { map["runtime"] = .int(Int64(clamping: runtime)) }
            if deadline != 0 { map["deadline"] = .int(Int64(clamping: deadline)) }
            if period != 0 { map["period"] = .int(Int64(clamping: period)) }
            return .map(map)
        }
    }

    /// `process.ioPriority`: what ioprio_set(2) is told.
    package struct IOPriority: Sendable, Hashable {
        package enum Class: String, CaseIterable, Sendable {
            case realTime = "IOPRIO_CLASS_RT"
            case bestEffort = "IOPRIO_CLASS_BE"
            case idle = "IOPRIO_CLASS_IDLE"
        }
        package var `class`: Class
        /// 0 (highest) to 7.
        package var priority: Int64

        init(reading table: inout FieldReader) throws(LunetteError) {
            guard let kind = try table.choice("class", Class.self) else { throw table.failure("class", "is required") }
            `class` = kind
            priority = try table.int("priority", in: 0...7) ?? 0
        }

        /// IOPRIO_PRIO_VALUE of linux/ioprio.h.
        package var number: UInt64 {
            let kind: UInt64 =
                switch `class` {
                case .realTime: 1
                case .bestEffort: 2
                case .idle: 3
                }
            return kind << 13 | UInt64(priority)
        }

        var value: Value { ["class": .string(`class`.rawValue), "priority": .int(priority)] }
    }

    /// `process.execCPUAffinity`: lists as the kernel writes them, `0-2,4`.
    package struct ExecCPUAffinity: Sendable, Hashable {
        /// Before the process is in the container's cgroup.
        package var initial: String?
        /// From then on.
        package var final: String?

        init(reading table: inout FieldReader) throws(LunetteError) {
            initial = try table.processorList("initial")
            final = try table.processorList("final")
        }

        var value: Value {
            var map = ValueMap()
            map.set("initial", initial)
            map.set("final", final)
            return .map(map)
        }
    }

    /// `linux.memoryPolicy`: what set_mempolicy(2) is told.
    package struct MemoryPolicy: Sendable, Hashable {
        package enum Mode: String, CaseIterable, Sendable {
            case `default` = "MPOL_DEFAULT"
            case preferred = "MPOL_PREFERRED"
            case bind = "MPOL_BIND"
            case interleave = "MPOL_INTERLEAVE"
            case local = "MPOL_LOCAL"
            case preferredMany = "MPOL_PREFERRED_MANY"
            case weightedInterleave = "MPOL_WEIGHTED_INTERLEAVE"

            package var number: UInt64 { UInt64(Self.allCases.firstIndex(of: self)!) }
        }

        package static let flags: [(name: String, bit: UInt64)] = [
            ("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15),
        ]

        package var mode: Mode
        package var nodes: String?
        package var flags: [String] = []

        init(reading table: inout FieldReader) throws(LunetteError) {
            guard let mode = try table.choice("mode", Mode.self) else { throw table.failure("mode", "is required") }
            self.mode = mode
            nodes = try table.processorList("nodes")
            flags = try table.strings("flags") ?? []
            for (index, text) in flags.enumerated() where !Self.flags.contains(where: { $0.name == text }) {
                throw table.failure(table.item("flags", index), "\"\(displayable(text, limit: 60))\" is not a flag of set_mempolicy")
            }
        }

        /// Mode and flags in one number.
        package var number: UInt64 {
            flags.reduce(mode.number) { sum, name in sum | (Self.flags.first { $0.name == name }?.bit ?? 0) }
        }

        var value: Value {
            var map: ValueMap = ["mode": .string(mode.rawValue)]
            map.set("nodes", nodes)
            if !flags.isEmpty { map["flags"] = .array(flags.map(Value.string)) }
            return .map(map)
        }
    }

    /// `linux.personality`: the execution domain (personality(2)).
    package struct Personality: Sendable, Hashable {
        package enum Domain: String, CaseIterable, Sendable {
            case linux = "LINUX"
            case linux32 = "LINUX32"
        }
        package var domain: Domain
        package var flags: [String]

        init(reading table: inout FieldReader) throws(LunetteError) {
            guard let domain = try table.choice("domain", Domain.self) else { throw table.failure("domain", "is required") }
            self.domain = domain
            flags = try table.strings("flags") ?? []
            // The specification names none.
            if let first = flags.first { throw table.failure("flags[1]", "\"\(displayable(first, limit: 40))\": no flag is supported") }
        }

        package var number: UInt64 { domain == .linux32 ? 8 : 0 }
        var value: Value { ["domain": .string(domain.rawValue)] }
    }
}

/// The numbers of a kernel list such as `0-2,4`.
package enum NumberList {
    /// - Throws: `invalid_argument` with what is wrong, without a path.
    package static func numbers(_ text: String, limit: UInt32 = 8192) throws(LunetteError) -> [UInt32] {
        var result: [UInt32] = []
        for part in text.split(separator: ",") {
            let ends = part.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map { end in
                UInt32(end.filter { $0 != " " })
            }
            guard let first = ends[0], let last = ends.count == 2 ? ends[1] : first, first <= last, last < limit else {
                throw LunetteError(.invalidArgument, "\"\(displayable(text, limit: 60))\" is not a list like \"0-2,4\"")
            }
            result += Array(first...last)
        }
        guard !result.isEmpty else { throw LunetteError(.invalidArgument, "is empty: write a list like \"0-2,4\"") }
        return result
    }

    /// As a bit mask, 64 numbers a word.
    package static func mask(_ text: String) throws(LunetteError) -> [UInt64] {
        var words: [UInt64] = []
        for number in try numbers(text) {
            let word = Int(number / 64)
            while words.count <= word { words.append(0) }
            words[word] |= 1 << UInt64(number % 64)
        }
        return words
    }
}

extension FieldReader {
    fileprivate mutating func processorList(_ key: String) throws(LunetteError) -> String? {
        guard let text = try string(key) else { return nil }
        do { _ = try NumberList.numbers(text) } catch { throw failure(key, error.message) }
        return text
    }
}
