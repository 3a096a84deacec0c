import LunetteAPI
import LunetteSpec

extension Engine {
    /// Streams the log from a sequence number or time on. The reader pulls: one that stops reading holds up nobody, and what was pruned
    /// meanwhile is told as `not_found` with the oldest kept.
    func followEvents(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let since = arguments.value("since")
        let until = arguments.value("until")
        let match = try EventMatch(try arguments.table("match"))
        try arguments.finish()
        let newest = await state.newestEvent
        var position = try await position(since, "since", arguments) ?? newest
        var last: Int64?
        if let until {
            if let number = until.intValue {
                last = number
            } else {
                let end = clock.now() - (try Units.seconds(until))
                last = try await end >= clock.now() - 0.001 ? state.newestEvent : state.sequence(before: end)
            }
        }
        while true {
            try call.checkCancellation()
            if let last, position >= last { return .null }
            let batch = try await state.events(after: position, limit: 64)
            for logged in batch {
                position = logged.sequence
                if let last, position > last { return .null }
                if match.matches(logged) { try await call.emit(logged.value(redelivered: false)) }
            }
            if batch.isEmpty {
                await state.waitForEvent(after: position)
                if isClosing { return .null }
            }
        }
    }

    /// A sequence number as it is, text as a duration ago, a fraction as unix seconds.
    private func position(_ value: Value?, _ key: String, _ arguments: FieldReader) async throws(LunetteError) -> Int64? {
        guard let value else { return nil }
        if case .double(let time) = value, value.intValue == nil { return try await state.sequence(before: time) }
        if let number = value.intValue {
            guard number >= 0 else { throw arguments.failure(key, "is negative") }
            // No log ever reaches a billion events here; a number that large is a unix time.
            return number < 1_000_000_000 ? number : try await state.sequence(before: Double(number))
        }
        let ago: Double
        do throws(LunetteError) { ago = try Units.seconds(value) } catch { throw arguments.failure(key, error.message, hint: error.hint) }
        return try await state.sequence(before: clock.now() - ago)
    }

    // MARK: `on` handlers

    /// Hands one `on` subscription its events: in order per target, up to sixteen targets at a time, three tries each.
    /// - Parameter cursor: writes down what was acknowledged.
    func deliver(to subscription: Subscription, after start: Int64, cursor: EventCursor?) async {
        if subscription.receiver.takesBatches { return await deliverBatches(to: subscription, after: start, cursor: cursor) }
        var position = start
        // What an engine before may have delivered: it died before it could write that down.
        let known = cursor == nil ? start : await state.newestEvent
        await withTaskGroup(of: String.self) { group in
            var busy: Set<String> = []
            while !Task.isCancelled {
                let batch: [LoggedEvent]
                do throws(LunetteError) { batch = try await state.events(after: position, limit: 64) } catch {
                    position = await passed(position, by: subscription, error)
                    continue
                }
                for logged in batch {
                    position = logged.sequence
                    guard EventMatch.name(logged.event.name, fits: subscription.event), subscription.match.matches(logged),
                        logged.event.cause.isEmpty || !logged.event.cause.contains(subscription.cause)
                    else { continue }
                    let key = subscription.order == .all ? "" : logged.event.target.map { "\($0.kind)/\($0.id)" } ?? ""
                    while busy.contains(key) || busy.count >= 16 {
                        guard let done = await group.next() else { break }
                        busy.remove(done)
                    }
                    if Task.isCancelled { break }
                    busy.insert(key)
                    await cursor?.began(logged.sequence)
                    group.addTask {
                        // An end in the middle acknowledges nothing.
                        if await self.deliver(logged, to: subscription, isRepeated: logged.sequence <= known) {
                            await cursor?.done(logged.sequence)
                        }
                        return key
                    }
                }
                if Task.isCancelled { break }
                await cursor?.passed(position)
                if batch.isEmpty { await state.waitForEvent(after: position) }
                if isClosing { break }
            }
            group.cancelAll()
        }
        await cursor?.write()
    }

    /// What follows when the events behind `position` can't be read for a handler: those that are dropped are told of, and it goes on with the oldest there is.
    /// - Returns: where it goes on.
    func passed(_ position: Int64, by subscription: Subscription, _ error: LunetteError) async -> Int64 {
        let oldest = await state.oldestEvent
        guard error.code == .notFound, oldest - 1 > position else {
            // A disk that fails says so to whoever changes something.
            try? await clock.sleep(1)  // Cut short by the handler's end.
            return position
        }
        let lost = PendingEvent(
            name: "hook.failed",
            fields: [
                "hook": .string(subscription.name ?? subscription.receiverID), "event": .string(subscription.event),
                "reason": .string(
                    "it was too slow: the events \(position + 1) to \(oldest - 1) are no longer kept, and it hasn't had those that are for it"
                ),
                "lost": .int(oldest - 1 - position),
            ])
        await hookFailures.tell(lost, of: subscription.owner, in: state)
        return oldest - 1
    }

    /// - Parameter tries: how many there were already; three are all.
    /// - Returns: false when it was cut short.
    func deliver(_ logged: LoggedEvent, to subscription: Subscription, isRepeated: Bool, tries: Int = 0) async -> Bool {
        var failure: LunetteError?
        for attempt in tries..<3 {
            if Task.isCancelled { return false }
            do throws(LunetteError) {
                let event = logged.value(redelivered: isRepeated || attempt > 0, for: subscription.cause)
                try await subscription.receiver.on(subscription: subscription.receiverID, event: event)
                return true
            } catch {
                failure = error
                // Not by the error's code: what a handler waited for may have been cancelled, and that is the handler's failure.
                if Task.isCancelled || subscription.receiver.isStopped { return false }
                do { try await clock.sleep(0.05 * Double(attempt + 1)) } catch { return false }
            }
        }
        // Told once, and never to the failing handler of `hook.failed` itself.
        guard logged.event.name != "hook.failed", await hooks.contains(subscription.id) else { return true }
        let failed = PendingEvent(
            name: "hook.failed", target: logged.event.target,
            fields: [
                "hook": .string(subscription.name ?? subscription.receiverID), "event": .string(logged.event.name),
                "reason": .string(failure?.description ?? "it failed"),
            ], cause: logged.event.cause)
        await hookFailures.tell(failed, of: subscription.owner, in: state)
        return true
    }
}

extension LoggedEvent {
    /// - Parameter handler: what the handler that gets it puts among the causes of what it does; nil: nobody's.
    func value(redelivered: Bool, for handler: String? = nil) -> Value {
        var map = map
        map["redelivered"] = .bool(redelivered)
        if map["actor"] == nil { map["actor"] = .map([:]) }
        if let handler {
            map["cause"] = .array(event.cause.map(Value.string) + [.string("event-\(sequence)"), .string(handler)])
        } else if map["cause"] == nil {
            map["cause"] = .array([])
        }
        if map["target"] == nil { map["target"] = .map([:]) }
        return .map(map)
    }
}
