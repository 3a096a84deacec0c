/// What a tree takes on its disk. Hard links count each time they are met; what goes away meanwhile doesn't count: the tree may be in use.
package struct TreeUsage: Sendable {
    /// Allocated, in bytes; a sparse file's holes are not.
    package private(set) var bytes: Int64 = 0
    /// Files, folders and whatever else, without the top.
    package private(set) var entries: Int64 = 0

    /// Walks a folder of any depth, following nothing. Blocks.
    /// - Parameter crossing: whether what is mounted inside counts too; a mount point itself always does.
    package init(of top: Directory, crossing: Bool) throws(SystemCallError) {
        let start = try fileStatus(top.descriptor.number, "", follow: false, label: top.label)
        var walk = try TreeWalk(try top.open(".", [.directory]), label: top.label, sorted: false)
        while let step = try walk.next() {
            guard case .entry(let name) = step else {
                try walk.leave()
                continue
            }
            let folder = walk.directory
            guard let status = try folder.status(name) else { continue }
            entries += 1
            bytes += status.allocated
            guard status.kind == .directory else { continue }
            if !crossing, status.device != start.device || status.mountID != start.mountID { continue }
            do throws(SystemCallError) { try walk.enter(name, try folder.open(name, [.directory, .noFollow])) } catch {
                guard error.errno == ErrorNumber.noEntry else { throw error }
            }
        }
    }
}
