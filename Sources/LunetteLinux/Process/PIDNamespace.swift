/// A pid namespace as a list of who is in it: what a container without a cgroup has instead.
package enum PIDNamespace {
    /// Every process of the namespace that `pid` is in, sorted; none when it has gone or isn't ours to look at. Blocks.
    package static func processes(besides pid: Int32) -> [Int32] {
        // Without /proc there is nothing to list.
        guard let own = name(pid), let names = try? Directory("/proc").entries() else { return [] }
        return names.compactMap { Int32($0) }.filter { name($0) == own }.sorted()
    }

    // Gone, or not ours to look at: in no namespace that we know of.
    private static func name(_ pid: Int32) -> String? { try? readLink("/proc/\(pid)/ns/pid") }
}
