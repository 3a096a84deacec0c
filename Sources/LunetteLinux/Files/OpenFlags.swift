/// Linux's flags of `openat` and `openat2` (x86-64 and arm64 values where they differ).
package struct OpenFlags: OptionSet, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let readOnly = OpenFlags([])
    package static let writeOnly = OpenFlags(rawValue: 0o1)
    package static let readWrite = OpenFlags(rawValue: 0o2)
    package static let create = OpenFlags(rawValue: 0o100)
    package static let exclusive = OpenFlags(rawValue: 0o200)
    package static let noTerminal = OpenFlags(rawValue: 0o400)
    package static let truncate = OpenFlags(rawValue: 0o1000)
    package static let append = OpenFlags(rawValue: 0o2000)
    package static let nonblocking = OpenFlags(rawValue: 0o4000)
    package static let path = OpenFlags(rawValue: 0o10000000)
    #if arch(arm64)
        package static let directory = OpenFlags(rawValue: 0o40000)
        package static let noFollow = OpenFlags(rawValue: 0o100000)
    #else
        package static let directory = OpenFlags(rawValue: 0o200000)
        package static let noFollow = OpenFlags(rawValue: 0o400000)
    #endif
}

/// Scopes of a path look-up, `openat2`'s RESOLVE_ flags.
package struct ResolveScope: OptionSet, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let noCrossingMounts = ResolveScope(rawValue: 0x01)
    package static let noMagicLinks = ResolveScope(rawValue: 0x02)
    package static let noSymbolicLinks = ResolveScope(rawValue: 0x04)
    /// For our own trees: whatever leads out is EXDEV.
    package static let beneath: ResolveScope = [ResolveScope(rawValue: 0x08), .noMagicLinks]
    /// For a container's root: absolute links and `..` are read as inside it (Debian's `/var/run -> /run` works).
    package static let inRoot: ResolveScope = [ResolveScope(rawValue: 0x10), .noMagicLinks]
}
