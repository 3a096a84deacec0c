internal import CLinux
internal import LunetteSpec

/// Finds shims (and inits that wait at their gate) by what they hold open: also those whose socket isn't there yet, or not any more.
package enum ShimScan {
    /// fd 5 of a shim is its container's run directory, see docs/launch-plan.md.
    private static let runDirectory = 5

    /// Every shim that holds this folder open as its container's, by whatever path it was opened. Blocks.
    package static func find(holding folder: Directory) -> [ProcessIdentity] {
        var own = lnt_host_stat()
        // Without /proc nothing of this works; an unreadable one shows nothing.
        guard lnt_host_stat(folder.descriptor.number, "", 0x1000, &own) == 0,
            let proc = try? Directory("/proc"), let names = try? proc.entries()
        else { return [] }
        return names.compactMap({ Int32($0) }).sorted().compactMap { pid in
            var held = lnt_host_stat()
            guard readSmallFile("/proc/\(pid)/comm")?.trimmed == "lunette-shim", let identity = ProcessIdentity.of(pid: pid),
                lnt_host_stat(-100, "/proc/\(pid)/fd/\(runDirectory)", 0, &held) == 0, held.inode == own.inode, held.device == own.device
            else { return nil }
            return identity
        }
    }

    /// Every process that works for a container whose run directory lies in `folder`, by container id; a shim before its children. Blocks.
    package static func find(below folder: String) -> [String: [ProcessIdentity]] {
        // Without /proc nothing of this works; an unreadable one shows nothing.
        guard let proc = try? Directory("/proc"), let names = try? proc.entries() else { return [:] }
        let prefix = "\(folder)/"
        var found: [String: [ProcessIdentity]] = [:]
        for pid in names.compactMap({ Int32($0) }).sorted() {
            guard let command = readSmallFile("/proc/\(pid)/comm"), command.trimmed == "lunette-shim",
                let target = try? readLink("/proc/\(pid)/fd/\(runDirectory)"), target.hasPrefix(prefix)
            else { continue }
            var id = String(target.dropFirst(prefix.count))
            if id.hasSuffix(" (deleted)") { id = String(id.dropLast(10)) }
            guard !id.hasSlash, let identity = ProcessIdentity.of(pid: pid) else { continue }
            found[id, default: []].append(identity)
        }
        return found
    }
}
