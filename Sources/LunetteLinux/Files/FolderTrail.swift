internal import CLinux

/// The way from a folder down into a tree of any depth: a bounded number of descriptors and no path.
///
/// The folders near the top stay open. Out of a deeper one leads `..`, which counts only when it is the very folder that the walk came from: whoever
/// renames meanwhile ends the walk and never leads it elsewhere.
package struct FolderTrail: Sendable {
    /// More than trees that people make have: for them a folder is opened once.
    static let kept = 48

    private struct Folder: Sendable {
        var descriptor: FileDescriptor?
        let device: UInt64
        let inode: UInt64
        let mount: UInt64
    }

    private var folders: [Folder] = []

    /// - Parameters:
    ///   - top: where the way begins.
    ///   - label: what it is called in errors.
    /// - Throws: what stat(2) answers.
    package init(_ top: FileDescriptor, label: String) throws(SystemCallError) { try enter(top, label) }

    /// Folders below the top.
    package var depth: Int { folders.count - 1 }

    /// The folder where the walk is.
    package var current: FileDescriptor { folders[folders.count - 1].descriptor! }

    /// Goes into a folder of the current one, opened by whoever walks.
    package mutating func enter(_ folder: FileDescriptor, _ label: @autoclosure () -> String) throws(SystemCallError) {
        var raw = lnt_host_stat()
        let emptyPath: Int32 = 0x1000
        try check(lnt_host_stat(folder.number, "", emptyPath, &raw), "stat", label())
        if folders.count > Self.kept { folders[folders.count - 1].descriptor = nil }
        folders.append(Folder(descriptor: folder, device: raw.device, inode: raw.inode, mount: raw.mount_id))
    }

    /// Goes back up.
    /// - Throws: `ESTALE` when the folder above isn't the one that the walk came from.
    package mutating func leave(_ label: @autoclosure () -> String) throws(SystemCallError) {
        let left = folders.removeLast()
        let index = folders.count - 1
        guard index >= 0, folders[index].descriptor == nil, let below = left.descriptor else { return }
        let flags = OpenFlags([.directory, .noFollow])
        let above = FileDescriptor(
            owning: try check(lnt_host_openat(below.number, "..", Int32(flags.rawValue), 0), "go back up from", label()))
        var raw = lnt_host_stat()
        let emptyPath: Int32 = 0x1000
        try check(lnt_host_stat(above.number, "", emptyPath, &raw), "stat", label())
        let folder = folders[index]
        guard raw.device == folder.device, raw.inode == folder.inode, raw.mount_id == folder.mount else {
            throw SystemCallError("go back up from", "\(label()) (it was moved meanwhile)", errno: ErrorNumber.stale)
        }
        folders[index].descriptor = above
    }
}
