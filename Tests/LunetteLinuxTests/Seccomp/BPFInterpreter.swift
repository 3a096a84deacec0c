import LunetteLinux

/// Runs a seccomp program on one call, as the kernel would (kernel/seccomp.c: BPF_LD|BPF_W|BPF_ABS on `struct seccomp_data` alone).
struct BPFInterpreter {
    let instructions: [BPFInstruction]

    static let x86_64: UInt32 = 0xc000_003e
    static let i386: UInt32 = 0x4000_0003

    enum Verdict: Hashable {
        case allow, killProcess, killThread, trap, log
        case errno(UInt32)
        case trace(UInt32)
        case notify
    }

    func run(number: UInt32, arguments: [UInt64] = [], architecture: UInt32 = x86_64) -> Verdict? {
        let arguments = arguments + Array(repeating: 0, count: 6 - arguments.count)
        func word(at offset: UInt32) -> UInt32? {
            switch offset {
            case 0: return number
            case 4: return architecture
            case 8, 12: return 0
            case 16..<64 where offset.isMultiple(of: 4):
                let argument = arguments[Int(offset - 16) / 8]
                return offset.isMultiple(of: 8) ? UInt32(truncatingIfNeeded: argument) : UInt32(argument >> 32)
            default: return nil
            }
        }
        var accumulator: UInt32 = 0
        var at = 0
        while at < instructions.count {
            let instruction = instructions[at]
            at += 1
            func jump(_ holds: Bool) { at += Int(holds ? instruction.jumpTrue : instruction.jumpFalse) }
            switch instruction.code {
            case 0x20:
                guard let value = word(at: instruction.operand) else { return nil }
                accumulator = value
            case 0x54: accumulator &= instruction.operand
            case 0x05: at += Int(instruction.operand)
            case 0x15: jump(accumulator == instruction.operand)
            case 0x25: jump(accumulator > instruction.operand)
            case 0x35: jump(accumulator >= instruction.operand)
            case 0x45: jump(accumulator & instruction.operand != 0)
            case 0x06: return Self.verdict(instruction.operand)
            default: return nil
            }
        }
        return nil
    }

    private static func verdict(_ value: UInt32) -> Verdict? {
        switch value & 0xffff_0000 {
        case 0x7fff_0000: .allow
        case 0x8000_0000: .killProcess
        case 0: .killThread
        case 0x0003_0000: .trap
        case 0x7ffc_0000: .log
        case 0x7ff0_0000: .trace(value & 0xffff)
        case 0x7fc0_0000: .notify
        case 0x0005_0000: .errno(value & 0xffff)
        default: nil
        }
    }
}
