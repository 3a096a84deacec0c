internal import LunetteSpec

/// Writes the instructions that judge rules of denial before libseccomp's part runs.
///
/// libseccomp can't hold "this call, but not with these arguments": an unconditional rule swallows the conditional ones of the same call.
/// Here such a denial comes first, so it always wins.
struct SeccompPrologue {
    private(set) var instructions: [BPFInstruction] = []

    private enum Target { case next, pass, skip }
    private struct Draft {
        var code: UInt16
        var operand: UInt32
        var whenTrue = Target.next
        var whenFalse = Target.next
        /// Which argument's test it belongs to; `pass` leads to the first instruction after that test.
        var test: Int
    }

    /// - Parameters:
    ///   - number: the call's native number.
    ///   - action: the value that the filter returns.
    mutating func deny(number: UInt32, when arguments: [SeccompProfile.Argument], action: UInt32) {
        var drafts: [Draft] = [Draft(code: BPFInstruction.Code.loadWord, operand: 0, test: -1)]
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
            instructions.append(
                BPFInstruction(
                    code: draft.code, jumpTrue: offset(draft.whenTrue), jumpFalse: offset(draft.whenFalse), operand: draft.operand)
            )
        }
        instructions.append(BPFInstruction(code: BPFInstruction.Code.return, operand: action))
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
