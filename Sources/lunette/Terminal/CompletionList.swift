import LunetteLua

/// What Tab shows when a word may become several: each with what it is on a line of its own, or names alone in columns.
enum CompletionList {
    /// - Parameter size: the terminal's; more than half of its rows are never filled: what was before stays in sight.
    static func text(_ candidates: [REPL.Completion], size: TerminalSize?) -> String {
        let columns = max(20, size?.columns ?? 80)
        let rows = max(4, (size?.rows ?? 24) / 2)
        let names = candidates.map { candidate in
            // Behind the last dot or colon: the rest is typed already.
            Text.safe(
                candidate.shown.isEmpty
                    ? String(candidate.text.split(separator: /[.:]/, omittingEmptySubsequences: true).last ?? "") : candidate.shown)
        }
        let widest = names.map(\.count).max() ?? 0
        let hasDetails = candidates.contains { !$0.detail.isEmpty }
        if hasDetails, candidates.count <= rows {
            let details = candidates.map { parts(Text.safe($0.detail)) }
            // A type of many words leaves the others room for what they are.
            let kinds = min(details.map(\.kind.count).max() ?? 0, max(20, columns / 3))
            return zip(names, details).map { name, detail in
                var line = name
                if !detail.kind.isEmpty || !detail.summary.isEmpty { line = Text.padded(name, to: widest + 2) }
                line += cut(detail.kind, to: kinds)
                if !detail.summary.isEmpty {
                    line = (kinds > 0 ? Text.padded(line, to: widest + 2 + kinds + 2) : line) + detail.summary
                }
                return cut(line, to: columns - 1)
            }.joined(separator: "\n")
        }
        return inColumns(names, columns: columns, rows: rows, width: widest + 2)
    }

    /// A detail's type and what it is; one without a type is all the latter.
    private static func parts(_ detail: String) -> (kind: String, summary: String) {
        guard let gap = detail.firstRange(of: "  ") else {
            return detail.contains(" ") || detail.isEmpty ? ("", detail) : (detail, "")
        }
        return (String(detail[..<gap.lowerBound]), String(detail[gap.upperBound...]))
    }

    private static func cut(_ text: String, to width: Int) -> String {
        text.count <= width ? text : String(text.prefix(width - 1)) + "…"
    }

    private static func inColumns(_ names: [String], columns: Int, rows: Int, width: Int) -> String {
        let across = max(1, columns / width)
        let down = min(rows, (names.count + across - 1) / across)
        let shown = names.prefix(across * down)
        var lines = (0..<down).map { row in
            stride(from: row, to: shown.count, by: down).map { Text.padded(shown[$0], to: width) }.joined()
        }
        if shown.count < names.count { lines.append("… \(names.count - shown.count) more; type on") }
        return lines.joined(separator: "\n")
    }
}
