internal import CLinux
package import LunetteSpec

/// The capability sets of the calling thread, by number (capabilities(7)).
package struct ProcessCapabilities: Sendable, Equatable {
    package var effective: UInt64
    package var permitted: UInt64
    package var inheritable: UInt64

    /// Asks the kernel (capget(2)).
    package init() throws(SystemCallError) {
        (effective, permitted, inheritable) = (0, 0, 0)
        try check(lnt_capget(&effective, &permitted, &inheritable), "capget")
    }

    /// Nil where the kernel doesn't tell, which a seccomp filter may want.
    package static var own: ProcessCapabilities? { try? ProcessCapabilities() }

    /// Whether the thread may use it now.
    package func isEffective(_ capability: Capability) -> Bool { effective & (1 << UInt64(capability.rawValue)) != 0 }

    /// Whether the thread may take it, or leave it to a program.
    package func isPermitted(_ capability: Capability) -> Bool { permitted & (1 << UInt64(capability.rawValue)) != 0 }
}
