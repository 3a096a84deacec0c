internal import LunetteLinux
internal import LunetteSpec

/// Where one container's files are.
struct ContainerPlaces: Sendable {
    let id: String
    let root: String
    let state: String

    init(_ configuration: RuntimeConfiguration, id: String) {
        self.id = id
        root = configuration.root
        state = configuration.state
    }

    /// `<root>/containers/<id>`: upper, work, log, generated files.
    var storage: String { "\(root)/containers/\(id)" }
    /// `<state>/containers/<id>`: sockets, exit record.
    var run: String { "\(state)/containers/\(id)" }
    var socket: String { "\(run)/shim.sock" }

    /// The shim's last word; nil when there is none, or none that can be read.
    func exitRecord() -> ContainerExit? {
        // An unreadable record tells as little as an absent one: the exit counts as lost then.
        guard let directory = try? Directory(run), let bytes = try? directory.read("exit", limit: 65536) else { return nil }
        return ContainerExit(record: bytes, id: id)
    }

    /// Ids become file names and cgroup names: nothing that leads elsewhere may pass.
    static func validate(id: String) throws(LunetteError) {
        let letters = id.utf8.allSatisfy {
            ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || $0 == 95 || $0 == 45
        }
        guard letters, (1...64).contains(id.utf8.count), id.first != "-" else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(id, limit: 64))\" is no container id", hint: "at most 64 letters, digits, - and _")
        }
    }
}
