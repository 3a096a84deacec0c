import LunetteImages
import LunetteLinux
import LunetteRuntime
import LunetteSpec

extension Engine {
    /// Looks for what is left over, missing or broken; `repair` mends what can be mended without a choice.
    func checkSystem(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let repair = try arguments.bool("repair") ?? false
        try arguments.finish()
        await sweeping.wait()
        var findings = Findings()
        try await checkDatabase(&findings)
        try await checkContainers(&findings, repair: repair)
        try await checkLedger(&findings, repair: repair)
        try await checkMounts(&findings)
        try await checkVolumes(&findings)
        try await checkImages(&findings, repair: repair)
        return [
            "problems": .array(findings.problems), "checked": .array(findings.checked.map(Value.string)),
            "repaired": .int(Int64(findings.repaired)),
        ]
    }

    private struct Findings {
        var problems: [Value] = []
        var checked: [String] = []
        var repaired = 0

        mutating func add(_ kind: String, _ what: String, repaired: Bool = false) {
            problems.append(["kind": .string(kind), "what": .string(what), "repaired": .bool(repaired)])
            if repaired { self.repaired += 1 }
        }
    }

    private func checkDatabase(_ findings: inout Findings) async throws(LunetteError) {
        for problem in try await state.integrityProblems() { findings.add("database", problem) }
        findings.checked.append("database")
    }

    /// Rows against the machine: what runs must have a row, what has a row must be there.
    private func checkContainers(_ findings: inout Findings, repair: Bool) async throws(LunetteError) {
        let survey = try await host.survey()
        let known = await state.containers
        let ledger = await state.ledger
        for id in survey.ids.sorted() where known[id] == nil {
            // Being removed or built just now: a ledger row owns it.
            if ledger[LedgerRow(.containerFiles, id).key] != nil { continue }
            var what: [String] = []
            if survey.shims[id] != nil { what.append("a shim") }
            if survey.cgroups.contains(id) { what.append("cgroups") }
            if survey.runDirectories.contains(id) { what.append("a run directory") }
            if survey.storage.contains(id) { what.append("storage") }
            let isMended = repair ? await host.reap(id: id, storage: true).isClean : false
            findings.add("container", "\(what.joined(separator: ", ")) of \(id.prefix(12)), which no row knows", repaired: isMended)
        }
        for record in known.values.sorted(by: { $0.name < $1.name }) {
            if record.state.isAlive, await supervisor.container(record.id) == nil, await targets.count == 0 {
                findings.add("container", "\(record.name) should run, and nothing watches it")
            }
            let isOwned = record.state.isAlive || ledger[LedgerRow(.containerRun, record.id).key] != nil
            if !isOwned, survey.cgroups.contains(record.id) || survey.runDirectories.contains(record.id) || survey.shims[record.id] != nil {
                let isMended = repair ? await host.reap(id: record.id, storage: false).isClean : false
                findings.add("container", "\(record.name) has stopped, and its cgroups or run directory are left", repaired: isMended)
            }
        }
        findings.checked += ["containers", "shims", "cgroups", "run directories", "storage"]
    }

    private func checkLedger(_ findings: inout Findings, repair: Bool) async throws(LunetteError) {
        let isBusy = await targets.count > 0
        let pending = await supervisor.pendingWork
        for row in await state.ledger.values.sorted(by: { $0.key < $1.key }) {
            if row.kind == .containerRun, let record = await state.containers[row.object], record.state.isAlive { continue }
            if isBusy || pending > 0 || row.kind == .unwanted { continue }  // Its owner is at work.
            var isMended = false
            if repair {
                let report =
                    switch row.kind {
                    case .containerRun: await host.reap(id: row.object, storage: false)
                    case .containerFiles: await host.reap(id: row.object, storage: true)
                    case .volume: await state.volumes[row.object] == nil ? await volumes.undo(row) : CleanupReport()
                    case .imageRemoval, .unwanted: CleanupReport()
                    case .limits: await putLimitsBack(row)
                    }
                if report.isClean {
                    var changes = Changes()
                    changes.closedLedger = [row.key]
                    try await state.commit(changes)
                    isMended = true
                }
            }
            let what = row.kind == .limits ? "is a change that was never finished" : "has an owner that is gone"
            findings.add("ledger", "\(row.key) \(what)", repaired: isMended)
        }
        findings.checked.append("ledger")
    }

    /// No mount of ours is ever in the host's table: roots are built detached.
    private func checkMounts(_ findings: inout Findings) async throws(LunetteError) {
        let table = await blocking { readSmallFile("/proc/self/mountinfo") ?? "" }
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 4 else { continue }
            let target = fields[4]
            for directory in [configuration.root, configuration.state] where target.hasPrefix(directory + "/") {
                findings.add("mount", "something is mounted on \(displayable(String(target), limit: 200))")
            }
        }
        findings.checked.append("mounts")
    }

    private func checkVolumes(_ findings: inout Findings) async throws(LunetteError) {
        let known = Set(await state.volumes.values.map(\.id))
        let local = await state.volumes.values.filter { $0.driver == "local" }
        let path = configuration.root + "/volumes"
        let present = await blocking { () -> [String] in
            // Without the folder there are no volumes of the local driver.
            (try? Directory(path).entries()) ?? []
        }
        for name in present.sorted() where !known.contains(name) && !name.hasPrefix(".") {
            findings.add("volume", "\(path)/\(displayable(name, limit: 80)) belongs to no volume")
        }
        for record in local where record.isPopulated && !present.contains(record.id) {
            findings.add("volume", "the folder of \(record.name) is gone")
        }
        findings.checked.append("volumes")
    }

    private func checkImages(_ findings: inout Findings, repair: Bool) async throws(LunetteError) {
        let report = try await images.check(repair: repair)
        for problem in report.problems { findings.add("image", problem, repaired: report.repaired.contains(problem)) }
        for record in await state.containers.values where record.image != nil {
            if try await images.find(record.image!.id) == nil { findings.add("image", "the image of \(record.name) is gone") }
        }
        findings.checked.append("images")
    }
}
