internal import CSeccomp
package import LunetteSpec

/// One way to make system calls that processes of this machine may use; each counts its calls in its own way.
package enum SeccompABI: String, CaseIterable, Sendable {
    case x86_64 = "SCMP_ARCH_X86_64"
    case x86 = "SCMP_ARCH_X86"
    /// Shares x86_64's number of the architecture; its calls have bit 30 set.
    case x32 = "SCMP_ARCH_X32"
    case aarch64 = "SCMP_ARCH_AARCH64"
    case arm = "SCMP_ARCH_ARM"

    package static let native: SeccompABI = Platform.native.architecture == "arm64" ? .aarch64 : .x86_64

    /// Those of this processor.
    package static let runnable: [SeccompABI] = native == .aarch64 ? [.aarch64, .arm] : [.x86_64, .x86, .x32]

    /// What a profile judges here: the native ABI always, others of this processor when they are listed. Names of other processors mean nothing.
    package static func judged(by profile: SeccompProfile) -> [SeccompABI] {
        runnable.filter { $0 == native || profile.architectures.contains($0.rawValue) }
    }

    /// AUDIT_ARCH_* of linux/audit.h, as `seccomp_data.arch` has it.
    package var auditArchitecture: UInt32 {
        switch self {
        case .x86_64, .x32: 0xc000_003e
        case .x86: 0x4000_0003
        case .aarch64: 0xc000_00b7
        case .arm: 0x4000_0028
        }
    }

    /// libseccomp's token.
    var token: UInt32 { self == .x32 ? 0x4000_003e : auditArchitecture }

    static let x32Bit: UInt32 = 0x4000_0000

    /// The call's number; nil for a call that this ABI doesn't have, or reaches through another only (socketcall).
    package func number(of name: String) -> UInt32? {
        let number = seccomp_syscall_resolve_name_arch(token, name)
        if number >= 0 { return UInt32(number) }
        return Self.newer[name].map { self == .x32 ? $0 | Self.x32Bit : $0 }
    }

    /// libseccomp doesn't know the call by name, so rules for it are written by `SeccompPrologue`.
    static func isNewer(_ name: String) -> Bool { newer[name] != nil && seccomp_syscall_resolve_name(name) == -1 }

    /// Calls that came after libseccomp 2.5.4. Since 424 all ABIs count alike.
    private static let newer: [String: UInt32] = [
        "process_mrelease": 448, "futex_waitv": 449, "set_mempolicy_home_node": 450, "cachestat": 451, "fchmodat2": 452,
        "map_shadow_stack": 453,
        "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456, "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459,
        "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462, "setxattrat": 463,
        "getxattrat": 464, "listxattrat": 465, "removexattrat": 466, "open_tree_attr": 467, "file_getattr": 468, "file_setattr": 469,
    ]
}
