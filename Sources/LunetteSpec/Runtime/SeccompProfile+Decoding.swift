extension SeccompProfile {
    /// Whose words a profile is written in.
    package enum Dialect: Sendable {
        /// `linux.seccomp` of a config.json: read as it stands, all ABIs that it lists, listeners.
        case oci
        /// `security.seccomp` of a container of Lunette's own engine: Docker's files as well, whose `includes` and `excludes` are resolved
        /// for these capabilities. Processes of the machine's own ABI alone run, whatever the profile lists.
        case engine([Capability])
    }

    /// Every name that the specification knows; those of other processors mean nothing on this one.
    private static let knownArchitectures: Set<String> = [
        "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64", "SCMP_ARCH_LOONGARCH64",
        "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
        "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X",
        "SCMP_ARCH_SH", "SCMP_ARCH_SHEB", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64",
    ]

    private static let knownFlags = [
        "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ]

    /// The machine's own ABI in the specification's words.
    package static var nativeArchitecture: String { Platform.native.architecture == "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64" }

    /// Decodes a profile.
    ///
    /// - Parameters:
    ///   - path: where the profile stands in the whole input.
    ///   - notation: `.lua` for a table of Lua's.
    /// - Throws: `invalid_argument` with the field's path; `unsupported` for listeners of Lunette's own containers.
    package init(_ value: Value, path: String = "", notation: Notation = .json, dialect: Dialect) throws(LunetteError) {
        var reader = try FieldReader(value, path: path, notation: notation)
        try self.init(reading: &reader, dialect: dialect)
    }

    init(reading reader: inout FieldReader, dialect: Dialect) throws(LunetteError) {
        guard let action = try reader.choice("defaultAction", Action.self) else { throw reader.failure("defaultAction", "is required") }
        self.init(defaultAction: action)
        defaultErrnoRet = try reader.errno("defaultErrnoRet", action)
        architectures = try reader.strings("architectures") ?? []
        if case .engine = dialect {
            for var table in try reader.tables("archMap") { architectures.append(try table.required("architecture")) }
        }
        for (index, name) in architectures.enumerated() where !Self.knownArchitectures.contains(name) {
            throw reader.failure(reader.item("architectures", index), "\"\(displayable(name, limit: 40))\" is not an architecture")
        }
        if case .engine = dialect { architectures = [Self.nativeArchitecture] }
        flags = try reader.strings("flags") ?? []
        for (index, flag) in flags.enumerated() where !Self.knownFlags.contains(flag) {
            throw reader.failure(reader.item("flags", index), "\"\(displayable(flag, limit: 60))\" is not a flag")
        }
        for var table in try reader.tables("syscalls") {
            if let rule = try Self.rule(reading: &table, dialect: dialect) { syscalls.append(rule) }
        }
        try readListener(&reader, dialect)
    }

    private mutating func readListener(_ reader: inout FieldReader, _ dialect: Dialect) throws(LunetteError) {
        let path = try reader.string("listenerPath") ?? ""
        let metadata = try reader.string("listenerMetadata") ?? ""
        if case .engine = dialect {
            let isAsked = !path.isEmpty || !metadata.isEmpty
            if isAsked { throw reader.unsupported("listenerPath", "seccomp listeners are for OCI bundles (lunette-oci) only") }
            guard defaultAction != .notify, !notifies else {
                throw reader.unsupported(
                    "syscalls", "seccomp listeners are for OCI bundles (lunette-oci) only: nothing could answer SCMP_ACT_NOTIFY")
            }
            return
        }
        guard defaultAction != .notify else {
            throw reader.failure("defaultAction", "SCMP_ACT_NOTIFY can't be the default: the runtime itself would wait for an answer")
        }
        // MUST NOT be set without the path (config-linux.md, "Seccomp").
        if path.isEmpty, !metadata.isEmpty { throw reader.failure("listenerMetadata", "is of no use without listenerPath") }
        guard notifies else { return }
        guard !path.isEmpty else { throw reader.failure("listenerPath", "is required: a rule's action is SCMP_ACT_NOTIFY") }
        guard path.utf8.first == UInt8(ascii: "/"), !path.utf8.contains(0) else {
            throw reader.failure("listenerPath", "is not an absolute path")
        }
        guard !metadata.utf8.contains(0) else { throw reader.failure("listenerMetadata", "holds a zero byte") }
        listenerPath = path
        listenerMetadata = metadata
    }

    /// - Returns: nil for a rule of Docker's whose conditions don't hold.
    private static func rule(reading table: inout FieldReader, dialect: Dialect) throws(LunetteError) -> Rule? {
        var names = try table.strings("names") ?? []
        if let name = try table.string("name") { names.append(name) }
        guard !names.isEmpty else { throw table.failure("names", "is required") }
        for (index, name) in names.enumerated() {
            let fits = (1...64).contains(name.utf8.count) && name.utf8.allSatisfy { Names.isAlphanumeric($0) || $0 == UInt8(ascii: "_") }
            guard fits else {
                throw table.failure(table.item("names", index), "\"\(displayable(name, limit: 64))\" can't name a system call")
            }
        }
        guard let action = try table.choice("action", Action.self) else { throw table.failure("action", "is required") }
        if action == .notify, let index = names.firstIndex(of: "write") {
            // With it the descriptor of the listener is announced, when nobody can answer yet. runc refuses it too.
            throw table.failure(table.item("names", index), "write can't be notified: the runtime needs it to hand the listener over")
        }
        var rule = Rule(names, action, errno: try table.errno("errnoRet", action))
        for var argument in try table.tables("args") {
            guard let index = try argument.unsigned("index"), index < 6 else {
                throw argument.failure("index", "a call has arguments 0 to 5")
            }
            guard let comparison = try argument.choice("op", Comparison.self) else { throw argument.failure("op", "is required") }
            guard let value = try argument.operand("value") else { throw argument.failure("value", "is required") }
            rule.args.append(Argument(index, comparison, value, try argument.operand("valueTwo") ?? 0))
        }
        guard case .engine(let capabilities) = dialect else { return rule }
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
        map.set("listenerPath", listenerPath)
        if let listenerMetadata, !listenerMetadata.isEmpty { map.set("listenerMetadata", listenerMetadata) }
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

    /// What the compiled program depends on, as bytes that tell any two profiles apart: each text with its length before it, numbers in as
    /// many bytes as they need (seven bits each, the last without the eighth).
    ///
    /// Not JSON: this is hashed at every start, and building the text alone costs ten times as much.
    package var canonicalBytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(8192)
        func append(_ number: UInt64) {
            var rest = number
            while rest > 0x7f {
                out.append(UInt8(truncatingIfNeeded: rest) | 0x80)
                rest >>= 7
            }
            out.append(UInt8(rest))
        }
        func append(_ text: String) {
            append(UInt64(text.utf8.count))
            out.append(contentsOf: text.utf8)
        }
        func append(_ action: Action, _ errno: UInt32?) {
            append(UInt64(Action.allCases.firstIndex(of: action)!))
            append(errno.map { UInt64($0) + 1 } ?? 0)
        }
        append(defaultAction, defaultErrnoRet)
        append(UInt64(architectures.count))
        for name in architectures { append(name) }
        append(UInt64(syscalls.count))
        for rule in syscalls {
            append(rule.action, rule.errnoRet)
            append(UInt64(rule.names.count))
            for name in rule.names { append(name) }
            append(UInt64(rule.args.count))
            for argument in rule.args {
                append(UInt64(argument.index))
                append(UInt64(Comparison.allCases.firstIndex(of: argument.comparison)!))
                append(argument.value)
                append(argument.valueTwo)
            }
        }
        return out
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
    /// An error number, or for a tracer the 16 bits that it is told.
    fileprivate mutating func errno(_ key: String, _ action: SeccompProfile.Action) throws(LunetteError) -> UInt32? {
        guard let number = try unsigned(key) else { return nil }
        // The runtime MUST fail when the action has no use for it (config-linux.md, "Seccomp").
        guard action == .errno || action == .trace else { throw failure(key, "is of no use with \(action.rawValue)") }
        guard number <= (action == .trace ? 65535 : 4095) else { throw failure(key, "\(number) is not an error number") }
        return number
    }

    /// An operand of a comparison: a uint64; negative numbers are taken by their bits, as Go's readers write them.
    fileprivate mutating func operand(_ key: String) throws(LunetteError) -> UInt64? {
        guard let value = value(key) else { return nil }
        if let number = value.intValue { return UInt64(bitPattern: number) }
        // Beyond an Int64 JSON numbers are doubles here; ~0, the one that masks are written with, is rounded up to 2^64.
        if let number = value.doubleValue { if let whole = number == 0x1p64 ? .max : UInt64(exactly: number) { return whole } }
        throw failure(key, "expected a whole number, got \(value.kind)")
    }
}
