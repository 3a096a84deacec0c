extension JSON {
    /// As JSON that no terminal takes for commands: what `encode` leaves as it is beyond ASCII's controls is escaped too.
    package static func shown(_ value: Value, pretty: Bool = false) -> String {
        let text = encode(value, pretty: pretty)
        guard text.unicodeScalars.contains(where: { $0.value != 0x0a && ControlCharacters.contains($0) }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar.value != 0x0a, ControlCharacters.contains(scalar) {
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
