import LunetteLinux
import LunetteSpec

/// Names and id ranges promised to creations under way.
extension State {
    /// Keeps a name for a creation, until it commits or takes it back.
    /// - Throws: `already_exists`.
    func promise(name: String, kind: String) throws(LunetteError) {
        let taken = kind == "container" ? containerNames[name] != nil : volumeNames[name] != nil
        guard !taken, promisedNames.insert("\(kind)/\(name)").inserted else {
            throw LunetteError(
                .alreadyExists, "a \(kind) called \"\(name)\" exists", target: name,
                hint: kind == "container" ? "remove it (`lunette rm \(name)`), or choose another name" : nil
            )
        }
    }

    /// Keeps a name that `isFree` said is free.
    func promiseFree(_ name: String) { promisedNames.insert("container/\(name)") }

    func isFree(containerName name: String) -> Bool { containerNames[name] == nil && !promisedNames.contains("container/\(name)") }

    /// Keeps the lowest free id range.
    /// - Throws: `resource_exhausted`.
    func promiseRange(reserved: [IDRange], count: UInt32 = IDRangeAllocator.size) throws(LunetteError) -> IDRange {
        if let shared = IDRangeAllocator.shared { return shared }
        let taken = containers.values.compactMap(\.idRange) + promisedRanges
        guard let range = IDRangeAllocator.choose(taken: taken, reserved: reserved, count: count) else {
            throw LunetteError(.resourceExhausted, "no range of \(count) ids is free", hint: "remove containers that are no longer used")
        }
        promisedRanges.insert(range)
        return range
    }

    /// Keeps a range that another container has already, for one that shares it.
    func keep(range: IDRange) { promisedRanges.insert(range) }

    func withdraw(name: String, kind: String) { promisedNames.remove("\(kind)/\(name)") }
    func withdraw(range: IDRange) { promisedRanges.remove(range) }
}
