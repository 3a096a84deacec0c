import LunetteAPI
import LunetteSpec

/// What `lunette.apply` is given: specs by the names of what they are of.
struct AppliedObjects: Sendable {
    /// Sorted by name: what is asked of hooks and filters has the same order each time.
    private(set) var volumes: [(name: String, spec: ValueMap)]
    private(set) var containers: [(name: String, spec: ValueMap)]
    /// Only says what would be done.
    var isDry: Bool

    /// Each may cost a question to every handler and filter.
    private static let most = 1000

    /// - Throws: `invalid_argument` with the path of what isn't a table of specs.
    init(_ arguments: Value) throws(LunetteError) {
        var reader = try FieldReader(arguments)
        for later in ["networks", "services", "jobs"] where reader.value(later) != nil {
            throw LunetteError(.unsupported, "lunette.apply: \(later) are not in this version", path: later)
        }
        volumes = try Self.specs(of: "volume", &reader)
        containers = try Self.specs(of: "container", &reader)
        isDry = try reader.bool("dry_run") ?? false
        try reader.finish()
        guard count <= Self.most else {
            throw LunetteError(.resourceExhausted, "lunette.apply is given \(count) objects, more than \(Self.most)")
        }
    }

    var count: Int { volumes.count + containers.count }

    private static func specs(of kind: String, _ reader: inout FieldReader) throws(LunetteError) -> [(name: String, spec: ValueMap)] {
        let key = kind + "s"
        guard let value = reader.value(key) else { return [] }
        let tables = try FieldReader(value, path: key)
        var result: [(name: String, spec: ValueMap)] = []
        for name in tables.keys.sorted() {
            try Names.validate(name, kind: kind, path: key)
            var spec: ValueMap
            switch value[name] {
            case .map(let map)?: spec = map
            case .array(let items)? where items.isEmpty: spec = [:]
            case let item:
                throw LunetteError(.invalidArgument, "expected a table, got \((item ?? .null).kind)", path: path(kind, name))
            }
            if let given = spec["name"], !given.isNull, given != .string(name) {
                throw LunetteError(
                    .invalidArgument, "isn't the name that it is listed under", path: "\(path(kind, name)).name", hint: "leave it out")
            }
            spec["name"] = .string(name)
            result.append((name, spec))
        }
        return result
    }

    static func path(_ kind: String, _ name: String) -> String { "\(kind)s.\(name)" }

    // MARK: One by one

    /// The same by the functions of each noun, volumes before what mounts them: what filters judge, and what resident code wants there to be.
    /// - Throws: as `inOrder`.
    func calls() throws(LunetteError) -> [(function: String, name: String, arguments: Value)] {
        volumes.map { ("volume.apply", $0.name, .map($0.spec)) }
            + (try inOrder()).map { ("container.apply", $0.name, ["name": .string($0.name), "spec": .map($0.spec)]) }
    }

    /// The containers so that those whose namespaces others share come before them.
    /// - Throws: `invalid_argument` where each would have to be first.
    func inOrder() throws(LunetteError) -> [(name: String, spec: ValueMap)] {
        let specs = containers.reduce(into: [String: ValueMap]()) { $0[$1.name] = $1.spec }
        var result: [(name: String, spec: ValueMap)] = []
        var (done, open) = (Set<String>(), Set<String>())
        func add(_ name: String, _ spec: ValueMap) throws(LunetteError) {
            guard done.insert(name).inserted else { return }
            open.insert(name)
            for (field, owner) in Self.shared(spec) {
                guard let other = specs[owner] else { continue }
                guard !open.contains(owner) else {
                    throw LunetteError(
                        .invalidArgument, "\(name) and \(owner) would each have to be there first",
                        path: "\(Self.path("container", name)).\(field)", hint: "name a container that has namespaces of its own")
                }
                try add(owner, other)
            }
            open.remove(name)
            result.append((name, spec))
        }
        for (name, spec) in containers { try add(name, spec) }
        return result
    }

    /// Names of containers whose namespaces a spec shares, by field.
    private static func shared(_ spec: ValueMap) -> [(field: String, name: String)] {
        ["network", "pid", "ipc", "pod"].compactMap { field in
            guard let text = spec[field]?.stringValue else { return nil }
            if field == "pod" { return (field, text) }
            return text.hasPrefix("container:") ? (field, String(text.dropFirst(10))) : nil
        }
    }

    /// Takes the arguments of one of its `calls` as a filter has narrowed them.
    mutating func narrow(_ function: String, _ name: String, to arguments: Value) throws(LunetteError) {
        guard let narrowed = arguments["name"]?.stringValue,
            case .map(var spec)? = function == "container.apply" ? arguments["spec"] : arguments
        else { throw LunetteError(.denied, "the filter left no spec of \(name)", target: name) }
        spec["name"] = .string(narrowed)
        var list = function == "container.apply" ? containers : volumes
        list.removeAll { $0.name == name }
        guard !list.contains(where: { $0.name == narrowed }) else {
            throw LunetteError(.denied, "the filter gave two objects the name \(displayable(narrowed, limit: 80))", target: name)
        }
        list.append((narrowed, spec))
        list.sort { $0.name < $1.name }
        if function == "container.apply" { containers = list } else { volumes = list }
    }

    /// As arguments of the call.
    var value: Value {
        func table(_ list: [(name: String, spec: ValueMap)]) -> Value {
            var map = ValueMap()
            for (name, spec) in list { map[name] = .map(spec) }
            return .map(map)
        }
        return ["volumes": table(volumes), "containers": table(containers), "dry_run": .bool(isDry)]
    }
}
