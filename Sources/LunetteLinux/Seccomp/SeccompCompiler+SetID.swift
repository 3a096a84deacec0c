internal import LunetteSpec

extension SeccompCompiler {
    /// The same program without the calls that make a set-user-id file: what root's sandbox leaves behind belongs to root, and whoever else has an account
    /// on the machine would be root by it. A folder's set-group-id bit, which many trees have, passes.
    ///
    /// - Parameter program: one that kills the other ABIs' calls, as every compiled one does.
    package static func withoutSetUserID(_ program: [UInt8]) -> [UInt8] {
        typealias Argument = SeccompProfile.Argument
        let setUserID: UInt64 = 0o4000
        let (create, temporary): (UInt64, UInt64) = (0o100, 0o20000000)
        let denied = SeccompProfile.Action.errno.value(errno: 1)
        let abi = SeccompABI.native
        var prologue = SeccompPrologue()
        func bit(_ index: UInt32, _ value: UInt64) -> Argument { Argument(index, .maskedEqual, value, value) }
        for (name, mode) in [("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2), ("creat", 1), ("mknod", 1), ("mknodat", 2)]
            as [(String, UInt32)]
        {
            guard let number = abi.number(of: name) else { continue }
            prologue.answer(abi, number: number, when: [bit(mode, setUserID)], action: denied)
        }
        for (name, flags) in [("open", 1), ("openat", 2)] as [(String, UInt32)] {
            guard let number = abi.number(of: name) else { continue }
            // Without a new file the mode is whatever happens to be there.
            for flag in [create, temporary] {
                prologue.answer(abi, number: number, when: [bit(flags, flag), bit(flags + 1, setUserID)], action: denied)
            }
        }
        // Its mode lies in memory, and io_uring's calls pass no filter: answered as by an older kernel, programs fall back.
        for name in ["openat2", "io_uring_setup"] {
            guard let number = abi.number(of: name) else { continue }
            prologue.answer(abi, number: number, action: SeccompProfile.Action.errno.value(errno: 38))
        }
        return BPFInstruction.encode(nativeOnly + prologue.instructions) + program
    }
}
