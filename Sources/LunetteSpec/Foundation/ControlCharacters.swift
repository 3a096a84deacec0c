/// What must not reach a terminal as it is (attack: escape sequences in names, labels and logs).
package enum ControlCharacters {
    /// Shows control characters instead of sending them, tabs and line feeds too.
    package static func shown(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: contains) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            case _ where contains(scalar): result += "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    package static func contains(_ scalar: Unicode.Scalar) -> Bool {
        // C0, DEL, C1, and the marks that reorder what is shown.
        scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) || (0x202a...0x202e).contains(scalar.value)
            || (0x2066...0x2069).contains(scalar.value) || scalar.value == 0x200e || scalar.value == 0x200f
    }
}
