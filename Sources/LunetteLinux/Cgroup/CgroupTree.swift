internal import CLinux

/// A cgroup and all below it, however deep a container made that: by descriptor, since a path reaches 4095 bytes, with a bounded stack.
///
/// A cgroup can only be renamed where it is (v1) or not at all, so nothing leads such a walk elsewhere.
struct CgroupTree {
    let top: CgroupFile

    /// - Parameters:
    ///   - entering: gets each, parents first; those below the top by a path of an open descriptor.
    ///   - leaving: gets the folder and the name of each below the top, when everything in it was met.
    func visit(
        entering: (CgroupFile) throws(SystemCallError) -> Void,
        leaving: (FileDescriptor, [CChar]) throws(SystemCallError) -> Void = { _, _ in }
    ) throws(SystemCallError) {
        try entering(top)
        guard let folder = try open(top.path, "", in: -100), hasChildren(folder) else { return }
        var walk = try TreeWalk(folder, label: top.path, sorted: false)
        var way: [[CChar]] = []
        while let step = try walk.next() {
            switch step {
            case .entry(let name):
                guard let child = try open(name, walk.path.shown(name), in: walk.folder.number) else { continue }
                try entering(CgroupFile(path: "/proc/self/fd/\(child.number)", controllers: top.controllers))
                if hasChildren(child) {
                    try walk.enter(name, child)
                    way.append(name)
                } else {
                    try leaving(walk.folder, name)
                }
            case .end:
                try walk.leave()
                try leaving(walk.folder, way.removeLast())
            }
        }
    }

    /// - Returns: nil where there is no directory.
    private func open(
        _ name: UnsafePointer<CChar>, _ label: @autoclosure () -> String, in folder: Int32
    ) throws(SystemCallError) -> FileDescriptor? {
        let fd = lnt_host_openat(folder, name, Int32(OpenFlags([.directory, .noFollow]).rawValue), 0)
        if fd >= 0 { return FileDescriptor(owning: fd) }
        if -fd == ErrorNumber.noEntry || -fd == ErrorNumber.notDirectory || -fd == ErrorNumber.noDevice { return nil }
        throw SystemCallError("open cgroup", label().isEmpty ? top.path : label(), errno: -fd)
    }

    /// cgroup file systems count a directory's children in its links; most have none, and some have fifty files.
    private func hasChildren(_ folder: FileDescriptor) -> Bool {
        var status = lnt_host_stat()
        let emptyPath: Int32 = 0x1000
        return lnt_host_stat(folder.number, "", emptyPath, &status) == 0 && status.links != 2
    }
}
