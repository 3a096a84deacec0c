internal import CLinux

/// One cgroup directory of one hierarchy: reads and writes its files.
package struct CgroupFile: Sendable, Equatable {
    package var path: String
    package var controllers: [String]

    package init(path: String, controllers: [String]) {
        self.path = path
        self.controllers = controllers
    }

    package func read(_ name: String) -> String? { readSmallFile("\(path)/\(name)") }

    package func readNumber(_ name: String) -> Int64? { read(name).flatMap { Int64($0.trimmed) } }

    /// `key value` lines.
    package func readTable(_ name: String) -> [String: Int64] { Self.table(read(name) ?? "") }

    package static func table(_ text: String) -> [String: Int64] {
        var table: [String: Int64] = [:]
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count == 2, let number = Int64(fields[1]) { table[String(fields[0])] = number }
        }
        return table
    }

    package func has(_ name: String) -> Bool {
        var status = lnt_host_stat()
        return lnt_host_stat(-100, "\(path)/\(name)", 0, &status) == 0
    }

    /// The words of a file of names (`cgroup.controllers`).
    func words(_ name: String) -> Set<String> { Set((read(name) ?? "").split(whereSeparator: \.isWhitespace).map(String.init)) }

    /// Whether the directory is there and is a cgroup.
    package var exists: Bool { has("cgroup.procs") }

    /// Lets the container see its own limits: inside, a cgroup's owner is nobody, and the way to it is walked with the container's rights when
    /// its view is mounted. The umask of who made it takes that away.
    func letEverybodyRead() throws(SystemCallError) {
        var status = lnt_host_stat()
        if lnt_host_stat(-100, path, 0, &status) == 0, status.mode & 0o777 == 0o755 { return }
        let made = try Directory(path)
        let changed = withExtendedLifetime(made) { lnt_host_fchmod(made.descriptor.number, 0o755) }
        try check(changed, "chmod", path)
    }

    /// Removes a cgroup that nobody uses; one in use, or gone, is no failure.
    static func removeIfEmpty(_ path: String) { _ = lnt_host_unlinkat(-100, path, 0x200) }

    /// Writes one of the directory's files in one call. Throws what the kernel answers (cgroups(7)).
    package func write(_ name: String, _ value: String) throws(SystemCallError) { try write(name, [value]) }

    /// Writes several values to one file, each by its own call: the kernel reads a cgroup file's value from a single one.
    package func write(_ name: String, _ values: [String]) throws(SystemCallError) {
        let whole = "\(path)/\(name)"
        let fd = FileDescriptor(owning: try check(lnt_host_openat(-100, whole, 1, 0), "open", whole))
        for value in values {
            let bytes = Array(value.utf8)
            let wrote = bytes.withUnsafeBytes { lnt_host_write(fd.number, $0.baseAddress, $0.count) }
            if wrote < 0 { throw SystemCallError("write \"\(value)\" to", whole, errno: Int32(-wrote)) }
        }
    }

    /// Process ids of the cgroup itself, without its children; of whom none is seen from here, none.
    package func processes() -> [Int32] { occupants().filter { $0 > 0 } }

    /// The same, with the 0 that v2 shows for each process of another pid namespace than ours. To kill(2) that would be the caller's own group.
    func occupants() -> [Int32] { (read("cgroup.procs") ?? "").split(separator: "\n").compactMap { Int32($0) } }
}
