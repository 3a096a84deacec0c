internal import CLinux

/// An overlay that is mounted nowhere: reached by its descriptor, seen by nobody else, gone with it.
package enum DetachedOverlay {
    /// - Parameters:
    ///   - lowers: directories, top first.
    ///   - upper: nil gives a read-only view.
    /// - Returns: the overlay's root. Dropping the last descriptor syncs the upper.
    package static func make(lowers: [String], upper: (upper: String, work: String)? = nil) throws(SystemCallError) -> Directory {
        // Overlay wants something above or two below; a single layer is its own view.
        if upper == nil, lowers.count == 1 { return try Directory(lowers[0]) }
        let context = FileDescriptor(owning: try check(lnt_fsopen("overlay"), "fsopen", "overlay"))
        for lower in lowers { try add(context, "lowerdir+", lower) }
        if let upper {
            try add(context, "upperdir", upper.upper)
            try add(context, "workdir", upper.work)
        }
        try check(lnt_fsconfig_string(context.number, "source", "lunette"), "fsconfig", "source")
        try check(lnt_fsconfig_create(context.number), "mount overlay of", upper?.upper ?? lowers.first ?? "")
        let nodev: UInt64 = 0x4
        let nosuid: UInt64 = 0x2
        let mount = FileDescriptor(owning: try check(lnt_fsmount(context.number, nodev | nosuid), "fsmount", upper?.upper ?? ""))
        return Directory(mount, label: upper?.upper ?? lowers.first ?? "overlay")
    }

    private static func add(_ context: FileDescriptor, _ key: String, _ path: String) throws(SystemCallError) {
        let directory = try Directory(path)
        let result = lnt_fsconfig_fd(context.number, key, directory.descriptor.number)
        // Kernels before 6.13 take layers by path only.
        if -result == ErrorNumber.invalid {
            try check(lnt_fsconfig_string(context.number, key, "/proc/self/fd/\(directory.descriptor.number)"), "add layer", path)
        } else {
            try check(result, "add layer", path)
        }
    }
}
