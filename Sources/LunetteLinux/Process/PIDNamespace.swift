internal import CLinux

/// A pid namespace as a list of who is in it: what a container without a cgroup has instead.
package enum PIDNamespace {
    /// Every process of the namespace that `pid` is in, sorted; none when it has gone or isn't ours to look at. Blocks.
    package static func processes(besides pid: Int32) -> [Int32] {
        // Without /proc there is nothing to list.
        guard let own = name(pid), let names = try? Directory("/proc").entries() else { return [] }
        return names.compactMap { Int32($0) }.filter { name($0) == own }.sorted()
    }

    private static func name(_ pid: Int32) -> String? {
        var buffer = [CChar](repeating: 0, count: 64)
        let count = lnt_host_readlinkat(-100, "/proc/\(pid)/ns/pid", &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }
}
