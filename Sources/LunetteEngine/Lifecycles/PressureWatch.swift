import LunetteSpec

/// What a handler wants to be told of the limits of containers.
struct LimitRequest: Sendable {
    /// Of which containers.
    let match: EventMatch
    /// Told as `container.pressure`.
    var pressure: [PressureLimit] = []
    /// Whether reached limits of memory and processes are told, as `container.limited`.
    var isOfHits = false
}

/// Looks once a second at how long the processes of containers wait for memory, processors and disks, and how often they meet a limit,
/// where a handler wants to know; where none does it costs nothing.
///
/// Each time a limit is passed is told once: as `container.pressure` or `container.limited`, again after it was kept meanwhile.
actor PressureWatch {
    private struct Watched {
        let container: any LiveContainer
        /// Which run of its it is.
        let number: Int
        var passed: Set<PressureLimit> = []
        /// How often each limit was met, as of the last look.
        var hits: [String: Int64] = [:]
        var hasHits = false
        /// Limits that were met at the last look too.
        var met: Set<String> = []
        var hasSaidWhy = false
    }

    private let state: State
    private let clock: any EngineClock
    private var requests: @Sendable () async -> [LimitRequest] = { [] }
    private var watched: [String: Watched] = [:]
    private var task: Task<Void, Never>?
    /// Something has come since the look under way began.
    private var hasNews = false
    /// Since when hits are looked at (unix seconds).
    private var hitsSince: Double?
    private var lastNumber = 0

    init(state: State, clock: any EngineClock) { (self.state, self.clock) = (state, clock) }

    func connect(requests: @escaping @Sendable () async -> [LimitRequest]) { self.requests = requests }

    func watch(_ id: String, _ container: any LiveContainer) {
        lastNumber += 1
        watched[id] = Watched(container: container, number: lastNumber)
        begin()
    }

    func forget(_ id: String) { watched[id] = nil }

    /// Handlers have come or gone.
    func handlersChanged() async {
        note(await requests())
        begin()
    }

    /// Hits count from the moment on in which somebody wants to know.
    private func note(_ requests: [LimitRequest]) {
        if !requests.contains(where: \.isOfHits) { hitsSince = nil } else if hitsSince == nil { hitsSince = clock.now() }
    }

    private func begin() {
        hasNews = true
        guard task == nil, !watched.isEmpty else { return }
        task = Task { await self.look() }
    }

    func shutdown() {
        task?.cancel()
        watched = [:]
    }

    private func look() async {
        while !watched.isEmpty {
            hasNews = false
            let requests = await requests()
            note(requests)
            var isWorthIt = false
            if !requests.isEmpty {
                do { try await clock.sleep(1) } catch { break }
                for id in watched.keys.sorted() {
                    if await look(at: id, requests) { isWorthIt = true }
                }
            }
            // The next container, or the next handler, begins it anew.
            if !isWorthIt, !hasNews { break }
        }
        task = nil
    }

    /// - Returns: false when there is nothing of it that will ever be told.
    private func look(at id: String, _ requests: [LimitRequest]) async -> Bool {
        guard var seen = watched[id], let record = await state.containers[id], record.state.isAlive else { return false }
        let target = PendingEvent.Target(kind: "container", id: id, name: record.name)
        let mine = requests.filter {
            $0.match.matches(name: "", isNamed: false, target: target, labels: record.labels, lifecycle: record.lifecycle)
        }
        if mine.isEmpty { return false }
        let stats: Value
        // It ends in this moment, or is only starting.
        do throws(LunetteError) { stats = try await seen.container.stats() } catch { return true }
        var news: [(String, ValueMap)] = []
        var isTold = false
        for limit in Set(mine.flatMap(\.pressure)).sorted(by: { ($0.resource, $0.share) < ($1.resource, $1.share) }) {
            guard let average = limit.average(in: stats) else {
                if !seen.hasSaidWhy {
                    await state.note(degraded: "its pressure isn't watched: the kernel tells it on cgroup v2 only", id)
                }
                seen.hasSaidWhy = true
                continue
            }
            isTold = true
            guard average > limit.share else {
                seen.passed.remove(limit)
                continue
            }
            guard seen.passed.insert(limit).inserted else { continue }
            let pressure: Value = [
                "resource": .string(limit.resource), "share": .double(average), "limit": .double(limit.share),
                "window": .int(Int64(limit.window)),
            ]
            news.append(("container.pressure", ["pressure": pressure]))
        }
        if mine.contains(where: \.isOfHits) {
            // What was there before anybody looked is no news.
            let isOld = !seen.hasHits && (record.state.startedAt ?? 0) < hitsSince ?? 0
            for resource in ["memory", "pids"] {
                guard let hits = stats[resource]?["limit_hits"]?.intValue else { continue }
                isTold = true
                let before = isOld ? hits : seen.hits.updateValue(hits, forKey: resource) ?? 0
                seen.hits[resource] = hits
                guard hits > before else {
                    seen.met.remove(resource)
                    continue
                }
                guard seen.met.insert(resource).inserted else { continue }
                let limited: Value = [
                    "resource": .string(resource), "limit": stats[resource]?["limit"] ?? .null, "hits": .int(hits),
                ]
                news.append(("container.limited", ["limited": limited]))
            }
            seen.hasHits = true
        }
        // It may have ended, or begun anew, while this waited.
        guard watched[id]?.number == seen.number else { return true }
        watched[id] = seen
        for (name, fields) in news {
            var all = record.eventFields
            for (key, value) in fields { all[key] = value }
            await state.log(PendingEvent(name: name, target: target, fields: all))
        }
        return isTold
    }
}
