internal import CLinux

/// Reads a folder's names a piece at a time: one buffer, however many there are.
///
/// Raw names: a container may have made files whose names are no UTF-8. What is removed meanwhile costs no other name its turn.
struct FolderListing {
    private var buffer: [UInt8] = []
    private var filled = 0
    private var offset = 0
    private(set) var isAtEnd = false
    /// Where the kernel goes on after the last name that was given out (`d_off` of getdents64(2)).
    private(set) var position: Int64

    init(from position: Int64 = 0) { self.position = position }

    /// - Parameter folder: its own file offset is moved; nobody else may read through it.
    /// - Returns: a name with its NUL, nil at the end.
    mutating func next(of folder: Int32, _ label: () -> String) throws(SystemCallError) -> [CChar]? {
        while true {
            if offset >= filled {
                if isAtEnd { return nil }
                try fill(folder, label)
                if filled == 0 { return nil }
            }
            let start = offset
            let length = Int(buffer[start + 16]) | Int(buffer[start + 17]) << 8
            offset += length
            position = (0..<8).reduce(0) { $0 | Int64(truncatingIfNeeded: UInt64(buffer[start + 8 + $1]) << UInt64(8 * $1)) }
            var name = buffer[(start + 19)..<(start + length)].prefix { $0 != 0 }.map { CChar(bitPattern: $0) }
            if name == [46] || name == [46, 46] { continue }
            name.append(0)
            return name
        }
    }

    private mutating func fill(_ folder: Int32, _ label: () -> String) throws(SystemCallError) {
        if buffer.isEmpty {
            buffer = [UInt8](repeating: 0, count: 16384)
            try check(Int(lnt_host_seek(folder, position, 0)), "list", label())
        }
        filled = try check(lnt_host_getdents(folder, &buffer, buffer.count), "list", label())
        offset = 0
        isAtEnd = filled == 0
    }
}
