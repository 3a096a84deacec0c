internal import LunetteSpec

/// Writes the instructions that judge calls before libseccomp's part runs, for each ABI its own:
///
/// - Denials with conditions of calls that pass otherwise. libseccomp can't hold "this call, but not with these arguments": an
///   unconditional rule swallows the conditional ones of the same call. Here such a denial comes first, so it always wins.
/// - Calls that libseccomp is too old to know, where its translation between ABIs would fail.
/// - ENOSYS for calls newer than the newest that the profile names: a C library that tries one falls back as on an older kernel, which
///   EPERM, the usual default, keeps it from (as runc does).
struct SeccompPrologue {
    private var sections: [SeccompABI: [BPFInstruction]] = [:]

    private enum Target { case next, pass, skip }
    private struct Draft {
        var code: UInt16
        var operand: UInt32
        var whenTrue = Target.next
        var whenFalse = Target.next
        /// Which argument's test it belongs to; `pass` leads to the first instruction after that test.
        var test: Int
    }

    /// `seccomp_data.nr` and `seccomp_data.arch`.
    private enum Offset {
        static let number: UInt32 = 0
        static let architecture: UInt32 = 4
    }

    /// Returns the action for a call when all conditions hold (each on another argument).
    ///
    /// - Parameters:
    ///   - number: the call's number in that ABI.
    ///   - action: the value that the filter returns.
    mutating func answer(_ abi: SeccompABI, number: UInt32, when arguments: [SeccompProfile.Argument] = [], action: UInt32) {
        var drafts: [Draft] = [Draft(code: BPFInstruction.Code.loadWord, operand: Offset.number, test: -1)]
        drafts.append(Draft(code: BPFInstruction.Code.jumpEqual, operand: number, whenFalse: .skip, test: -1))
        for (test, argument) in arguments.enumerated() { Self.append(argument, test, to: &drafts) }
        let returning = drafts.count
        for (index, draft) in drafts.enumerated() {
            func offset(_ target: Target) -> UInt8 {
                switch target {
                case .next: 0
                case .skip: UInt8(returning - index)
                case .pass: UInt8((drafts[index...].firstIndex { $0.test > draft.test } ?? returning) - index - 1)
                }
            }
            sections[abi, default: []].append(
                BPFInstruction(
                    code: draft.code, jumpTrue: offset(draft.whenTrue), jumpFalse: offset(draft.whenFalse), operand: draft.operand)
            )
        }
        sections[abi, default: []].append(BPFInstruction(code: BPFInstruction.Code.return, operand: action))
    }

    /// Returns the action for every call above a number.
    mutating func answer(_ abi: SeccompABI, above last: UInt32, action: UInt32) {
        sections[abi, default: []] += [
            BPFInstruction(code: BPFInstruction.Code.loadWord, operand: Offset.number),
            BPFInstruction(code: BPFInstruction.Code.jumpGreater, jumpFalse: 1, operand: last),
            BPFInstruction(code: BPFInstruction.Code.return, operand: action),
        ]
    }

    /// The whole, which runs on into libseccomp's program where it has no answer.
    ///
    /// x32 calls come under x86_64's architecture: bit 30 leads to their section, or past x86_64's when there is none.
    var instructions: [BPFInstruction] {
        var result: [BPFInstruction] = []
        for abi in SeccompABI.allCases where abi != .x32 {
            let own = sections[abi] ?? []
            let x32 = abi == .x86_64 ? sections[.x32] ?? [] : []
            guard !own.isEmpty || !x32.isEmpty else { continue }
            var body: [BPFInstruction] = []
            if abi == .x86_64 {
                body.append(BPFInstruction(code: BPFInstruction.Code.loadWord, operand: Offset.number))
                // Without the bit: over the next jump, into x86_64's own section.
                body.append(BPFInstruction(code: BPFInstruction.Code.jumpSet, jumpFalse: 1, operand: SeccompABI.x32Bit))
                let isLast = x32.isEmpty
                body.append(BPFInstruction(code: BPFInstruction.Code.jump, operand: UInt32(own.count + (isLast ? 0 : 1))))
                body += own
                if !isLast { body.append(BPFInstruction(code: BPFInstruction.Code.jump, operand: UInt32(x32.count))) }
                body += x32
            } else {
                body = own
            }
            result += [
                BPFInstruction(code: BPFInstruction.Code.loadWord, operand: Offset.architecture),
                BPFInstruction(code: BPFInstruction.Code.jumpEqual, jumpTrue: 1, operand: abi.auditArchitecture),
                BPFInstruction(code: BPFInstruction.Code.jump, operand: UInt32(body.count)),
            ]
            result += body
        }
        return result
    }

    /// `struct seccomp_data`: nr, arch, instruction pointer, then six arguments of 64 bits, low word first on little-endian machines.
    private static func append(_ argument: SeccompProfile.Argument, _ test: Int, to drafts: inout [Draft]) {
        let low = 16 + argument.index * 8
        let high = low + 4
        let expected = argument.comparison == .maskedEqual ? argument.valueTwo : argument.value
        let (expectedHigh, expectedLow) = (UInt32(expected >> 32), UInt32(truncatingIfNeeded: expected))
        func load(_ offset: UInt32, mask: UInt32?) {
            drafts.append(Draft(code: BPFInstruction.Code.loadWord, operand: offset, test: test))
            if let mask { drafts.append(Draft(code: BPFInstruction.Code.and, operand: mask, test: test)) }
        }
        func jump(_ code: UInt16, _ operand: UInt32, _ whenTrue: Target, _ whenFalse: Target) {
            drafts.append(Draft(code: code, operand: operand, whenTrue: whenTrue, whenFalse: whenFalse, test: test))
        }
        let isMasked = argument.comparison == .maskedEqual
        load(high, mask: isMasked ? UInt32(argument.value >> 32) : nil)
        switch argument.comparison {
        case .equal, .maskedEqual:
            jump(BPFInstruction.Code.jumpEqual, expectedHigh, .next, .skip)
            load(low, mask: isMasked ? UInt32(truncatingIfNeeded: argument.value) : nil)
            jump(BPFInstruction.Code.jumpEqual, expectedLow, .next, .skip)
        case .notEqual:
            jump(BPFInstruction.Code.jumpEqual, expectedHigh, .next, .pass)
            load(low, mask: nil)
            jump(BPFInstruction.Code.jumpEqual, expectedLow, .skip, .next)
        case .greater, .greaterOrEqual:
            jump(BPFInstruction.Code.jumpGreater, expectedHigh, .pass, .next)
            jump(BPFInstruction.Code.jumpEqual, expectedHigh, .next, .skip)
            load(low, mask: nil)
            let code = argument.comparison == .greater ? BPFInstruction.Code.jumpGreater : BPFInstruction.Code.jumpGreaterOrEqual
            jump(code, expectedLow, .next, .skip)
        case .less, .lessOrEqual:
            jump(BPFInstruction.Code.jumpGreater, expectedHigh, .skip, .next)
            jump(BPFInstruction.Code.jumpEqual, expectedHigh, .next, .pass)
            load(low, mask: nil)
            let code = argument.comparison == .less ? BPFInstruction.Code.jumpGreaterOrEqual : BPFInstruction.Code.jumpGreater
            jump(code, expectedLow, .skip, .next)
        }
    }
}
