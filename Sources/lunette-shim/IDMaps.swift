import CLinux

/// How ids are mapped where an ordinary user is at work (docs/rootless.md). Nothing of it happens without the plan's record.
struct Rootless {
    /// Overlay keeps its marks in `user.overlay.*`: the others are the machine's root's.
    var userAttributes = false
    /// Groups can't be changed: the maps hold one's own id alone, and the kernel wants `setgroups` denied then (user_namespaces(7)).
    var keepsGroups = false
    /// newuidmap and newgidmap by absolute path; nil writes the maps directly.
    var uidHelper: Text?
    var gidHelper: Text?
    /// The record's place in the plan, for what fails later in its name.
    private var index: UInt32 = 0

    /// A plan without the record is root's.
    init(_ plan: Plan) throws(Failure) {
        guard plan.has(LNT_ROOTLESS) else { return }
        // Fields: user_attributes keeps_groups newuidmap newgidmap
        var fields = try plan.fields(LNT_ROOTLESS)
        userAttributes = try fields.flag()
        index = currentIndex
        keepsGroups = try fields.flag()
        uidHelper = try Rootless.path(&fields)
        gidHelper = try Rootless.path(&fields)
        groupsAreKept = keepsGroups
    }

    private static func path(_ fields: inout Fields) throws(Failure) -> Text? {
        let text = try fields.text()
        if text[0] == 0 { return nil }
        // Never looked for: whose PATH would it be?
        guard text[0] == 0x2f else { throw failure("decode", errno: Int32(LNT_EPROTO), text) }
        return text
    }

    private var usesHelpers: Bool { uidHelper != nil && gidHelper != nil }

    /// Before the namespace's first process is cloned: what /proc has of a process that can't be traced is root's, so that the helpers don't
    /// take it for their caller's, and a shim without rights may not write its maps. Nothing of a container is there yet; `closeUp` follows
    /// the clone.
    func openUp() {
        if hasNoRights { _ = lnt_prctl(Int32(LNT_PR_SET_DUMPABLE), 1) }
    }

    func closeUp() {
        if hasNoRights { _ = lnt_prctl(Int32(LNT_PR_SET_DUMPABLE), 0) }
    }

    private var hasNoRights: Bool { lnt_effective_uid() != 0 && (usesHelpers || keepsGroups) }

    /// Writes both maps of a process, or has them written. The fields are a plan's `uid` and `gid`.
    func map(_ pid: Int32, _ fields: inout Fields) throws(Failure) {
        if let uidHelper, let gidHelper {
            (currentStep, currentIndex) = (LNT_ROOTLESS.rawValue, index)
            try run(uidHelper, pid, &fields)
            try run(gidHelper, pid, &fields)
            return
        }
        if keepsGroups {
            try withProcPath(pid, "setgroups") { (path) throws(Failure) in
                let fd = try check(lnt_open(path, Int32(LNT_O_WRONLY), 0), "open", literal("setgroups"))
                defer { _ = lnt_close(fd) }
                let result = lnt_write_all(fd, literal("deny"), 4)
                // Denied already in the namespace around, and with it in this one for good.
                if result != -Int32(LNT_EPERM) { try check(result, "write", literal("setgroups")) }
            }
        }
        try writeMappings(pid, "uid_map", &fields)
        try writeMappings(pid, "gid_map", &fields)
    }

    /// `newuidmap PID inside outside size …`, and its end is waited for.
    private func run(_ helper: Text, _ pid: Int32, _ fields: inout Fields) throws(Failure) {
        let count = try fields.count(size: 24)
        let words = 2 + count * 3
        // Each number takes at most 11 bytes with its NUL; pointers to them stand in front.
        let pointers = (words + 1) * MemoryLayout<Text?>.stride
        let size = pointers + words * 12
        guard count <= 340, let memory = lnt_map_anonymous(size) else { throw failure("decode", errno: Int32(LNT_E2BIG), helper) }
        defer { _ = lnt_unmap(memory, size) }
        let arguments = memory.assumingMemoryBound(to: Text?.self)
        var place = memory + pointers
        func add(_ number: UInt64, at index: Int) {
            var text = TextBuffer(place, capacity: 12)
            text.append(number)
            arguments[index] = text.terminate()
            place += 12
        }
        arguments[0] = helper
        add(UInt64(pid), at: 1)
        for index in 0..<count * 3 { add(UInt64(try fields.word()), at: 2 + index) }
        arguments[words] = nil
        var environment: Text? = nil
        let child = lnt_clone3(0, nil, Int32(LNT_SIGCHLD), -1)
        if child == 0 {
            // It may say more than its exit code on stderr, and needs nothing else of ours.
            _ = lnt_close_range(3, UInt32.max, 0)
            _ = lnt_execve(helper, arguments, &environment)
            lnt_exit(127)
        }
        try check(child, "clone3", helper)
        var status: Int32 = 0
        _ = lnt_wait(child, &status, 1)
        if status != 0 { throw failure(status == 127 << 8 ? "execve" : "map ids", errno: Int32(LNT_EPERM), helper) }
    }
}

/// Set once by the plan: programs that are executed later, by a plan of their own, live in the same namespace.
// SAFETY: the shim and everything it clones are single-threaded.
nonisolated(unsafe) private var groupsAreKept = false

/// Gives the calling process its supplementary groups, where they can be given at all.
func setGroups(_ groups: UnsafePointer<gid_t>?, _ count: Int) throws(Failure) {
    if groupsAreKept { return }
    try check(lnt_setgroups(groups, count), "setgroups")
}

/// Makes the calling process root of the user namespace that it is in. One's own id alone has nothing else to become: whoever it is outside, it
/// is inside.
func becomeRoot() throws(Failure) {
    if groupsAreKept { return }
    try check(lnt_set_ids(0, 0), "setresuid")
}
