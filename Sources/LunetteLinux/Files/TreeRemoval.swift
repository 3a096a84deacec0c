internal import CLinux

extension Directory {
    /// Removes `name` and everything below it, however deep, by descriptor, without following links or leaving its file system.
    ///
    /// Removing the absent succeeds. Whatever fails is remembered, the rest is removed all the same, and the first failure is thrown.
    package func removeTree(_ name: String) throws(SystemCallError) {
        guard let status = try status(name) else { return }
        guard status.kind == .directory else { return try removeFile(name) }
        var removal = TreeRemoval(mount: status.mountID, label: label)
        removal.remove(Array(name.utf8CString), below: descriptor.number)
        if let first = removal.first { throw first }
    }

    /// Removes everything in this directory but keeps it.
    package func removeContents() throws(SystemCallError) {
        // A descriptor of its own to read through: the caller's offset is the caller's.
        let folder = try open(".", [.directory])
        var removal = TreeRemoval(mount: try fileStatus(folder.number, "", follow: false, label: label).mountID, label: label)
        removal.removeContents(of: folder.number)
        if let first = removal.first { throw first }
    }
}

/// One removal. Its stack, descriptors and memory are bounded whatever a container made: what lies deeper than `deepest` folders is moved up into
/// the tree's own top folder, under a name that nobody can guess, and removed from there.
private struct TreeRemoval {
    private static let deepest = 64
    private static let removeDirectory: Int32 = 0x200

    private let mount: UInt64
    private var path: TreePath
    private(set) var first: SystemCallError?
    /// The folder into which is moved.
    private var top: Int32 = -1
    private let prefix = ".removed.\(UInt64.random(in: 0...UInt64.max))."
    private var moved = 0

    init(mount: UInt64, label: String) {
        self.mount = mount
        path = TreePath(label)
    }

    private mutating func failed(_ what: String, _ name: [CChar], _ errno: Int32, _ why: String = "") {
        if first == nil { first = SystemCallError(what, path.shown(name) + why, errno: errno) }
    }

    /// Removes what is in the tree's top folder, and what is moved into it on the way.
    mutating func removeContents(of folder: Int32) {
        top = folder
        contents(of: folder)
        var done = 0
        while done < moved {
            remove(fresh(done), below: folder)
            done += 1
        }
    }

    private func fresh(_ number: Int) -> [CChar] { Array("\(prefix)\(number)".utf8CString) }

    private mutating func contents(of folder: Int32) {
        var listing = FolderListing()
        do throws(SystemCallError) {
            while let name = try listing.next(of: folder, { path.shown() }) { remove(name, below: folder) }
        } catch {
            if first == nil { first = error }
        }
    }

    mutating func remove(_ name: [CChar], below folder: Int32) {
        let plain = -lnt_host_unlinkat(folder, name, 0)
        if plain == 0 || plain == ErrorNumber.noEntry { return }
        guard plain == ErrorNumber.isDirectory || plain == ErrorNumber.permission else { return failed("remove", name, plain) }
        if path.depth >= Self.deepest { return moveUp(name, below: folder) }
        let flags = OpenFlags([.directory, .noFollow])
        let opened = lnt_host_openat2(folder, name, flags.rawValue, 0, ResolveScope.beneath.rawValue)
        if opened < 0 {
            if -opened == ErrorNumber.noEntry { return }
            return failed("remove", name, -opened == ErrorNumber.notDirectory ? plain : -opened)
        }
        // Something mounted here (a leak, or somebody's bind): its content is not ours to delete.
        let isOurs = isOurs(opened, name)
        if isOurs {
            path.enter(name)
            if top < 0 { removeContents(of: opened) } else { contents(of: opened) }
            path.leave()
        }
        _ = lnt_host_close(opened)
        guard isOurs else { return }
        let removed = -lnt_host_unlinkat(folder, name, Self.removeDirectory)
        if removed > 0, removed != ErrorNumber.noEntry { failed("remove directory", name, removed) }
    }

    private mutating func isOurs(_ opened: Int32, _ name: [CChar]) -> Bool {
        do throws(SystemCallError) {
            if try fileStatus(opened, "", follow: false, label: path.shown(name)).mountID == mount { return true }
            failed("remove", name, ErrorNumber.busy, " (something is mounted there)")
        } catch {
            if first == nil { first = error }
        }
        return false
    }

    private mutating func moveUp(_ name: [CChar], below folder: Int32) {
        let empty = -lnt_host_unlinkat(folder, name, Self.removeDirectory)
        if empty == 0 || empty == ErrorNumber.noEntry { return }
        guard empty == ErrorNumber.notEmpty || empty == ErrorNumber.exists else {
            return failed("remove", name, empty, empty == ErrorNumber.busy ? " (something is mounted there)" : "")
        }
        let renamed = -lnt_host_renameat2(folder, name, top, fresh(moved), 0)
        if renamed == 0 {
            moved += 1
        } else if renamed != ErrorNumber.noEntry {
            failed("move up out of \(Self.deepest) folders", name, renamed)
        }
    }
}
