package import LunetteSpec

/// Which cgroup directories were made for a container, so that its end removes exactly these, and the runtime's parent when it was the last in it.
/// Written into the container's state.
package struct CgroupOwnership: Sendable, Equatable {
    /// Absolute paths, parents before children.
    package var made: [String]

    /// - Parameter made: in the order in which they were made.
    package init(made: [String] = []) { self.made = made }

    /// For a record; `init(_:)` reads it back.
    package var value: Value { .array(made.map(Value.string)) }

    /// Reads what `value` gave; anything else owns nothing.
    package init(_ value: Value?) { made = value?.arrayValue?.compactMap(\.stringValue) ?? [] }
}

extension ContainerCgroup {
    /// Removes what was made for the container: its own directories with the children that it made, then parents that are empty now.
    ///
    /// Directories that were there before stay, whatever is in them. Absent ones are done; a second call is harmless.
    /// - Parameters:
    ///   - seconds: for a process that is just dying.
    ///   - dropsCache, endsProcesses: as `remove(patience:dropsCache:endsProcesses:)` has them.
    /// - Returns: failures of the container's own directories; a parent that others use is none.
    package func remove(
        owned: CgroupOwnership, patience seconds: Double = 2, dropsCache: Bool = true, endsProcesses: Bool = true
    ) -> [SystemCallError] {
        let made = Set(owned.made)
        var own = self
        own.directories.removeAll { !made.contains($0.path) }
        let failures = own.remove(patience: seconds, dropsCache: dropsCache, endsProcesses: endsProcesses)
        let leaves = Set(directories.map(\.path))
        for path in owned.made.reversed() where !leaves.contains(path) { CgroupFile.removeIfEmpty(path) }
        return failures
    }

    /// Removes what was made of a cgroup before anybody of the container was in it. Who is in it now is somebody else's, and stays with it.
    package func removeUnused(owned: CgroupOwnership) {
        for path in owned.made.reversed() { CgroupFile.removeIfEmpty(path) }
    }
}
