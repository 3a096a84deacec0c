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
        let directories = try lowers.map { (lower) throws(SystemCallError) in try Directory(lower) }
        let context = FileDescriptor(owning: try check(lnt_fsopen("overlay"), "fsopen", "overlay"))
        // Kernels before 6.13 take layers by path, before 6.5 as one list: descriptors have short paths through /proc, and fsconfig takes 255 bytes.
        var isList = false
        for directory in directories where !isList { isList = try !add(context, "lowerdir+", directory) }
        if isList {
            let list = directories.map { "/proc/self/fd/\($0.descriptor.number)" }.joined(separator: ":")
            try check(lnt_fsconfig_string(context.number, "lowerdir", list), "add the layers", lowers.joined(separator: ":"))
        }
        if let upper {
            for (key, path) in [("upperdir", upper.upper), ("workdir", upper.work)] {
                let directory = try Directory(path)
                if try !add(context, key, directory) { throw SystemCallError("add layer", path, errno: ErrorNumber.invalid) }
            }
        }
        try check(lnt_fsconfig_string(context.number, "source", "lunette"), "fsconfig", "source")
        try check(lnt_fsconfig_create(context.number), "mount overlay of", upper?.upper ?? lowers.first ?? "")
        let nodev: UInt64 = 0x4
        let nosuid: UInt64 = 0x2
        let mount = FileDescriptor(owning: try check(lnt_fsmount(context.number, nodev | nosuid), "fsmount", upper?.upper ?? ""))
        return Directory(mount, label: upper?.upper ?? lowers.first ?? "overlay")
    }

    /// - Returns: false when this kernel doesn't know the key.
    private static func add(_ context: FileDescriptor, _ key: String, _ directory: Directory) throws(SystemCallError) -> Bool {
        var result = lnt_fsconfig_fd(context.number, key, directory.descriptor.number)
        if -result == ErrorNumber.invalid {
            result = lnt_fsconfig_string(context.number, key, "/proc/self/fd/\(directory.descriptor.number)")
        }
        if -result == ErrorNumber.invalid { return false }
        try check(result, "add layer", directory.label)
        return true
    }
}
