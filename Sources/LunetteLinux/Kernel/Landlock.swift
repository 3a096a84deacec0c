internal import CLinux

/// Asks the kernel about Landlock.
package enum Landlock {
    /// The kernel's ABI: 1 and up, 0 where Landlock isn't built in or isn't switched on at boot.
    package static let abi: Int = Int(max(0, lnt_landlock_abi()))
}
