/// One instruction of a seccomp program: `struct sock_filter` (linux/filter.h), eight bytes in the machine's order.
package struct BPFInstruction: Sendable, Hashable {
    package var code: UInt16
    package var jumpTrue: UInt8
    package var jumpFalse: UInt8
    package var operand: UInt32

    package static let size = 8
    /// The kernel's BPF_MAXINSNS.
    package static let maximumCount = 4096

    package init(code: UInt16, jumpTrue: UInt8 = 0, jumpFalse: UInt8 = 0, operand: UInt32) {
        self.code = code
        self.jumpTrue = jumpTrue
        self.jumpFalse = jumpFalse
        self.operand = operand
    }

    /// Codes of classic BPF as seccomp uses them.
    package enum Code {
        package static let loadWord: UInt16 = 0x20  // BPF_LD | BPF_W | BPF_ABS
        package static let and: UInt16 = 0x54  // BPF_ALU | BPF_AND | BPF_K
        package static let jump: UInt16 = 0x05  // BPF_JMP | BPF_JA
        package static let jumpEqual: UInt16 = 0x15  // BPF_JMP | BPF_JEQ | BPF_K
        package static let jumpGreater: UInt16 = 0x25
        package static let jumpGreaterOrEqual: UInt16 = 0x35
        package static let jumpSet: UInt16 = 0x45  // BPF_JMP | BPF_JSET | BPF_K
        package static let `return`: UInt16 = 0x06  // BPF_RET | BPF_K
    }

    package static func encode(_ instructions: [BPFInstruction]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(instructions.count * size)
        for instruction in instructions {
            withUnsafeBytes(of: instruction.code) { bytes.append(contentsOf: $0) }
            bytes.append(instruction.jumpTrue)
            bytes.append(instruction.jumpFalse)
            withUnsafeBytes(of: instruction.operand) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    /// - Returns: nil when the bytes are no whole number of instructions.
    package static func decode(_ bytes: [UInt8]) -> [BPFInstruction]? {
        guard bytes.count.isMultiple(of: size) else { return nil }
        var result: [BPFInstruction] = []
        for at in stride(from: 0, to: bytes.count, by: size) {
            let code = bytes[at..<at + 8].withUnsafeBytes { $0.loadUnaligned(as: UInt16.self) }
            let operand = bytes[at..<at + 8].withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self) }
            result.append(BPFInstruction(code: code, jumpTrue: bytes[at + 2], jumpFalse: bytes[at + 3], operand: operand))
        }
        return result
    }
}
