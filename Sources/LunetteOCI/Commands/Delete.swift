internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let delete = Command(
        name: "delete", summary: "remove a container that has stopped, and all that belongs to it", arguments: "ID", count: 1...1,
        options: [Option("force", "f", .none, "end it first if it runs; an unknown id is no failure")]
    ) { invocation throws(LunetteError) in
        let id = try invocation.containerID()
        let isForced = invocation.options.flag("force")
        invocation.store.sweep()
        do throws(LunetteError) {
            try delete(id, isForced: isForced, invocation)
        } catch {
            if isForced, error.code == .notFound { return 0 }
            throw error
        }
        return 0
    }

    private static func delete(_ id: String, isForced: Bool, _ invocation: Invocation) throws(LunetteError) {
        let store = invocation.store
        guard let folder = try store.folder(id) else { throw ContainerStore.unknown(id) }
        if isForced { try endCreator(folder, id, store) } else { try store.refuseCreating(folder, id, "delete") }
        try endHolder(folder, id, store, isForced: isForced)
        let held = try hold(folder, id, store)
        let container: Container
        do throws(LunetteError) { container = try Container(folder, store: store) } catch {
            // A create that was killed before its record was whole made nothing else; of one that can't be read, what is certain is ended.
            guard error.code == .notFound || isForced else { throw error }
            if error.code != .notFound { try Unreadable(held: held, id: id, log: invocation.log).end() }
            try store.remove(held, id)
            return
        }
        let status = container.status()
        invocation.log.debug("the container is \(status.rawValue)")
        guard status == .stopped || isForced else { throw notStopped(id, status) }
        // A config that can't be read any more has no hooks that could be run.
        try remove(container, held, (try? container.spec())?.hooks ?? .init(), invocation)
    }

    /// A `create` under way holds the folder, perhaps for as long as a hook hangs: it is killed first, with its hook and its shim; what it made
    /// is taken apart as after any kill.
    private static func endCreator(_ folder: Directory, _ id: String, _ store: ContainerStore) throws(LunetteError) {
        guard let container = try? Container(folder, store: store), container.record.phase == .creating,
            let creator = container.record.creator.open(), creator.pid != getpid()
        else { return }
        // It waits for this very hook; killed, it could tell nobody why.
        guard !isAncestor(creator.pid) else { throw ownCreate(id, "the create of it runs this hook") }
        try atBorder(
            "end the create of container \(id)",
            { () throws(SystemCallError) in
                // Stopped it reaps nobody, so the pids of its children stay theirs until they are signalled; each leads a group.
                guard try creator.signal(SIGSTOP) else { return }
                let children = readSmallFile("/proc/\(creator.pid)/task/\(creator.pid)/children") ?? ""
                for child in children.split(separator: " ").compactMap({ Int32($0) }) { Glibc.kill(-child, SIGKILL) }
                try creator.signal(SIGKILL)
            })
        _ = creator.waitForExit(milliseconds: 10_000)
    }

    /// Ends whoever would hold the folder for ever: a `run` or `start` until the program runs, perhaps for as long as a startContainer hook hangs;
    /// and the shim, which shares the lock of whoever handed it the folder, that a dead `create` has left hanging.
    private static func endHolder(
        _ folder: Directory, _ id: String, _ store: ContainerStore, isForced: Bool
    ) throws(LunetteError) {
        let isFree = try atBorder("look at container \(id)", { () throws(SystemCallError) in try HeldFolder(folder, wait: false) != nil })
        guard !isFree else { return }
        guard let container = try? Container(folder, store: store) else {
            let isThere = try atBorder(
                "look at container \(id)", { () throws(SystemCallError) in try folder.exists(ContainerRecord.fileName) })
            if isForced, isThere { try Deletion.endShims(of: folder, id) }
            return
        }
        switch container.record.phase {
        case .creating: if !container.record.creator.isAlive { try Deletion.endShims(of: folder, id) }
        case .created:
            guard let process = container.initProcess() else { return }
            guard isForced else { throw notStopped(id, container.status()) }
            // The end of pid 1 ends the wait for its program, also where it was paused meanwhile.
            try atBorder(
                "kill container \(id)",
                { () throws(SystemCallError) in
                    _ = try process.signal(SIGKILL)
                    try container.record.cgroup.cgroup.thawForKill()
                })
        }
    }

    /// Whoever holds a container that is being made has been ended by now, unless it isn't seen from here: a hook in the container's pid namespace
    /// that deletes its own container would wait for the `create` that waits for it.
    private static func hold(_ folder: Directory, _ id: String, _ store: ContainerStore) throws(LunetteError) -> HeldFolder {
        if let held = try store.hold(folder, id, patience: 0) { return held }
        if let container = try? Container(folder, store: store), container.record.phase == .created { return try store.hold(folder, id) }
        guard let held = try store.hold(folder, id, patience: 5) else {
            throw ownCreate(id, "it is held by a command that can't be seen from here")
        }
        return held
    }

    private static func ownCreate(_ id: String, _ why: String) -> LunetteError {
        LunetteError(
            .conflict, "delete container \(id): \(why)", target: id,
            hint: "a hook of its creation can't delete its own container: let it fail instead")
    }

    private static func isAncestor(_ pid: Int32) -> Bool {
        var current = getppid()
        for _ in 0..<1000 where current > 1 {
            if current == pid { return true }
            guard let stat = ProcessStat.read(pid: current) else { return false }
            current = stat.parent
        }
        return false
    }

    private static func notStopped(_ id: String, _ status: Container.Status) -> LunetteError {
        LunetteError(
            .invalidState, "cannot delete container \(id) that is not stopped: \(status.rawValue)", target: id,
            hint: "kill it first, or lunette-oci delete --force \(id)")
    }

    /// Takes it apart and runs the poststop hooks, whose failures are told and change nothing.
    static func remove(
        _ container: Container, _ held: HeldFolder, _ hooks: RuntimeSpec.Hooks, _ invocation: Invocation
    ) throws(LunetteError) {
        let report = Deletion(container: container, held: held, store: invocation.store, log: invocation.log).takeApart()
        if var failure = report.error {
            failure.message = "delete container \(container.id): \(failure.message)"
            throw failure
        }
        invocation.log.debug("deleted: processes, cgroups and \(container.folder.label) are gone; poststop hooks: \(hooks.poststop.count)")
        container.runPoststop(hooks, invocation.log)
    }
}
