import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec

extension Functions {
    static let system: [String: Function] = [
        "system.ping": .reading { engine, call, _ async throws(LunetteError) in
            try call.arguments().finish()
            return [
                "time": .double(engine.clock.now()), "root": .string(engine.configuration.root),
                "config": .string(engine.configuration.configuration),
            ]
        },
        "system.version": .reading { engine, call, _ async throws(LunetteError) in
            try call.arguments().finish()
            return ["version": .string(LunetteVersion.current), "api": .int(Int64(APIRegistry.version))]
        },
        "system.info": .reading { engine, call, _ async throws(LunetteError) in
            try call.arguments().finish()
            return try await engine.systemInfo()
        },
        "system.check": .reading { engine, call, _ async throws(LunetteError) in try await engine.checkSystem(call) },
        "system.prune": .changing { engine, call, _ async throws(LunetteError) in try await engine.pruneSystem(call) },
        "plugin.list": .reading { engine, call, _ async throws(LunetteError) in
            try call.arguments().finish()
            return .array(await engine.plugins.list())
        },
        "plugin.inspect": .reading { engine, call, _ async throws(LunetteError) in
            var arguments = try call.arguments()
            let name = try arguments.required("plugin")
            try arguments.finish()
            return try await engine.plugins.inspect(name)
        },
    ]
}

/// The version of this source tree.
public enum LunetteVersion {
    public static let current = "0.1.0"
}

extension Engine {
    func systemInfo() async throws(LunetteError) -> Value {
        var counts = ValueMap()
        for status in ContainerState.Status.allCases { counts[status.rawValue] = 0 }
        for record in await state.containers.values {
            let word = record.state.status.rawValue
            counts[word] = .int((counts[word]?.intValue ?? 0) + 1)
        }
        let commits = await state.commits
        let limits = await blocking { UserLimits.read() }
        return [
            "version": .string(LunetteVersion.current), "api": .int(Int64(APIRegistry.version)), "root": .string(configuration.root),
            "state": .string(configuration.state), "pid": .int(Int64(getpid())),
            "kernel": .string(readSmallFile("/proc/sys/kernel/osrelease")?.trimmed ?? ""),
            "cgroup_version": .int(readSmallFile("/sys/fs/cgroup/cgroup.controllers") == nil ? 1 : 2), "rootless": .bool(limits.isRootless),
            "not_enforced": .array(limits.notEnforced.map(Value.string)), "containers": .map(counts),
            "images": .int(Int64(try await images.list().count)), "volumes": .int(Int64(await state.volumes.count)),
            "stay_reasons": .array(await stayReasons().map(Value.string)), "started_at": .double(startedAt),
            "sessions": .int(Int64(sessionCount)),
            "sockets": .array(await resident.sockets.map { .string($0.name + ($0.path.map { " at \($0)" } ?? "")) }),
            "events": ["oldest": .int(await state.oldestEvent), "newest": .int(await state.newestEvent)],
            "commits": ["observed": .int(Int64(commits.observed)), "desired": .int(Int64(commits.desired))],
        ]
    }

    /// Why this engine can't leave now, besides connected sessions: `restart policy of web`, `time limit of job` …; sorted.
    public func stayReasons() async -> [String] {
        var reasons: Set<String> = []
        for record in await state.containers.values {
            if record.state.awaitsDecision { reasons.insert("lifecycle of \(record.name)") }
            if record.state.restartAt != nil { reasons.insert("restart of \(record.name)") }
            guard record.state.isAlive else { continue }
            if record.state.policy.kind != .never { reasons.insert("restart policy of \(record.name)") }
            if record.state.hasTimeLimit { reasons.insert("time limit of \(record.name)") }
            if record.lifecycle != nil { reasons.insert("lifecycle of \(record.name)") }
            if record.health != nil { reasons.insert("health check of \(record.name)") }
            if record.state.removesOnExit { reasons.insert("remove-on-exit of \(record.name)") }
            if record.sessionID != nil { reasons.insert("script lifetime of \(record.name)") }
        }
        let pending = await supervisor.pendingWork
        if pending > 0 { reasons.insert("teardown of \(pending) container\(pending == 1 ? "" : "s")") }
        if await resident.isBusy { reasons.insert("timers of resident scripts") }
        if await resident.hasSockets { reasons.insert("sockets of resident scripts") }
        if await resident.events.isBusy { reasons.insert("events of resident handlers") }
        if sweeping.isRunning { reasons.insert("sweep") }
        if await targets.count > 0 { reasons.insert("operations under way") }
        return reasons.sorted()
    }

    /// Removes stopped containers, unused images and, if asked, unused volumes.
    func pruneSystem(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let all = try arguments.bool("all") ?? false
        let withVolumes = try arguments.bool("volumes") ?? false
        try arguments.finish()
        var removed: [Value] = []
        var reclaimed: Int64 = 0
        for record in await state.containers.values.sorted(by: { $0.name < $1.name })
        where record.state.status == .stopped && record.state.restartAt == nil {
            let part = call.part()
            do throws(LunetteError) {
                try await targets.withTarget("container/\(record.id)", for: part) { () async throws(LunetteError) in
                    guard let record = await state.containers[record.id], record.state.status == .stopped else { return }
                    try await remove(record, force: false, removesVolumes: true, part)
                }
                removed.append(.string(record.name))
            } catch {
                // Started again in this moment, or kept by a hook: neither is prune's to decide.
                if error.code != .invalidState, error.code != .denied { throw error }
            }
        }
        let images = try await pruneImages(all: all, call)
        removed += images["removed"]?.arrayValue ?? []
        reclaimed += images["reclaimed"]?.intValue ?? 0
        if withVolumes {
            let volumes = try await pruneVolumes(labels: LabelFilter(), call)
            removed += volumes["removed"]?.arrayValue ?? []
            reclaimed += volumes["reclaimed"]?.intValue ?? 0
        }
        return ["removed": .array(removed), "reclaimed": .int(reclaimed)]
    }
}
