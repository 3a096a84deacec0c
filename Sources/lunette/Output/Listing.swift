import LunetteSpec

/// Rows for people and for programs: a table, names only, JSON lines, or a template over both.
struct Listing {
    struct Column {
        var title: String
        /// Docker's word for it in templates.
        var key: String

        init(_ title: String, _ key: String) {
            self.title = title
            self.key = key
        }
    }

    struct Row {
        /// What is shown, by key; may hold more keys than there are columns.
        var cells: [String: String]
        /// The API's own table: `--format json`, and what a template's other fields are looked up in.
        var record: Value
        /// What `--quiet` prints.
        var name: String
    }

    /// Which of the API's records the rows have.
    var kind: String
    var columns: [Column]
    var rows: [Row]

    /// - Parameter format: nil or `table`: a table; `json`; else a template, with `table ` before it one with a head.
    func print(format: String?, quiet: Bool) throws(LunetteError) {
        var text = ""
        for line in try lines(format: format, quiet: quiet) { text += line + "\n" }
        if !text.isEmpty { Output.print(text, terminator: "") }
    }

    func lines(format: String?, quiet: Bool) throws(LunetteError) -> [String] {
        if quiet, format == nil { return rows.map(\.name) }
        switch format {
        case nil, "table": return table(head: columns.map(\.title), rows: rows.map { row in columns.map { row.cells[$0.key] ?? "" } })
        case "json": return rows.map { JSON.shown($0.record) }
        case let text? where text.hasPrefix("table "):
            let template = try Template(String(text.dropFirst(6)), words: [])
            let heads = Dictionary(columns.map { ($0.key, $0.title) }, uniquingKeysWith: { first, _ in first })
            let head = template.head(heads)
            var result: [[String]] = []
            for row in rows { result.append(Self.cells(try template.text(row.record, of: kind, row.cells))) }
            return table(head: Self.cells(head), rows: result)
        case let text?:
            let template = try Template(text, words: ["table", "json"])
            var result: [String] = []
            for row in rows { result.append(try template.text(row.record, of: kind, row.cells)) }
            return result
        }
    }

    private static func cells(_ line: String) -> [String] { line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) }

    private func table(head: [String], rows: [[String]]) -> [String] {
        let rows = ([head] + rows).map { $0.map(Text.safe) }
        var widths: [Int] = []
        for row in rows {
            for (index, cell) in row.enumerated() {
                if index == widths.count { widths.append(0) }
                widths[index] = max(widths[index], Text.width(cell))
            }
        }
        return rows.map { row in
            var line = ""
            for (index, cell) in row.enumerated() { line += index == row.count - 1 ? cell : Text.padded(cell, to: widths[index] + 3) }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

extension String? {
    /// What `--format` says beside the default, whose name is `table`.
    var besideTable: String? { self == "table" ? nil : self }
}
