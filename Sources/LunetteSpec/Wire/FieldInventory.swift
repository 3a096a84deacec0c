/// Keeps which fields a document has and which its reader asked for: what is left is what nobody knows. Held by one reading at a time.
public final class FieldInventory {
    private struct Table {
        var path: String
        var keys: [String]
        var asked: [String] = []
    }

    private var tables: [Table] = []

    /// Of nothing yet; `FieldReader` fills it.
    public init() {}

    func add(path: String, keys: some Sequence<String>) -> Int {
        tables.append(Table(path: path, keys: Array(keys)))
        return tables.count - 1
    }

    func ask(_ table: Int, _ key: String) { tables[table].asked.append(key) }

    /// The paths of fields that nobody asked for, each with the nearest of those that somebody did ask for. Of a table that is read by its keys,
    /// such as annotations, all are known.
    public var unasked: [(path: String, nearest: String?)] {
        tables.flatMap { table in
            table.asked.isEmpty
                ? []
                : table.keys.filter { !table.asked.contains($0) }.sorted().map { key in
                    (table.path.isEmpty ? key : "\(table.path).\(key)", nearest(to: key, in: table.asked))
                }
        }
    }
}
