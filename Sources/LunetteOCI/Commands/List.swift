internal import LunetteSpec

extension Command {
    static let list = Command(
        name: "list", summary: "list the containers below the root", arguments: "", count: 0...0,
        options: [
            Option("format", "f", .value("FORMAT"), "table (default) or json"), Option("quiet", "q", .none, "print ids alone"),
        ]
    ) { invocation throws(LunetteError) in
        let format = try OutputFormat(invocation.options)
        let ids = try invocation.store.ids()
        if invocation.options.flag("quiet") {
            if !ids.isEmpty { try printOut(ids.joined(separator: "\n")) }
            return 0
        }
        var found: [Value] = []
        for id in ids {
            // One that was just removed isn't there; one whose record is damaged is told of and doesn't hide the others.
            do throws(LunetteError) {
                let container = try invocation.store.find(id)
                found.append(container.description(container.status()))
            } catch {
                guard error.code == .notFound else {
                    invocation.log.warn(ErrorLog.line(error))
                    continue
                }
                if let halfMade = try invocation.store.halfMade(id) { found.append(halfMade) }
            }
        }
        switch format {
        case .json: try printOut(JSON.shown(.array(found)))
        case .table:
            let rows = found.map { item in
                ["id", "pid", "status", "bundle", "created", "owner"].map { key in
                    displayable(item[key]?.stringValue ?? item[key]?.intValue.map(String.init) ?? "")
                }
            }
            try printOut(TextTable.text([["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]] + rows))
        }
        return 0
    }
}

enum OutputFormat: String {
    case table, json

    init(_ options: Options) throws(LunetteError) {
        guard let text = options.value("format") else {
            self = .table
            return
        }
        guard let format = OutputFormat(rawValue: text) else {
            throw LunetteError(.invalidArgument, "--format: \"\(displayable(text, limit: 40))\" is not table or json")
        }
        self = format
    }
}

enum TextTable {
    /// Columns as wide as their widest cell and three blanks, at least twelve, as runc's are.
    static func text(_ rows: [[String]]) -> String {
        let count = rows.map(\.count).max() ?? 0
        let widths = (0..<count).map { column in max(12, (rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0) + 3) }
        return rows.map { row in
            row.enumerated().map { column, cell in
                column == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }.joined()
        }.joined(separator: "\n")
    }
}
