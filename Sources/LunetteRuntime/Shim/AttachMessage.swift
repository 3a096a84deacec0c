internal import CLinux

extension lnt_attach {
    /// - Parameter key: names an exec, so that a request that is repeated after an engine died starts nothing twice: 32 hexadecimal digits, or
    ///   else the first 16 bytes of the text.
    init(message: lnt_message, flags: UInt32, process: UInt32, rows: UInt32, columns: UInt32, key: String? = nil) {
        self.init()
        self.message = message
        self.flags = flags
        self.process = process
        self.rows = rows
        self.columns = columns
        let bytes = key.map(Self.bytes) ?? []
        withUnsafeMutableBytes(of: &self.key) { into in for (index, byte) in bytes.enumerated() { into[index] = byte } }
    }

    private static func bytes(_ key: String) -> [UInt8] {
        let text = Array(key.utf8)
        if text.count == 2 * Int(LNT_EXEC_KEY) {
            let digits = text.compactMap { Character(UnicodeScalar($0)).hexDigitValue.map(UInt8.init) }
            if digits.count == text.count { return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] } }
        }
        return Array(text.prefix(Int(LNT_EXEC_KEY)))
    }
}
