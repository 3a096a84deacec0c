internal import LunetteSpec

extension SeccompCompiler {
    /// The same program with Landlock's rules for TCP ports made whole: Landlock (ABI 7) judges bind(2) and connect(2) of plain TCP sockets alone. A
    /// socket of MPTCP or SCTP reaches any port, and MSG_FASTOPEN connects by sending. Both are answered as by a kernel without them, so that programs
    /// fall back.
    ///
    /// - Parameter program: empty where there is no other filter.
    package static func holdingPorts(_ program: [UInt8]) -> [UInt8] {
        typealias Argument = SeccompProfile.Argument
        let (streamType, typeMask): (UInt64, UInt64) = (1, 0xf)
        let (tcp, sctp): (UInt64, UInt64) = (6, 132)
        let fastOpen: UInt64 = 0x2000_0000
        let noProtocol = SeccompProfile.Action.errno.value(errno: 93)
        let notSupported = SeccompProfile.Action.errno.value(errno: 95)
        var prologue = SeccompPrologue()
        let abi = SeccompABI.native
        // The kernel reads these arguments as 32 bits, whatever stands above.
        func lowHalf(_ index: UInt32, _ value: UInt64) -> Argument { Argument(index, .maskedEqual, 0xffff_ffff, value) }
        if let socket = abi.number(of: "socket") {
            for family: UInt64 in [2, 10] {
                prologue.answer(
                    abi, number: socket,
                    when: [lowHalf(0, family), Argument(1, .maskedEqual, typeMask, streamType), Argument(2, .greater, tcp)],
                    action: noProtocol)
                prologue.answer(abi, number: socket, when: [lowHalf(0, family), lowHalf(2, sctp)], action: noProtocol)
            }
            // Falls back to TCP.
            let smc: UInt64 = 43
            prologue.answer(abi, number: socket, when: [lowHalf(0, smc)], action: SeccompProfile.Action.errno.value(errno: 97))
        }
        // Its requests pass no filter.
        if let rings = abi.number(of: "io_uring_setup") {
            prologue.answer(abi, number: rings, action: SeccompProfile.Action.errno.value(errno: 38))
        }
        for (name, flags) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] as [(String, UInt32)] {
            guard let number = abi.number(of: name) else { continue }
            prologue.answer(abi, number: number, when: [Argument(flags, .maskedEqual, fastOpen, fastOpen)], action: notSupported)
        }
        let allow = BPFInstruction(code: BPFInstruction.Code.return, operand: 0x7fff_0000)
        return BPFInstruction.encode(nativeOnly + prologue.instructions) + (program.isEmpty ? BPFInstruction.encode([allow]) : program)
    }

    /// Kills whoever calls by another ABI's numbers, as libseccomp's own beginning does: they would have to be judged once more, and socketcall(2) can't be.
    static var nativeOnly: [BPFInstruction] {
        typealias Code = BPFInstruction.Code
        let kill = BPFInstruction(code: Code.return, operand: 0x8000_0000)
        var result = [
            BPFInstruction(code: Code.loadWord, operand: 4),
            BPFInstruction(code: Code.jumpEqual, jumpTrue: 1, operand: SeccompABI.native.auditArchitecture), kill,
        ]
        if SeccompABI.native == .x86_64 {
            result += [
                BPFInstruction(code: Code.loadWord, operand: 0),
                BPFInstruction(code: Code.jumpSet, jumpFalse: 1, operand: SeccompABI.x32Bit), kill,
            ]
        }
        return result
    }
}
