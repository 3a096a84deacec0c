internal import CLinux
internal import LunetteSpec

/// Finds shims (and inits that wait at their gate) by what they hold open: also those whose socket isn't there yet, or not any more.
package enum ShimScan {
    /// fd 5 of a shim is its container's run directory, see docs/launch-plan.md.
    private static let runDirectory = 5

    /// Every shim that holds this folder open as its container's, by whatever path it was opened. Blocks.
    package static func find(holding folder: Directory) -> [ProcessIdentity] {
        let emptyPath: Int32 = 0x1000
        var (own, held) = (lnt_host_stat(), lnt_host_stat())
        guard lnt_host_stat(folder.descriptor.number, "", emptyPath, &own) == 0 else { return [] }
        return shims().compactMap { pid in
            guard lnt_host_stat(-100, "/proc/\(pid)/fd/\(runDirectory)", 0, &held) == 0, held.inode == own.inode, held.device == own.device
            else { return nil }
            return ProcessIdentity.of(pid: pid)
        }
    }

    /// By the name that a shim and its stages have, lowest first: a shim before its children.
    private static func shims() -> [Int32] {
        // Without /proc nothing of this works; an unreadable one shows nothing.
        guard let proc = try? Directory("/proc"), let names = try? proc.entries() else { return [] }
        return names.compactMap { Int32($0) }.sorted().filter { readSmallFile("/proc/\($0)/comm")?.trimmed == "lunette-shim" }
    }

    /// Every process that works for a container whose run directory lies in `folder`, by container id; a shim before its children. Blocks.
    package static func find(below folder: String) -> [String: [ProcessIdentity]] {
        let prefix = "\(folder)/"
        var found: [String: [ProcessIdentity]] = [:]
        for pid in shims() {
            guard let target = try? readLink("/proc/\(pid)/fd/\(runDirectory)"), target.hasPrefix(prefix) else { continue }
            var id = String(target.dropFirst(prefix.count))
            if id.hasSuffix(" (deleted)") { id = String(id.dropLast(10)) }
            guard !id.hasSlash, let identity = ProcessIdentity.of(pid: pid) else { continue }
            found[id, default: []].append(identity)
        }
        return found
    }
}
