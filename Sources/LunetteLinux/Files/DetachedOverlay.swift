internal import CLinux

/// An overlay that is mounted nowhere: reached by its descriptor, seen by nobody else, gone with it.
package enum DetachedOverlay {
    private static let nosuid: UInt64 = 0x2
    private static let nodev: UInt64 = 0x4
    private static var usesUserAttributes: Bool { !UserNamespace.current.isInitial }

    /// - Parameters:
    ///   - lowers: directories, top first.
    ///   - upper: nil gives a read-only view.
    /// - Returns: the overlay's root. Dropping the last descriptor syncs the upper.
    package static func make(lowers: [String], upper: (upper: String, work: String)? = nil) throws(SystemCallError) -> Directory {
        // Overlay wants something above or two below; a single layer is its own view.
        if upper == nil, lowers.count == 1 { return try Directory(lowers[0]) }
        if let made = try makeByDescriptor(lowers, upper) { return made }
        return try makeByPath(lowers: lowers, upper: upper)
    }

    /// Layers by descriptor: Linux 6.13 and later. nil on an older kernel.
    private static func makeByDescriptor(_ lowers: [String], _ upper: (upper: String, work: String)?) throws(SystemCallError) -> Directory?
    {
        let context = FileDescriptor(owning: try check(lnt_fsopen("overlay"), "fsopen", "overlay"))
        for (index, path) in lowers.enumerated() {
            let directory = try Directory(path)
            let result = lnt_fsconfig_fd(context.number, "lowerdir+", directory.descriptor.number)
            // 6.5 to 6.12 don't take this key so; before, overlay has the old mount interface, which takes no descriptors at all.
            if index == 0, [ErrorNumber.invalid, ErrorNumber.notSupported].contains(-result) { return nil }
            try check(result, "add layer", path)
        }
        if let upper {
            for (key, path) in [("upperdir", upper.upper), ("workdir", upper.work)] {
                let directory = try Directory(path)
                try check(lnt_fsconfig_fd(context.number, key, directory.descriptor.number), "add layer", path)
            }
        }
        let label = label(lowers, upper)
        if usesUserAttributes { try check(lnt_fsconfig_flag(context.number, "userxattr"), "fsconfig", "userxattr") }
        try check(lnt_fsconfig_string(context.number, "source", "lunette"), "fsconfig", "source")
        try check(lnt_fsconfig_create(context.number), "mount overlay of", label)
        let mount = FileDescriptor(owning: try check(lnt_fsmount(context.number, nodev | nosuid), "fsmount", label))
        return Directory(mount, label: label)
    }

    /// The same for every kernel, in a thread with a mount namespace of its own.
    package static func makeByPath(lowers: [String], upper: (upper: String, work: String)? = nil) throws(SystemCallError) -> Directory {
        let label = label(lowers, upper)
        let list = lowers.joined(separator: "\0")
        let made = lnt_host_overlay_by_path(list, lowers.count, upper?.upper, upper?.work, usesUserAttributes ? 1 : 0)
        let mount = FileDescriptor(owning: try check(made, "mount overlay of", label))
        try check(lnt_mount_setattr(mount.number, "", 0x1000, nodev | nosuid, 0, 0, -1), "mount_setattr", label)
        return Directory(mount, label: label)
    }

    private static func label(_ lowers: [String], _ upper: (upper: String, work: String)?) -> String {
        upper?.upper ?? lowers.first ?? "overlay"
    }
}
