import LunetteSpec

/// The containers that the database holds, by id and by name. It changes with a commit, as a whole.
struct ContainerDirectory: Sendable {
    private(set) var records: [String: ContainerRecord] = [:]
    private(set) var names: [String: String] = [:]

    mutating func add(_ record: ContainerRecord) {
        if let old = records[record.id], old.name != record.name { names[old.name] = nil }
        records[record.id] = record
        names[record.name] = record.id
    }

    /// - Returns: nil when there is none.
    mutating func remove(_ id: String) -> ContainerRecord? {
        guard let old = records.removeValue(forKey: id) else { return nil }
        names[old.name] = nil
        return old
    }

    /// By name, whole id, or a prefix of it that is unique and at least four digits long.
    /// - Throws: `invalid_argument` when a prefix means several.
    func find(_ word: String) throws(LunetteError) -> ContainerRecord? {
        try State.find(word, in: records, names: names, kind: "container")
    }
}
