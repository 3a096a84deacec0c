internal import Glibc

/// What the kernel itself opens to execute a file: its interpreter, and that one's loader.
enum ProgramNeeds {
    /// - Returns: the paths as they stand in the files, in the order in which they are opened; one that isn't there is the last.
    static func paths(of program: String) -> [String] {
        var paths: [String] = []
        var file = program
        // The kernel follows interpreters of interpreters five deep.
        while paths.count < 6, let next = interpreter(of: file) {
            paths.append(next)
            file = next
        }
        return paths
    }

    private static func interpreter(of path: String) -> String? {
        let fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard fd >= 0 else { return nil }
        defer { close(fd) }
        var status = stat()
        guard fstat(fd, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let head = read(fd, at: 0, count: 256)
        if head.starts(with: Array("#!".utf8)) {
            let line = head.dropFirst(2).prefix { $0 != UInt8(ascii: "\n") }.drop { $0 == 32 || $0 == 9 }
            let word = line.prefix { $0 != 32 && $0 != 9 && $0 != 0 }
            return word.first == UInt8(ascii: "/") ? String(decoding: word, as: UTF8.self) : nil
        }
        return loader(fd, head)
    }

    /// The program header PT_INTERP (3) of an ELF file in this machine's byte order.
    private static func loader(_ fd: Int32, _ head: [UInt8]) -> String? {
        guard head.starts(with: [0x7f, 0x45, 0x4c, 0x46]), head.count >= 64 else { return nil }
        let isWide = head[4] == 2
        func number(_ bytes: [UInt8], _ offset: Int, _ size: Int) -> Int {
            guard offset + size <= bytes.count else { return 0 }
            return bytes[offset..<offset + size].reversed().reduce(0) { $0 << 8 | Int($1) } & Int(UInt32.max)
        }
        let (start, size, count) =
            isWide
            ? (number(head, 32, 8), number(head, 54, 2), number(head, 56, 2))
            : (number(head, 28, 4), number(head, 42, 2), number(head, 44, 2))
        guard size >= 32, count <= 512 else { return nil }
        let table = read(fd, at: start, count: size * count)
        for entry in stride(from: 0, to: table.count, by: size) where number(table, entry, 4) == 3 {
            let offset = number(table, entry + (isWide ? 8 : 4), isWide ? 8 : 4)
            let length = number(table, entry + (isWide ? 32 : 16), isWide ? 8 : 4)
            let path = read(fd, at: offset, count: min(length, Int(PATH_MAX))).prefix { $0 != 0 }
            return path.first == UInt8(ascii: "/") ? String(decoding: path, as: UTF8.self) : nil
        }
        return nil
    }

    private static func read(_ fd: Int32, at offset: Int, count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = pread(fd, &bytes, count, off_t(offset))
        return Array(bytes.prefix(max(0, got)))
    }
}
