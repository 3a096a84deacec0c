/// Which system calls pass, in OCI's words (`linux.seccomp`); Docker's profile files are read as well.
///
/// Docker adds `archMap`, and to each rule `includes`/`excludes` by capability, architecture and kernel: `resolved` applies them.
package struct SeccompProfile: Sendable, Hashable {
    package enum Action: String, CaseIterable, Sendable {
        case kill = "SCMP_ACT_KILL"
        case killProcess = "SCMP_ACT_KILL_PROCESS"
        case killThread = "SCMP_ACT_KILL_THREAD"
        case trap = "SCMP_ACT_TRAP"
        case errno = "SCMP_ACT_ERRNO"
        case trace = "SCMP_ACT_TRACE"
        case allow = "SCMP_ACT_ALLOW"
        case log = "SCMP_ACT_LOG"
        case notify = "SCMP_ACT_NOTIFY"
    }

    package enum Comparison: String, CaseIterable, Sendable {
        case notEqual = "SCMP_CMP_NE"
        case less = "SCMP_CMP_LT"
        case lessOrEqual = "SCMP_CMP_LE"
        case equal = "SCMP_CMP_EQ"
        case greaterOrEqual = "SCMP_CMP_GE"
        case greater = "SCMP_CMP_GT"
        case maskedEqual = "SCMP_CMP_MASKED_EQ"
    }

    /// A condition on one argument of a call, 0–5.
    package struct Argument: Sendable, Hashable {
        package var index: UInt32
        package var comparison: Comparison
        /// The operand; with `maskedEqual` the mask.
        package var value: UInt64
        /// With `maskedEqual` what the masked argument must equal.
        package var valueTwo: UInt64

        package init(_ index: UInt32, _ comparison: Comparison, _ value: UInt64, _ valueTwo: UInt64 = 0) {
            self.index = index
            self.comparison = comparison
            self.value = value
            self.valueTwo = valueTwo
        }
    }

    /// Says what happens to some calls when all conditions hold.
    package struct Rule: Sendable, Hashable {
        package var names: [String]
        package var action: Action
        package var errnoRet: UInt32?
        package var args: [Argument]

        package init(_ names: [String], _ action: Action, errno: UInt32? = nil, args: [Argument] = []) {
            self.names = names
            self.action = action
            errnoRet = errno
            self.args = args
        }
    }

    package var defaultAction: Action
    package var defaultErrnoRet: UInt32?
    /// As named; the container's processes run the native one whatever the list says, the others are refused.
    package var architectures: [String]
    package var flags: [String]
    package var syscalls: [Rule]

    package init(
        defaultAction: Action, defaultErrnoRet: UInt32? = nil, architectures: [String] = [], flags: [String] = [], syscalls: [Rule] = []
    ) {
        self.defaultAction = defaultAction
        self.defaultErrnoRet = defaultErrnoRet
        self.architectures = architectures
        self.flags = flags
        self.syscalls = syscalls
    }

    /// Decodes OCI's form, or Docker's with its conditions resolved.
    ///
    /// - Parameter capabilities: what the container will have, for Docker's `includes.caps`.
    /// - Throws: `invalid_argument` with the field's path; `unsupported` for notification listeners.
    package init(_ value: Value, path: String = "", capabilities: [Capability] = []) throws(LunetteError) {
        var reader = try FieldReader(value, path: path)
        try self.init(reading: &reader, capabilities: capabilities)
    }

    init(reading reader: inout FieldReader, capabilities: [Capability] = []) throws(LunetteError) {
        guard let action = try reader.choice("defaultAction", Action.self) else { throw reader.failure("defaultAction", "is required") }
        self.init(defaultAction: action)
        defaultErrnoRet = try reader.unsigned("defaultErrnoRet")
        architectures = try reader.strings("architectures") ?? []
        for (index, name) in architectures.enumerated() where !name.hasPrefix("SCMP_ARCH_") || displayable(name, limit: 40) != name {
            throw reader.failure("architectures[\(index + 1)]", "\"\(displayable(name, limit: 40))\" is not an architecture")
        }
        for var table in try reader.tables("archMap") { architectures.append(try table.required("architecture")) }
        flags = try reader.strings("flags") ?? []
        let known = [
            "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        ]
        for (index, flag) in flags.enumerated() where !known.contains(flag) {
            throw reader.failure("flags[\(index + 1)]", "\"\(displayable(flag, limit: 60))\" is not a flag")
        }
        if reader.value("listenerPath") != nil { throw reader.unsupported("listenerPath", "seccomp listeners aren't built") }
        for var table in try reader.tables("syscalls") {
            if let rule = try Self.rule(reading: &table, capabilities: capabilities) { syscalls.append(rule) }
        }
        guard action != .notify, !syscalls.contains(where: { $0.action == .notify }) else {
            throw reader.unsupported("syscalls", "seccomp listeners aren't built, so nothing could answer SCMP_ACT_NOTIFY")
        }
    }

    private static func rule(reading table: inout FieldReader, capabilities: [Capability]) throws(LunetteError) -> Rule? {
        var names = try table.strings("names") ?? []
        if let name = try table.string("name") { names.append(name) }
        guard !names.isEmpty else { throw table.failure("names", "is required") }
        for (index, name) in names.enumerated() {
            let fits = (1...64).contains(name.utf8.count) && name.utf8.allSatisfy { Names.isAlphanumeric($0) || $0 == UInt8(ascii: "_") }
            guard fits else { throw table.failure("names[\(index + 1)]", "\"\(displayable(name, limit: 64))\" can't name a system call") }
        }
        guard let action = try table.choice("action", Action.self) else { throw table.failure("action", "is required") }
        var rule = Rule(names, action, errno: try table.unsigned("errnoRet"))
        if let errno = rule.errnoRet, errno > 4095 { throw table.failure("errnoRet", "\(errno) is not an error number") }
        for var argument in try table.tables("args") {
            guard let index = try argument.unsigned("index"), index < 6 else {
                throw argument.failure("index", "a call has arguments 0 to 5")
            }
            guard let comparison = try argument.choice("op", Comparison.self) else { throw argument.failure("op", "is required") }
            guard let value = try argument.operand("value") else { throw argument.failure("value", "is required") }
            rule.args.append(Argument(index, comparison, value, try argument.operand("valueTwo") ?? 0))
        }
        let includes = try Condition(try table.table("includes"))
        let excludes = try Condition(try table.table("excludes"))
        guard includes.allHold(capabilities), !excludes.anyHolds(capabilities) else { return nil }
        return rule
    }

    package var value: Value {
        var map: ValueMap = ["defaultAction": .string(defaultAction.rawValue)]
        if let defaultErrnoRet { map["defaultErrnoRet"] = .int(Int64(defaultErrnoRet)) }
        map.set("architectures", architectures)
        map.set("flags", flags)
        map["syscalls"] = .array(
            syscalls.map { rule in
                var entry: ValueMap = ["names": .array(rule.names.map(Value.string)), "action": .string(rule.action.rawValue)]
                if let errno = rule.errnoRet { entry["errnoRet"] = .int(Int64(errno)) }
                if !rule.args.isEmpty {
                    entry["args"] = .array(
                        rule.args.map {
                            [
                                "index": .int(Int64($0.index)), "value": .int(Int64(bitPattern: $0.value)),
                                "valueTwo": .int(Int64(bitPattern: $0.valueTwo)),
                                "op": .string($0.comparison.rawValue),
                            ]
                        }
                    )
                }
                return .map(entry)
            }
        )
        return .map(map)
    }
}

/// Docker's `includes` and `excludes`.
private struct Condition {
    var capabilities: [String] = []
    var architectures: [String] = []
    var minimumKernel: String?

    init(_ reader: FieldReader?) throws(LunetteError) {
        guard var reader else { return }
        capabilities = try reader.strings("caps") ?? []
        architectures = try reader.strings("arches") ?? []
        minimumKernel = try reader.string("minKernel")
    }

    /// Kernels below 5.8 don't run Lunette, so each `minKernel` of Docker's profile (4.8) is met.
    func allHold(_ granted: [Capability]) -> Bool {
        let names = granted.map(\.name)
        return capabilities.allSatisfy { names.contains($0) }
            && (architectures.isEmpty || architectures.contains(Platform.native.architecture))
    }

    func anyHolds(_ granted: [Capability]) -> Bool {
        let names = granted.map(\.name)
        return capabilities.contains { names.contains($0) } || architectures.contains(Platform.native.architecture) || minimumKernel != nil
    }
}

extension FieldReader {
    /// An operand of a comparison: a uint64; negative numbers are taken by their bits, as Go's readers write them.
    fileprivate mutating func operand(_ key: String) throws(LunetteError) -> UInt64? {
        guard let value = value(key) else { return nil }
        if let number = value.intValue { return UInt64(bitPattern: number) }
        if let number = value.doubleValue, let whole = UInt64(exactly: number) { return whole }
        throw failure(key, "expected a whole number, got \(value.kind)")
    }
}
