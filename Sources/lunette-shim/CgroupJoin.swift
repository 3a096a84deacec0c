import CLinux

/// Joins cgroups of v1; v2's is joined by `clone3` (see `Plan.openUnifiedCgroup`).
///
/// A thread that writes 0 to `tasks` moves itself and takes no lock. A pid written to `cgroup.procs` makes the kernel hold every fork and
/// exit of the machine, after an RCU grace period of 10 to 20 ms when nobody did so just before (cgroup_procs_write_start in
/// kernel/cgroup/cgroup.c). The first process has one thread, so it is the same to it.
struct CgroupJoin {
    /// One open `tasks` file for each path of the plan, in its order; -1 where there is none, or not yet.
    private let files: UnsafeMutablePointer<Int32>
    static let most = Int(LNT_CGROUP_FILES)

    /// - Parameter storage: room for `most` descriptors.
    init(storage: UnsafeMutablePointer<Int32>) {
        files = storage
        forget()
    }

    /// Opens the files, with the rights of the host's root: the kernel asks whoever opened a file, not whoever writes to it.
    func open(_ plan: Plan) throws(Failure) {
        guard plan.has(LNT_JOIN_CGROUPS) else { return }
        let (step, index) = (currentStep, currentIndex)
        var fields = try plan.fields(LNT_JOIN_CGROUPS)
        let count = try fields.count(size: 16)
        guard count <= Self.most else { throw failure("decode", errno: Int32(LNT_EPROTO), literal("cgroups")) }
        let longest = 4096
        guard let memory = lnt_map_anonymous(longest) else { throw failure("mmap", errno: Int32(LNT_ENOMEM)) }
        defer { _ = lnt_unmap(memory, longest) }
        var tasks = TextBuffer(memory, capacity: longest)
        for index in 0..<count {
            let path = try fields.text()
            tasks.clear()
            tasks.append(path)
            tasks.append("/tasks")
            guard tasks.space > 0 else { throw failure("open tasks", errno: Int32(LNT_ENAMETOOLONG), path) }
            files[index] = try check(lnt_open(tasks.terminate(), Int32(LNT_O_WRONLY), 0), "open tasks", path)
        }
        (currentStep, currentIndex) = (step, index)
    }

    /// In the process that opened them, when another one, of the same descriptors, is about to join by its own copy of the numbers.
    func forget() {
        for index in 0..<Self.most { files[index] = -1 }
    }

    /// Moves the calling process, which must have one thread, into all of them, and closes the files. Nothing where none is open.
    func enter(_ plan: Plan) throws(Failure) {
        guard files[0] >= 0 else { return }
        let (step, index) = (currentStep, currentIndex)
        var fields = try plan.fields(LNT_JOIN_CGROUPS)
        for index in 0..<(try fields.count(size: 16)) {
            let path = try fields.text()
            try check(lnt_write_all(files[index], literal("0"), 1), "write tasks", path)
            _ = lnt_close(files[index])
            files[index] = -1
        }
        (currentStep, currentIndex) = (step, index)
    }
}
