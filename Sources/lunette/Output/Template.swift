import LunetteAPI
import LunetteSpec

/// The part of Go's templates that listings need: text, `{{.Field.Sub}}`, `{{json .Field}}`, `{{upper .Field}}`, `{{lower …}}`, `{{len …}}`, `{{join .List ","}}`.
struct Template {
    private enum Part {
        case text(String)
        case field(function: String?, path: [String], separator: String)
    }

    private var parts: [Part] = []
    private static let functions = ["json", "upper", "lower", "len", "join", "println"]

    /// - Parameter words: what `--format` takes there beside a template, for the nearest to a slip.
    /// - Throws: `invalid_argument` for what isn't closed or isn't of that part, and for a text that has no field: the same for every record.
    init(_ source: String, words: [String] = ["json"]) throws(LunetteError) {
        guard source.contains("{{") else {
            let near = nearest(to: source.lowercased(), in: words).map { "; did you mean \"\($0)\"?" } ?? ""
            let known = words.map { "\"\($0)\"" }.joined(separator: ", ")
            let what = words.isEmpty ? "no template" : "neither \(known) nor a template"
            throw Template.failure("\"\(Text.safe(source))\" is \(what): it has no field\(near)")
        }
        var rest = Template.unescaped(source)[...]
        while let open = rest.range(of: "{{") {
            if open.lowerBound > rest.startIndex { parts.append(.text(String(rest[..<open.lowerBound]))) }
            guard let close = rest[open.upperBound...].range(of: "}}") else { throw Template.failure("\"{{\" is not closed by \"}}\"") }
            try parts.append(Template.part(String(rest[open.upperBound..<close.lowerBound])))
            rest = rest[close.upperBound...]
        }
        if !rest.isEmpty { parts.append(.text(String(rest))) }
    }

    private static func failure(_ why: String) -> LunetteError {
        LunetteError(
            .invalidArgument, "read what is given to --format: \(why)",
            hint: "fields are written {{.Name}}; \"--format json\" prints all of them")
    }

    /// Shells pass `\t` and `\n` as they were written.
    private static func unescaped(_ text: String) -> String {
        var result = ""
        var escaped = false
        for character in text {
            if escaped {
                switch character {
                case "t": result += "\t"
                case "n": result += "\n"
                case "\\": result += "\\"
                default: result += "\\" + String(character)
                }
                escaped = false
            } else if character == "\\" {
                escaped = true
            } else {
                result.append(character)
            }
        }
        return escaped ? result + "\\" : result
    }

    private static func part(_ source: String) throws(LunetteError) -> Part {
        var words = source.split(separator: " ").map(String.init)
        guard let first = words.first else { throw failure("\"{{}}\" names no field") }
        var function: String?
        var separator = ","
        if !first.hasPrefix(".") {
            guard functions.contains(first) else {
                throw failure(
                    "\"{{\(source)}}\" is not of the kinds that are understood"
                        + (nearest(to: first, in: functions).map { "; did you mean \"\($0)\"?" } ?? ""))
            }
            function = first
            words.removeFirst()
        }
        if function == "join", words.count == 2, words[1].count >= 2, words[1].hasPrefix("\""), words[1].hasSuffix("\"") {
            separator = String(words.removeLast().dropFirst().dropLast())
        }
        guard words.count == 1, words[0].hasPrefix(".") else { throw failure("\"{{\(source)}}\" names no field") }
        return .field(function: function, path: words[0].split(separator: ".").map(String.init), separator: separator)
    }

    /// Fills the template in.
    /// - Parameters:
    ///   - kind: which of the API's records it is: a field of it that isn't there yet is empty.
    ///   - cells: shown words by Docker's keys; they go before the record's own fields, but for words in lower case.
    /// - Throws: `invalid_argument` for a field that neither has.
    func text(_ record: Value, of kind: String, _ cells: [String: String] = [:]) throws(LunetteError) -> String {
        var result = ""
        for part in parts {
            switch part {
            case .text(let text): result += text
            case .field(let function, let path, let separator):
                result += try show(function, try value(path, record, kind, cells), separator)
            }
        }
        return result
    }

    /// What stands above the columns of `table …`.
    func head(_ titles: [String: String]) -> String {
        parts.map { part in
            switch part {
            case .text(let text): text
            case .field(_, let path, _): path.last.map { titles[$0] ?? Self.title($0) } ?? ""
            }
        }.joined()
    }

    /// `CREATED AT` of `CreatedAt`, Docker's way, and of `created_at`.
    private static func title(_ word: String) -> String {
        var result = ""
        var wasSmall = false
        for letter in word {
            if letter.isUppercase, wasSmall { result += " " }
            wasSmall = letter.isLowercase
            result += letter == "_" ? " " : letter.uppercased()
        }
        return result
    }

    private func value(_ path: [String], _ record: Value, _ kind: String, _ cells: [String: String]) throws(LunetteError) -> Value {
        if path.isEmpty { return record }
        let fields = APIRegistry.record(kind)?.fields.map(\.name) ?? []
        if path.count == 1, let key = cells.keys.first(where: { Template.same($0, path[0]) }) {
            // A lower-case word is the API's where it has one: `.Status` is "Up 3 hours", `.status` "running", as in `inspect`.
            let isOurs = path[0].utf8.first.map { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) } ?? false
            let hasOurs =
                fields.contains { Template.same($0, path[0]) } || record.mapValue?.keys.contains { Template.same($0, path[0]) } == true
            if !isOurs || !hasOurs { return .string(cells[key]!) }
        }
        var current = record
        for (depth, name) in path.enumerated() {
            guard case .map(let map) = current else {
                throw Template.failure("\".\(path.prefix(depth).joined(separator: "."))\" has no fields")
            }
            // A label's or variable's own name goes as it stands; ours in either spelling.
            if let item = map[name] {
                current = item
            } else if let key = map.keys.first(where: { Template.same($0, name) }) {
                current = map[key]!
            } else if depth > 0 || fields.contains(where: { Template.same($0, name) }) {
                return .null  // A map of the user's own (labels), or a field that comes later (`exit`): what isn't there is empty.
            } else {
                let known = Array(cells.keys).sorted() + map.keys + fields.filter { map[$0] == nil }
                // Either spelling is taken, so either is compared.
                let near = nearest(to: name.lowercased(), in: known.map { $0.lowercased() })
                throw Template.failure(
                    "there is no field .\(name)"
                        + (near.flatMap { near in known.first { $0.lowercased() == near } }.map { "; did you mean .\($0)?" }
                            ?? "; there are ." + known.joined(separator: " ."))
                )
            }
        }
        return current
    }

    /// `CreatedAt` is `created_at`.
    private static func same(_ left: String, _ right: String) -> Bool {
        func folded(_ text: String) -> [UInt8] { text.lowercased().utf8.filter { $0 != UInt8(ascii: "_") } }
        return folded(left) == folded(right)
    }

    private func show(_ function: String?, _ value: Value, _ separator: String) throws(LunetteError) -> String {
        switch function {
        case "json": return JSON.shown(value)
        case "upper": return Template.plain(value).uppercased()
        case "lower": return Template.plain(value).lowercased()
        case "len": return String(value.arrayValue?.count ?? value.mapValue?.count ?? Template.plain(value).count)
        case "join": return (value.arrayValue ?? []).map(Template.plain).joined(separator: separator)
        case "println": return Template.plain(value) + "\n"
        default: return Template.plain(value)
        }
    }

    private static func plain(_ value: Value) -> String {
        switch value {
        case .null: ""
        case .string(let text): Text.safe(text)
        case .int(let number): String(number)
        case .double(let number): number == number.rounded() && abs(number) < 1e15 ? String(Int64(number)) : String(number)
        case .bool(let flag): String(flag)
        default: JSON.shown(value)
        }
    }
}

extension Substring {
    fileprivate func range(of text: String) -> Range<Index>? {
        var index = startIndex
        while index < endIndex {
            if self[index...].hasPrefix(text) { return index..<self.index(index, offsetBy: text.count) }
            index = self.index(after: index)
        }
        return nil
    }
}
