import LunetteSpec

/// How what is asked for differs from what was asked for when an object was made or last changed.
struct Comparison: Sendable, Hashable {
    /// Fields that can change on what is there, and those that can't.
    var updatable: [String] = []
    var fixed: [String] = []
    /// What `container.update` would be given to make the one of the other: null where something goes.
    var change: Value = .map([:])

    var isSame: Bool { updatable.isEmpty && fixed.isEmpty }
    var isConflict: Bool { !fixed.isEmpty }

    /// - Parameter path: of the spec in the call.
    /// - Returns: nil where nothing is in the way.
    func conflict(_ kind: String, _ name: String, path: String) -> LunetteError? {
        guard isConflict else { return nil }
        return LunetteError(
            .conflict, "the \(kind) \(name) exists with another \(fixed.joined(separator: ", ")), which can't change while it exists",
            path: path.isEmpty ? fixed[0] : "\(path).\(fixed[0])", target: name, hint: "remove it first, or apply under another name")
    }
}

extension ContainerRecord {
    func comparison(with spec: ContainerSpec) -> Comparison {
        let (before, after) = (requested, spec.value)
        var result = Comparison()
        var change = ValueMap()
        for key in Set((after.mapValue ?? [:]).keys).union((before.mapValue ?? [:]).keys).sorted() where after[key] != before[key] {
            guard Engine.updatable.contains(key) else {
                result.fixed.append(key)
                continue
            }
            result.updatable.append(key)
            // A policy is one thing.
            change[key] = key == "restart" ? after[key] ?? .null : Self.change(from: before[key], to: after[key])
        }
        result.change = .map(change)
        return result
    }

    private static func change(from before: Value?, to after: Value?) -> Value {
        let (old, new) = (before?.mapValue ?? [:], after?.mapValue ?? [:])
        var fields = ValueMap()
        for name in Set(new.keys).union(old.keys).sorted() where new[name] != old[name] { fields[name] = new[name] ?? .null }
        return .map(fields)
    }
}

extension VolumeRecord {
    func comparison(with spec: VolumeSpec) -> Comparison {
        var result = Comparison()
        result.fixed = [("driver", driver != spec.driver), ("size", size != spec.size), ("options", options != spec.options)].filter(\.1)
            .map(\.0)
        if labels != spec.labels { result.updatable = ["labels"] }
        return result
    }
}
