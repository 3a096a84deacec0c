// Text of files and of command lines, taken apart by bytes. To Swift "\r\n" is one character and no "\n", and "=" with a combining mark behind it is
// no "=": a file with line ends of Windows would be one line, a variable whose value begins so would have no name.

extension StringProtocol {
    /// The lines, without what ends them: a line feed, or a carriage return and a line feed. Empty ones are kept, behind the last line feed too.
    package var byteLines: [Substring] {
        fields(at: "\n").map { $0.utf8.last == UInt8(ascii: "\r") ? Substring($0.utf8.dropLast()) : $0 }
    }

    /// What stands between these; empty ones are kept.
    package func fields(at separator: Unicode.Scalar) -> [Substring] {
        Substring(self).utf8.split(separator: UInt8(ascii: separator), omittingEmptySubsequences: false).map { Substring($0) }
    }

    /// What stands before and behind the first of these; nil where there is none.
    package func cut(at separator: Unicode.Scalar) -> (before: Substring, after: Substring)? {
        let text = Substring(self)
        guard let index = text.utf8.firstIndex(of: UInt8(ascii: separator)) else { return nil }
        return (text[..<index], Substring(text.utf8[index...].dropFirst()))
    }
}

/// Values by path, told apart by bytes: to a dictionary of Swift's two spellings of one accented letter are one key, to the kernel two names.
package struct PathTable<Value: Hashable & Sendable>: Hashable, Sendable {
    private var entries: [[UInt8]: Value] = [:]

    /// An empty one.
    package init() {}

    /// The value of a path; nil where there is none.
    package subscript(path: String) -> Value? {
        get { entries[Array(path.utf8)] }
        set { entries[Array(path.utf8)] = newValue }
    }

    /// All of them, in no order.
    package var values: [Value] { Array(entries.values) }
}
