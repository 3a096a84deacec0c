import Glibc

/// The processes of this machine, as procfs shows them. Read with read(2) and searched as bytes: these lists are made again and again until
/// something is gone, and what Foundation makes of each command line on the way stays in the test process's memory.
enum ProcessList {
    /// All pids there are now.
    static func pids() -> [pid_t] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var pids: [pid_t] = []
        while let entry = readdir(folder) {
            let pid = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { strtol($0, nil, 10) }
            }
            if pid > 0 { pids.append(pid_t(pid)) }
        }
        return pids
    }

    /// A file of a process; empty when the process is gone.
    static func file(_ pid: pid_t, _ name: String) -> [UInt8] {
        let fd = open("/proc/\(pid)/\(name)", O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { return [] }
        defer { close(fd) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = read(fd, &part, part.count)
            if count <= 0 { return bytes }
            bytes += part[..<count]
        }
    }

    static func has(_ bytes: [UInt8], _ text: String) -> Bool {
        var text = text
        return text.withUTF8 { wanted in
            bytes.withUnsafeBytes { memmem($0.baseAddress, $0.count, wanted.baseAddress, wanted.count) != nil }
        }
    }

    /// A command line for people.
    static func line(_ bytes: [UInt8]) -> String { String(decoding: bytes.map { $0 == 0 ? UInt8(ascii: " ") : $0 }, as: UTF8.self) }

    // glibc has it only under _GNU_SOURCE, which Swift's Glibc module doesn't set.
    @_silgen_name("memmem")
    private static func memmem(
        _ bytes: UnsafeRawPointer?, _ count: Int, _ wanted: UnsafeRawPointer?, _ wantedCount: Int
    ) -> UnsafeMutableRawPointer?
}
