extension LaunchPlan: CustomStringConvertible {
    /// The whole plan, one line an entry: `host      open-tree slot=0 source=/var/lib/lunette map=container …`. Golden tests compare it.
    package var description: String { records.map(\.description).joined(separator: "\n") + "\n" }

    /// The same as a value: an array of `{phase, step, …fields}`, for `inspect --launch-plan --format json`.
    package var value: Value { .array(records.map(\.value)) }
}

extension ExecPlan: CustomStringConvertible {
    package var description: String { records.map(\.description).joined(separator: "\n") + "\n" }
}

extension LaunchRecord: CustomStringConvertible {
    package var description: String {
        let phase = opcode.phase.rawValue
        var line = phase + String(repeating: " ", count: max(1, 10 - phase.count)) + opcode.name
        for (name, value) in fields where !value.isDefault { line += " \(name)=\(value.text)" }
        return line
    }

    package var value: Value {
        var map = ValueMap()
        map["phase"] = .string(opcode.phase.rawValue)
        map["step"] = .string(opcode.name)
        for (name, field) in fields where !field.isDefault { map[name] = field.value }
        return .map(map)
    }
}

extension LaunchRecord.Field {
    /// Left out of what is printed: what says nothing.
    var isDefault: Bool {
        switch self {
        case .number: false
        case .flags(let bits, let words): words.isEmpty || (bits == 0 && (words == ["none"] || words == ["anything"]))
        case .text: false
        case .optionalText(let text): text == nil
        case .texts(let texts): texts.isEmpty
        case .bytes(let bytes): bytes.isEmpty
        case .mappings(let list): list.isEmpty
        case .pairs(let list): list.isEmpty
        case .limits(let list): list.isEmpty
        case .joins(let list): list.isEmpty
        case .source: false
        case .rules(let list): list.isEmpty
        }
    }

    var text: String {
        switch self {
        case .number(let number): String(number)
        case .flags(_, let words): words.joined(separator: ",")
        case .text(let text): Self.quoted(text)
        case .optionalText(let text): Self.quoted(text ?? "")
        case .texts(let texts): "[" + texts.map(Self.quoted).joined(separator: " ") + "]"
        case .bytes(let bytes): "\(bytes.count) bytes, fnv \(String(Self.fingerprint(bytes), radix: 16))"
        case .mappings(let list): list.map { "\($0.containerID):\($0.hostID):\($0.size)" }.joined(separator: ",")
        case .pairs(let list): "[" + list.map { Self.quoted($0.text) }.joined(separator: " ") + "]"
        case .limits(let list):
            list.map { "\($0.resource):\(Self.limit($0.soft)):\(Self.limit($0.hard))" }.joined(separator: ",")
        case .joins(let list): "[" + list.map { "\($0.kind.words.joined()):\(Self.source($0.source))" }.joined(separator: " ") + "]"
        case .source(let source): Self.quoted(Self.source(source))
        case .rules(let list): "[" + list.map(Self.rule).joined(separator: " ") + "]"
        }
    }

    var value: Value {
        switch self {
        case .number(let number): .int(Int64(clamping: number))
        case .flags(_, let words): .string(words.joined(separator: ","))
        case .text(let text): .string(text)
        case .optionalText(let text): text.map(Value.string) ?? .null
        case .texts(let texts): .array(texts.map(Value.string))
        case .bytes, .mappings, .limits: .string(text)
        case .pairs(let list): .array(list.map { .string($0.text) })
        case .joins(let list): .array(list.map { .string("\($0.kind.words.joined()):\(Self.source($0.source))") })
        case .source(let source): .string(Self.source(source))
        case .rules(let list): .array(list.map { .string(Self.rule($0)) })
        }
    }

    private static func source(_ source: HostSource) -> String {
        switch source {
        case .path(let path): path
        case .passed(let number): "passed:\(number)"
        }
    }

    private static func rule(_ rule: LandlockPlan.Rule) -> String { "\(quoted(rule.on)):\(rule.words.joined(separator: ","))" }

    private static func limit(_ number: UInt64) -> String { number == .max ? "unlimited" : String(number) }

    /// Quotes what has spaces, quotes or control characters, so that one entry stays one line (attack 19).
    private static func quoted(_ text: String) -> String {
        guard
            text.isEmpty
                || text.unicodeScalars.contains(where: { $0.value <= 32 || $0.value == 127 || "\"\\[]".unicodeScalars.contains($0) })
        else { return text }
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": out += "\\" + String(Character(scalar))
            case _ where scalar.value < 32 || scalar.value == 127: out += "\\u{" + String(scalar.value, radix: 16) + "}"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }

    /// FNV-1a: tells two programs apart in a printed plan; not a digest.
    private static func fingerprint(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
