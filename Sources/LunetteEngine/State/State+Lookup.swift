import LunetteLinux
import LunetteSpec
import Synchronization

extension State {
    /// By name, whole id, or a prefix of it that is unique and at least four digits long.
    /// - Throws: `not_found` with the nearest name; `invalid_argument` when a prefix means several.
    func container(_ word: String) throws(LunetteError) -> ContainerRecord {
        if let found = try findContainer(word) { return found }
        throw LunetteError(
            .notFound, "no container is called \"\(displayable(word, limit: 80))\"", target: word,
            hint: nearest(to: word, in: Array(containerNames.keys)).map { "did you mean \"\($0)\"?" }
                ?? "`lunette ps -a` lists all containers"
        )
    }

    nonisolated func findContainer(_ word: String) throws(LunetteError) -> ContainerRecord? {
        try directory.withLock { (directory) throws(LunetteError) in try directory.find(word) }
    }

    func volume(_ word: String) throws(LunetteError) -> VolumeRecord {
        if let found = try findVolume(word) { return found }
        throw LunetteError(
            .notFound, "no volume is called \"\(displayable(word, limit: 80))\"", target: word,
            hint: nearest(to: word, in: Array(volumeNames.keys)).map { "did you mean \"\($0)\"?" }
                ?? "`lunette volume ls` lists all volumes"
        )
    }

    func findVolume(_ word: String) throws(LunetteError) -> VolumeRecord? {
        try Self.find(word, in: volumes, names: volumeNames, kind: "volume")
    }

    static func find<Record>(
        _ word: String, in records: [String: Record], names: [String: String], kind: String
    ) throws(LunetteError) -> Record? {
        if let id = names[word] { return records[id] }
        if let record = records[word] { return record }
        guard word.utf8.count >= 4, word.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else { return nil }
        let matches = records.keys.filter { $0.hasPrefix(word) }
        guard matches.count <= 1 else {
            throw LunetteError(
                .invalidArgument, "\(matches.count) \(kind)s have ids that begin with \(word)", target: word, hint: "write more digits")
        }
        return matches.first.flatMap { records[$0] }
    }

    /// The containers whose spec uses a volume.
    func users(ofVolume id: String) -> [ContainerRecord] {
        containers.values.filter { $0.volumes.contains(id) }.sorted { $0.name < $1.name }
    }

    /// Ties this root to a state folder, where the sockets and folders of its containers are.
    /// - Throws: `invalid_state` when containers run whose own are in another.
    func use(stateFolder: String) throws(LunetteError) {
        let earlier = try database.stateFolder()
        guard earlier != stateFolder else { return }
        // What the record says was so when its engine died; a shim or a pid 1 that is there says it still is.
        let running = containers.values.filter { record in
            record.state.isAlive
                && ["shim", "init"].contains { record.run?[$0].flatMap(ProcessIdentity.init(value:))?.isAlive ?? false }
        }.map(\.name).sorted()
        if let earlier, let first = running.first, !isSameFolder(earlier, stateFolder) {
            throw LunetteError(
                .invalidState,
                "containers of this root were started with the state folder \(earlier) and run: \(first)"
                    + (running.count > 1 ? " and \(running.count - 1) more" : ""),
                hint: "--state \(earlier) (or LUNETTE_STATE) reaches them; another folder can be used when none runs")
        }
        try database.note(stateFolder: stateFolder)
    }

    func resident() throws(LunetteError) -> ResidentVersion? { try database.resident() }

    func outcome(_ requestID: String) throws(LunetteError) -> Outcome? { try database.outcome(requestID) }

    func containerMade(by requestID: String) -> ContainerRecord? { madeBy[requestID].flatMap { containers[$0] } }
    func volumeMade(by requestID: String) -> VolumeRecord? { madeBy[requestID].flatMap { volumes[$0] } }
}

/// Whether two paths lead to one folder.
private func isSameFolder(_ one: String, _ other: String) -> Bool {
    guard let first = try? fileStatus(-100, one, follow: true, label: one),
        let second = try? fileStatus(-100, other, follow: true, label: other)
    else { return false }
    return first.device == second.device && first.inode == second.inode
}
