/// What a registry asks for in `WWW-Authenticate`. Source: RFC 9110 §11, distribution's token specification.
enum Challenge: Equatable {
    case basic
    case bearer(realm: String, service: String?, scope: String?)

    /// The best of several: a token, else basic; nil when it is neither.
    static func parse(_ header: String) -> Challenge? {
        var basic = false
        for line in header.split(separator: "\n") {
            let line = trimmed(line)
            let scheme = line.prefix { $0 != " " }.lowercased()
            if scheme == "basic" { basic = true }
            guard scheme == "bearer" else { continue }
            let fields = parameters(line.dropFirst(6))
            guard let realm = fields["realm"], realm.hasPrefix("https://") || realm.hasPrefix("http://") else { continue }
            return .bearer(realm: realm, service: fields["service"], scope: fields["scope"])
        }
        return basic ? .basic : nil
    }

    /// `name="value", name=value …`
    private static func parameters(_ text: Substring) -> [String: String] {
        var result: [String: String] = [:]
        var rest = text
        while true {
            rest = rest.drop { $0 == " " || $0 == "," || $0 == "\t" }
            guard let equals = rest.firstIndex(of: "=") else { return result }
            let name = trimmed(rest[..<equals]).lowercased()
            rest = rest[rest.index(after: equals)...]
            var value = ""
            if rest.first == "\"" {
                rest = rest.dropFirst()
                while let character = rest.first, character != "\"" {
                    rest = rest.dropFirst()
                    if character == "\\", let next = rest.first {
                        value.append(next)
                        rest = rest.dropFirst()
                    } else {
                        value.append(character)
                    }
                }
                rest = rest.dropFirst()
            } else {
                value = String(rest.prefix { $0 != "," && $0 != " " })
                rest = rest.dropFirst(value.count)
            }
            result[name] = value
        }
    }
}
