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
            return zip(names, candidates).map { name, candidate in
                let line = candidate.detail.isEmpty ? name : Text.padded(name, to: widest + 2) + Text.safe(candidate.detail)
                return line.count < columns ? line : String(line.prefix(columns - 2)) + "…"
            }.joined(separator: "\n")
        }
        return inColumns(names, columns: columns, rows: rows, width: widest + 2)
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
