internal import CLinux

/// One container's cgroup: a directory in each v1 hierarchy, or one in v2.
package struct ContainerCgroup: Sendable, Equatable {
    package var version: CgroupLayout.Version
    package var directories: [CgroupFile]

    package init(version: CgroupLayout.Version, directories: [CgroupFile]) {
        self.version = version
        self.directories = directories
    }

    /// Absolute paths, in the order in which they are joined.
    package var paths: [String] { directories.map(\.path) }

    /// For the plan: directories whose `tasks` a launch writes itself to; empty on v2.
    package var joinPathsV1: [String] { version == .v1 ? paths : [] }

    /// For the plan: the directory that a launch is cloned into (CLONE_INTO_CGROUP); nil on v1.
    package var joinPathV2: String? { version == .v2 ? paths.first : nil }

    func directory(_ controller: String) -> CgroupFile? {
        version == .v2 ? directories.first : directories.first { $0.controllers.contains(controller) }
    }

    package var exists: Bool { directories.contains { $0.has("cgroup.procs") } }

    /// Every process in it that has a number here (threads belong to their process). Hierarchies are joined in order, so the first has whoever is in
    /// any.
    package func processes() -> [Int32] { occupants().filter { $0 > 0 } }

    /// The same, with a 0 for each process of another pid namespace than ours: nobody to signal, but somebody (v2's cgroup.procs).
    package func occupants() -> [Int32] {
        var found: [Int32] = []
        // What the walk can't go on with is gone: the rest is what there was.
        do throws(SystemCallError) { try collect(&found) } catch { return found }
        return found
    }

    // A container with a writable cgroup tree may have made children.
    private func collect(_ found: inout [Int32]) throws(SystemCallError) {
        guard let first = directories.first else { return }
        try CgroupTree(top: first).visit { directory throws(SystemCallError) in found += directory.occupants() }
    }

    // MARK: pausing

    /// Whether there is something to pause it with.
    package var canFreeze: Bool {
        switch version {
        case .v1: directory("freezer")?.has("freezer.state") ?? false
        case .v2: !directories.isEmpty
        }
    }

    package var isFrozen: Bool {
        switch version {
        case .v1: directory("freezer")?.read("freezer.state")?.trimmed == "FROZEN"
        case .v2: directories.first?.readTable("cgroup.events")["frozen"] == 1
        }
    }

    /// Whether a freeze was asked for, done or not.
    var isAskedToFreeze: Bool {
        switch version {
        case .v1: directory("freezer")?.read("freezer.state").map { $0.trimmed != "THAWED" } ?? false
        case .v2: directories.first?.read("cgroup.freeze")?.trimmed == "1"
        }
    }

    /// Stops every process where it stands; returns when all do. Blocks up to `seconds`.
    package func freeze(seconds: Double = 10) throws(SystemCallError) {
        try setFrozen(true)
        let deadline = SystemClock.monotonic + seconds
        var pause = 0.0002
        while !isFrozen {
            guard SystemClock.monotonic < deadline else {
                try setFrozen(false)
                throw SystemCallError("freeze cgroup", paths.first ?? "", errno: ErrorNumber.timedOut)
            }
            SystemClock.block(seconds: pause)
            pause = min(pause * 2, 0.02)
            // v1 may need telling again when a process was forking just then.
            if version == .v1 { try setFrozen(true) }
        }
    }

    package func thaw() throws(SystemCallError) { try setFrozen(false) }

    /// Lets everybody take the SIGKILL that was sent. v1's freezer holds it back, also in a child that the container made and froze by itself, where
    /// it was given its cgroup to write.
    package func thawForKill() throws(SystemCallError) {
        switch version {
        case .v1: if let freezer = directory("freezer"), freezer.has("freezer.state") { try thaw(freezer) }
        // Whether all stand still already or not: what was asked for would hold whoever joins next.
        case .v2: if isAskedToFreeze { try setFrozen(false) }
        }
    }

    private func thaw(_ freezer: CgroupFile) throws(SystemCallError) {
        try CgroupTree(top: freezer).visit { directory throws(SystemCallError) in
            do throws(SystemCallError) { try directory.write("freezer.state", "THAWED") } catch {
                guard error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.noDevice else { throw error }
            }
        }
    }

    private func setFrozen(_ frozen: Bool) throws(SystemCallError) {
        switch version {
        case .v1:
            guard let freezer = directory("freezer") else {
                throw SystemCallError("freeze cgroup", "no freezer controller", errno: ErrorNumber.notSupported)
            }
            try freezer.write("freezer.state", frozen ? "FROZEN" : "THAWED")
        case .v2:
            guard let directory = directories.first else {
                throw SystemCallError("freeze cgroup", "the container has none", errno: ErrorNumber.notSupported)
            }
            try directory.write("cgroup.freeze", frozen ? "1" : "0")
        }
    }

    // MARK: ending

    /// Sends SIGKILL to every process, paused or not, until none is left. Blocks up to `seconds`.
    /// - Returns: whether the cgroup is empty.
    package func killAll(seconds: Double = 10) throws(SystemCallError) -> Bool {
        let deadline = SystemClock.monotonic + seconds
        var pause = 0.0005
        var isFirst = true
        while true {
            var left: [Int32] = []
            do throws(SystemCallError) {
                try collect(&left)
                if left.isEmpty { return true }
            } catch {
                // The tree changes while they end; one that can't be walked in all that time is no empty one.
                guard SystemClock.monotonic < deadline else { throw error }
            }
            guard SystemClock.monotonic < deadline else { return false }
            if version == .v2, isFirst, let directory = directories.first, directory.has("cgroup.kill") {
                try directory.write("cgroup.kill", "1")
            } else {
                // Frozen, nobody forks away between the listing and the signal, and no pid in the list is anybody else's.
                let canFreeze = canFreeze
                if canFreeze { try setFrozen(true) }
                for pid in processes() { _ = lnt_host_kill(pid, 9) }
                if canFreeze { try thawForKill() }
            }
            isFirst = false
            SystemClock.block(seconds: pause)
            pause = min(pause * 2, 0.05)
        }
    }

    /// Signals every process once.
    package func signalAll(_ signal: Int32) { for pid in processes() { _ = lnt_host_kill(pid, signal) } }

    /// Removes the directories; absent ones are done. A process that is just dying keeps one busy for a moment: retried.
    /// - Parameters:
    ///   - seconds: how long a busy one is tried for.
    ///   - dropsCache: gives back the page cache that was charged to it, which costs half a millisecond and the next start's reads. Without, the
    ///     kernel counts the removed memory cgroup until it wants the memory.
    ///   - endsProcesses: kills whoever is left in it; without, a cgroup with processes stays.
    /// - Returns: failures, empty when all is gone.
    package func remove(patience seconds: Double = 2, dropsCache: Bool = true, endsProcesses: Bool = true) -> [SystemCallError] {
        var failures: [SystemCallError] = []
        let deadline = SystemClock.monotonic + seconds
        for directory in directories {
            do throws(SystemCallError) { try remove(directory, deadline: deadline, dropsCache, endsProcesses) } catch {
                failures.append(error)
            }
        }
        return failures
    }

    /// Without this the page cache it was charged for keeps a dead memory cgroup in the kernel (150 seen after 150 starts).
    private func dropPageCache(_ directory: CgroupFile) {
        // Busy (a process is left) shows again at rmdir, absent likewise; EAGAIN: not all could be taken back.
        switch version {
        case .v1: if directory.controllers.contains("memory") { _ = try? directory.write("memory.force_empty", "0") }
        case .v2:
            // Since Linux 5.19; before that the cache stays until it is wanted for something else.
            guard let cache = directory.readTable("memory.stat")["file"], cache > 0 else { return }
            _ = try? directory.write("memory.reclaim", "\(cache)")
        }
    }

    private func remove(
        _ directory: CgroupFile, deadline: Double, _ dropsCache: Bool, _ endsProcesses: Bool
    ) throws(SystemCallError) {
        if dropsCache { dropPageCache(directory) }
        var pause = 0.0005
        while true {
            let result = lnt_host_unlinkat(-100, directory.path, Self.removeDirectory)
            // A file of a cgroup's in the way (`cgroupsPath` ends in "tasks"): no cgroup was made there.
            if result == 0 || -result == ErrorNumber.noEntry || -result == ErrorNumber.notDirectory { return }
            guard -result == ErrorNumber.busy else { throw SystemCallError("remove cgroup", directory.path, errno: -result) }
            do throws(SystemCallError) { try empty(directory, dropsCache, endsProcesses) } catch {
                guard SystemClock.monotonic < deadline else { throw error }
            }
            guard SystemClock.monotonic < deadline else { throw SystemCallError("remove cgroup", directory.path, errno: -result) }
            SystemClock.block(seconds: pause)
            pause = min(pause * 2, 0.05)
        }
    }

    private static let removeDirectory: Int32 = 0x200

    /// Removes what can be removed below; the rest is the next call's.
    private func empty(_ directory: CgroupFile, _ dropsCache: Bool, _ endsProcesses: Bool) throws(SystemCallError) {
        try CgroupTree(top: directory).visit(
            entering: { child throws(SystemCallError) in
                if dropsCache, child != directory { dropPageCache(child) }
                // Whoever is left here came between the killing and this: a half-made launch of a dead engine.
                if endsProcesses { for pid in child.processes() { _ = lnt_host_kill(pid, 9) } }
            },
            leaving: { folder, name in _ = lnt_host_unlinkat(folder.number, name, Self.removeDirectory) })
    }

    // MARK: out of memory

    /// The file that counts them, for who watches from outside; nil without a memory controller.
    package var outOfMemoryFile: String? {
        switch version {
        case .v1: directory("memory").map { "\($0.path)/memory.oom_control" }
        case .v2: directories.first.map { "\($0.path)/memory.events" }
        }
    }

    /// How many processes the kernel killed here for want of memory.
    package func outOfMemoryKills() -> Int64 {
        switch version {
        case .v1: directory("memory")?.readTable("memory.oom_control")["oom_kill"] ?? 0
        case .v2: directories.first?.readTable("memory.events")["oom_kill"] ?? 0
        }
    }
}
