import LunetteSpec

extension Resident {
    /// What bringing about all that is wanted would do, and what becomes of what is no longer.
    func compare(_ loaded: [LoadedResident], prunes: Bool) async throws(LunetteError) -> [ObjectChange] {
        var changes: [ObjectChange] = []
        for object in loaded.flatMap(\.desired) { changes.append(try await objects.compare(object)) }
        let wanted = Set(loaded.flatMap(\.desired).map(\.key))
        // What mounts a volume, or shares a namespace, goes before that.
        for object in scripts.flatMap(\.desired).reversed() where !wanted.contains(object.key) {
            changes.append(ObjectChange(kind: object.kind, name: object.name, action: prunes ? .remove : .leave, place: object.place))
        }
        return changes
    }

    /// - Returns: the changes with what couldn't be done.
    func bringAbout(_ changes: [ObjectChange], _ loaded: [LoadedResident]) async -> [ObjectChange] {
        let wanted = loaded.flatMap(\.desired).reduce(into: [String: DesiredObject]()) { $0[$1.key] = $1 }
        var done: [ObjectChange] = []
        for var change in changes {
            do throws(LunetteError) {
                switch change.action {
                case .create, .update: if let object = wanted["\(change.kind)/\(change.name)"] { try await objects.bring(object) }
                case .remove: try await objects.drop(change.kind, change.name, change.place ?? "")
                case .same, .leave, .conflict: break
                }
            } catch {
                // Gone already is what was wanted.
                if change.action != .remove || error.code != .notFound {
                    change.error = error
                    await noteFailed("\(change.place ?? ""): \(change.kind) \(change.name)", error)
                }
            }
            done.append(change)
        }
        return done
    }
}
