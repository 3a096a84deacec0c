import CLinux

/// An ordinary user's shim may open no trees on the host. Its first process may do the host phase, inside the user namespace that it was made
/// in and a mount namespace of its own, where what came from the host is locked: a read-only mount stays read-only, and nothing can be taken
/// away from over what it hides (mount_namespaces(7)).
///
/// The record `trees-inside` says so; without it nothing here happens.
struct TreesInside {
    private let plan: Plan

    init?(_ plan: Plan) {
        guard plan.has(LNT_TREES_INSIDE) else { return nil }
        self.plan = plan
    }

    /// Once its ids are mapped.
    func open(_ slots: UnsafeMutablePointer<Int32>) throws(Failure) {
        // The shim's table is shared until here: what is opened from now on is this process's, and pid 1's after it.
        try check(lnt_unshare(UInt64(LNT_CLONE_FILES)), "unshare", literal("descriptors"))
        try check(lnt_unshare(UInt64(LNT_NEWNS)), "unshare", literal("mount namespace"))
        try check(lnt_mount(nil, literal("/"), nil, UInt(LNT_MS_REC) | UInt(LNT_MS_PRIVATE), nil), "mount private", literal("/"))
        try HostSteps(plan: plan, slots: slots, holder: lnt_getpid(), userNamespace: -1).run()
    }
}
