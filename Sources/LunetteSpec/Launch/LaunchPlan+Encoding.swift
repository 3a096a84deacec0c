/// Turns records into the bytes that `launch_plan.h` describes: little-endian, every item on an 8-byte boundary, texts ended by NUL.
package enum LaunchEncoder {
    package static let magic: UInt64 = 0x314E_414C_5054_4E4C  // "LNTPLAN1" as bytes
    package static let version: UInt32 = 1
    /// Longer plans are refused by the shim (`LNT_PLAN_MAXIMUM`).
    package static let maximumSize = 8 << 20

    package enum Kind: UInt32, Sendable { case launch = 1, exec = 2 }

    /// - Throws: `invalid_argument` when a text holds a NUL, a slot is out of range, or the whole is too large.
    package static func encode(_ records: [LaunchRecord], kind: Kind) throws(LunetteError) -> [UInt8] {
        var out: [UInt8] = []
        append(magic, to: &out)
        append(UInt64(version) | UInt64(kind.rawValue) << 32, to: &out)
        append(0, to: &out)  // length, below
        append(UInt64(records.count), to: &out)
        for record in records {
            let start = out.count
            append(0, to: &out)
            for field in record.fields { try append(field.value, named: field.name, of: record, to: &out) }
            let header = UInt64(record.opcode.rawValue) | UInt64(out.count - start - 8) << 32
            overwrite(header, at: start, in: &out)
        }
        guard out.count <= maximumSize else {
            throw LunetteError(.invalidArgument, "the launch plan has \(out.count) bytes, more than \(maximumSize)")
        }
        overwrite(UInt64(out.count), at: 16, in: &out)
        return out
    }

    private static func append(
        _ field: LaunchRecord.Field, named name: String, of record: LaunchRecord, to out: inout [UInt8]
    ) throws(LunetteError) {
        switch field {
        case .number(let number):
            if name == "slot" || name == "store", number >= UInt64(TreeSlot.limit) {
                throw LunetteError(.invalidArgument, "more than \(TreeSlot.limit) mounted trees in one container")
            }
            append(number, to: &out)
        case .flags(let number, _): append(number, to: &out)
        case .text(let text): try append(text, named: name, of: record, to: &out)
        case .optionalText(let text): try append(text ?? "", named: name, of: record, to: &out)
        case .texts(let texts):
            append(UInt64(texts.count), to: &out)
            for text in texts { try append(text, named: name, of: record, to: &out) }
        case .bytes(let bytes):
            append(UInt64(bytes.count), to: &out)
            out += bytes
            pad(&out)
        case .mappings(let mappings):
            append(UInt64(mappings.count), to: &out)
            for mapping in mappings {
                append(UInt64(mapping.containerID), to: &out)
                append(UInt64(mapping.hostID), to: &out)
                append(UInt64(mapping.size), to: &out)
            }
        case .pairs(let options):
            append(UInt64(options.count), to: &out)
            for option in options {
                append(option.value == nil ? 0 : 1, to: &out)
                try append(option.key, named: name, of: record, to: &out)
                try append(option.value ?? "", named: name, of: record, to: &out)
            }
        case .limits(let limits):
            append(UInt64(limits.count), to: &out)
            for limit in limits {
                append(UInt64(limit.resource), to: &out)
                append(limit.soft, to: &out)
                append(limit.hard, to: &out)
            }
        case .joins(let joins):
            append(UInt64(joins.count), to: &out)
            for join in joins {
                append(join.kind.rawValue, to: &out)
                try append(.source(join.source), named: name, of: record, to: &out)
            }
        case .rules(let rules):
            append(UInt64(rules.count), to: &out)
            for rule in rules {
                append(rule.rights, to: &out)
                try append(rule.on, named: name, of: record, to: &out)
            }
        case .source(.path(let path)):
            append(0, to: &out)
            try append(path, named: name, of: record, to: &out)
        case .source(.passed(let number)):
            append(UInt64(number) + 1, to: &out)
            try append("", named: name, of: record, to: &out)
        }
    }

    private static func append(
        _ text: String, named name: String, of record: LaunchRecord, to out: inout [UInt8]
    ) throws(LunetteError) {
        let bytes = Array(text.utf8)
        guard !bytes.contains(0) else {
            throw LunetteError(.invalidArgument, "\(record.opcode.name): \(name) holds a zero byte")
        }
        append(UInt64(bytes.count), to: &out)
        out += bytes
        out.append(0)
        pad(&out)
    }

    private static func append(_ number: UInt64, to out: inout [UInt8]) {
        for shift in stride(from: 0, to: 64, by: 8) { out.append(UInt8(truncatingIfNeeded: number >> UInt64(shift))) }
    }

    private static func overwrite(_ number: UInt64, at offset: Int, in out: inout [UInt8]) {
        for index in 0..<8 { out[offset + index] = UInt8(truncatingIfNeeded: number >> UInt64(8 * index)) }
    }

    private static func pad(_ out: inout [UInt8]) { while out.count % 8 != 0 { out.append(0) } }
}

extension LaunchPlan {
    /// The bytes for the shim's plan descriptor.
    ///
    /// - Throws: `invalid_argument`, see `LaunchEncoder.encode`.
    package func encoded() throws(LunetteError) -> [UInt8] { try LaunchEncoder.encode(records, kind: .launch) }
}

extension ExecPlan {
    /// The bytes for the first descriptor of an exec request.
    ///
    /// - Throws: `invalid_argument`, see `LaunchEncoder.encode`.
    package func encoded() throws(LunetteError) -> [UInt8] { try LaunchEncoder.encode(records, kind: .exec) }
}
