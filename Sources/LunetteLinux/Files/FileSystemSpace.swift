internal import CLinux

/// What is left on a file system, by statfs.
package struct FileSystemSpace: Sendable, Equatable {
    package var total: Int64
    /// For root; `available` is for ordinary users.
    package var free: Int64
    package var available: Int64
    package var inodes: Int64
    package var inodesFree: Int64
    package var isReadOnly: Bool
    /// The magic number of the kind (`OVERLAYFS_SUPER_MAGIC` …).
    package var kind: Int64

    package init(of directory: Directory) throws(SystemCallError) {
        var raw = lnt_host_statfs()
        try check(lnt_host_statfs(directory.descriptor.number, &raw), "statfs", directory.label)
        let block = Int64(raw.block_size)
        total = Int64(clamping: raw.blocks) * block
        free = Int64(clamping: raw.blocks_free) * block
        available = Int64(clamping: raw.blocks_available) * block
        inodes = Int64(clamping: raw.files)
        inodesFree = Int64(clamping: raw.files_free)
        isReadOnly = raw.flags & 1 != 0
        kind = raw.type
    }
}
