internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Takes a container apart: processes, cgroup, folder. Runs from the record alone, may run twice, goes on after a failure.
struct Deletion {
    var container: Container
    var held: HeldFolder
    var store: ContainerStore
    var log: ErrorLog

    /// - Returns: what failed; the folder stays then, so that the next try knows what to do.
    func takeApart() -> CleanupReport {
        var report = CleanupReport()
        if container.record.phase == .creating {
            report.step("half-made processes") { () throws(LunetteError) in try Self.endShims(of: held.directory, container.id) }
        }
        report.step("pid 1") { () throws(LunetteError) in
            guard let process = container.initProcess() else { return }
            try end(process)
        }
        let record = container.record.cgroup
        let cgroup = record.cgroup
        // Held to the end, so that nobody moves in before it is gone. Who has moved in already keeps it.
        var lock: FileLock?
        var isOurs = false
        // Where somebody is in it nobody else claims it, and who has the lock may be a process of its own, which ends next.
        let isOccupied = !cgroup.occupants().isEmpty
        report.step("claim") { () throws(LunetteError) in
            guard record.isTaken else { return }
            if cgroup.exists {
                lock = try atBorder(
                    "hold the cgroup of container \(container.id)",
                    { () throws(SystemCallError) in try cgroup.lock(patience: isOccupied ? 0 : 10) })
            }
            isOurs = record.isOurs
        }
        defer { lock?.release() }
        let hasNobodyLeft = container.hasNobodyLeft()
        report.step("processes") { () throws(LunetteError) in
            guard isOurs, !hasNobodyLeft else { return }
            let isEmpty = try atBorder(
                "end the processes of container \(container.id)", { () throws(SystemCallError) in try cgroup.killAll() })
            guard isEmpty else {
                throw LunetteError(.timeout, "end the processes of container \(container.id): some are still there after 10 s")
            }
        }
        if lock == nil, isOurs, cgroup.exists {
            report.step("claim") { () throws(LunetteError) in
                lock = try atBorder(
                    "hold the cgroup of container \(container.id)",
                    { () throws(SystemCallError) in try cgroup.lock(patience: isOccupied ? 10 : 0) })
                isOurs = record.isOurs
                guard lock != nil || !isOurs || !cgroup.exists else {
                    throw LunetteError(.timeout, "hold the cgroup of container \(container.id): somebody else has had it for 10 s")
                }
            }
        }
        report.step("scope") { () throws(LunetteError) in if isOurs { try record.stopScope() } }
        report.step("cgroup") { () throws(LunetteError) in
            guard record.isTaken else {
                // Where somebody else is at work, what was made is theirs by the mark.
                if let lock = try atBorder(
                    "hold the cgroup of container \(container.id)", { () throws(SystemCallError) in try cgroup.lock() })
                {
                    cgroup.removeUnused(owned: record.owned)
                    lock.release()
                } else if !cgroup.exists {
                    cgroup.removeUnused(owned: record.owned)
                }
                return
            }
            guard isOurs else { return }
            // As every other OCI runtime: whoever runs one after the other from one image reads its files once.
            let failures = cgroup.remove(owned: record.owned, dropsCache: false, endsProcesses: !hasNobodyLeft)
            for failure in failures {
                guard hasNobodyLeft, failure.errno == EBUSY else { throw failure.lunette }
                log.warn("container \(container.id): its cgroup \(displayable(failure.target)) stays: somebody else's processes are in it")
            }
        }
        guard report.isClean else { return report }
        faultPoint("oci.delete.cgroup")
        report.step("folder") { () throws(LunetteError) in try store.remove(held, container.id) }
        return report
    }

    private func end(_ process: ProcessDescriptor) throws(LunetteError) {
        try Self.kill(process, container.id)
        // A frozen process takes its signal when it is thawed, which killing the cgroup's does.
        let cgroup = container.record.cgroup.cgroup
        guard !cgroup.isFrozen else { return }
        try atBorder("thaw container \(container.id)", { () throws(SystemCallError) in try cgroup.thawForKill() })
        try Self.waitForEnd(process, container.id)
    }

    /// A killed `create` may have left a shim that isn't in the cgroup; it is known by the folder that it holds open.
    static func endShims(of folder: Directory, _ id: String) throws(LunetteError) {
        for identity in ShimScan.find(holding: folder) {
            guard let process = identity.open() else { continue }
            try kill(process, id)
            try waitForEnd(process, id)
        }
    }

    private static func kill(_ process: ProcessDescriptor, _ id: String) throws(LunetteError) {
        try atBorder(
            "kill container \(id)",
            { () throws(SystemCallError) in
                _ = try process.signal(SIGKILL)
            })
    }

    private static func waitForEnd(_ process: ProcessDescriptor, _ id: String) throws(LunetteError) {
        guard process.waitForExit(milliseconds: 10_000) else {
            throw LunetteError(.timeout, "kill container \(id): pid \(process.pid) is still there after 10 s")
        }
    }
}
