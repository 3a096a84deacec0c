internal import LunetteSpec

/// Keeps compiled programs below one directory. What is damaged or absent is compiled again, so nothing here can fail a start.
struct SeccompCache: Sendable {
    let path: String

    private static let magic: [UInt8] = Array("lunette-bpf-1\n".utf8)
    /// What comes before the program: the magic word, and the program's digest in hex with a line feed.
    private static let head = magic.count + 65

    /// The program of this key, if it is whole: a file cut short by a crash must never become a weaker filter.
    func read(_ key: String) -> [UInt8]? {
        // An unreadable cache is no cache.
        guard let directory = try? Directory(path), let bytes = try? directory.read(key, limit: 1 << 20),
            bytes.count > Self.head, bytes.starts(with: Self.magic)
        else { return nil }
        let digest = Array(bytes[Self.magic.count..<Self.head])
        let program = Array(bytes[Self.head...])
        guard !program.isEmpty, Array((SHA256.digest(of: program).hex + "\n").utf8) == digest, BPFInstruction.decode(program) != nil else {
            return nil
        }
        return program
    }

    func write(_ key: String, _ program: [UInt8]) {
        // A full or read-only disk costs the next engine two milliseconds, nothing else.
        guard let directory = try? Directory(making: path) else { return }
        try? directory.write(key, Self.magic + Array((SHA256.digest(of: program).hex + "\n").utf8) + program)
    }
}
