import LunetteAPI
import LunetteSpec

/// One registered handler. What becomes of it is in `Hooks`.
final class Subscription: Sendable {
    enum Kind: String, Sendable, CaseIterable { case before, on }
    enum OnFailure: String, Sendable, CaseIterable { case deny, ignore }
    enum Order: String, Sendable, CaseIterable { case target, all }
    /// Who it belongs to; `before` handlers of one priority run in this order.
    enum Source: String, Sendable, Comparable {
        case resident, plugin, session
        private var rank: Int { self == .resident ? 0 : self == .plugin ? 1 : 2 }
        static func < (left: Source, right: Source) -> Bool { left.rank < right.rank }
    }

    /// The engine's own id; the receiver's is `name(atReceiver)`.
    let id: String
    /// What the receiver calls it.
    let receiverID: String
    let kind: Kind
    let event: String
    let name: String?
    let timeout: Double
    let onFailure: OnFailure
    let priority: Int
    let match: EventMatch
    let order: Order
    let source: Source
    let session: String
    let number: Int
    let receiver: any HookReceiver
    /// Where a resident script registers it: `conf.d/limits.lua:12`; whose a session's is: `gate.lua:3 (pid 4711)`.
    let place: String?
    /// Among the causes of what it does.
    let cause: String
    /// For messages.
    let label: String

    init(
        _ request: HookRequest, number: Int, source: Source, session: String, place: String?, receiver: any HookReceiver
    ) {
        id = "\(session)/\(request.receiverID)"
        receiverID = request.receiverID
        kind = request.kind
        event = request.event
        name = request.name
        timeout = request.timeout
        onFailure = request.onFailure
        priority = request.priority
        match = request.match
        order = request.order
        self.source = source
        self.session = session
        self.number = number
        self.receiver = receiver
        self.place = place
        cause = "hook:\(id)"
        label = Self.label(name, place, source, session)
    }

    private static func label(_ name: String?, _ place: String?, _ source: Source, _ session: String) -> String {
        let called = name.map { "\"\($0)\"" }
        if let place, source == .session { return called.map { "\($0) of \(place)" } ?? "of \(place)" }
        if let place { return called.map { "\($0) at \(place)" } ?? "at \(place)" }
        return called ?? "of \(source.rawValue) \(session.prefix(8))"
    }

    /// Under which its place in the events is kept: of named resident `on` handlers.
    var cursor: String? { source == .resident && kind == .on && name != nil ? id : nil }

    func value(isSuspended: Bool = false) -> Value {
        var map: ValueMap = [
            "subscription": .string(receiverID), "kind": .string(kind.rawValue), "event": .string(event),
            "source": .string(source.rawValue),
            "suspended": .bool(isSuspended), "priority": .int(Int64(priority)), "timeout": .double(timeout),
            "on_failure": .string(onFailure.rawValue),
        ]
        map["name"] = name.map(Value.string)
        map["place"] = place.map(Value.string)
        let wanted = match.value
        if wanted.mapValue?.isEmpty == false { map["match"] = wanted }
        return .map(map)
    }
}

/// Says which events are meant; all that is given must hold.
struct EventMatch: Sendable, Hashable {
    var names: [String] = []
    var labels = LabelFilter()
    var target: String?
    var kind: String?
    var driver: String?
    var lifecycle: String?
    /// Of `container.pressure`: which limits; none are all.
    var pressure: [PressureLimit] = []

    init() {}

    init(_ reader: FieldReader?) throws(LunetteError) {
        guard var reader else { return }
        if let one = reader.value("name")?.stringValue { names = [one] } else { names = try reader.strings("name") ?? [] }
        // It would be waited for for ever.
        for name in names where !EventNames.isKnown(name) {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(name, limit: 80))\" is no event", path: "match.name", hint: EventNames.hint(for: name))
        }
        labels = try LabelFilter(reading: &reader)
        target = try reader.string("target")
        kind = try reader.string("kind")
        driver = try reader.string("driver")
        lifecycle = try reader.string("lifecycle")
        for resource in PressureLimit.resources {
            guard let limit = reader.value(resource) else { continue }
            pressure.append(try PressureLimit(resource, limit, path: "match.\(resource)"))
        }
        try reader.finish()
    }

    /// As it was registered.
    var value: Value {
        var map: ValueMap = [:]
        if names.count == 1 { map["name"] = .string(names[0]) } else if !names.isEmpty { map["name"] = .array(names.map(Value.string)) }
        for (key, text) in [("kind", kind), ("target", target), ("driver", driver), ("lifecycle", lifecycle)] {
            map[key] = text.map(Value.string)
        }
        if !labels.value.isEmpty { map["labels"] = .map(labels.value) }
        return .map(map)
    }

    /// - Parameter event: the event's name; `container.*` and `*` are patterns.
    static func name(_ event: String, fits pattern: String) -> Bool {
        if pattern == "*" || pattern == event { return true }
        return pattern.hasSuffix(".*") && event.hasPrefix(pattern.dropLast())
    }

    /// - Parameter isNamed: false: whatever the event's name.
    func matches(
        name: String, isNamed: Bool = true, target: PendingEvent.Target?, labels found: ValueMap, driver: String? = nil,
        lifecycle followed: String? = nil
    ) -> Bool {
        if isNamed, !names.isEmpty, !names.contains(where: { EventMatch.name(name, fits: $0) }) { return false }
        if let kind, kind != target?.kind { return false }
        if let wanted = self.target, wanted != target?.id, wanted != target?.name { return false }
        if let wanted = self.driver, wanted != driver { return false }
        if let lifecycle, lifecycle != followed { return false }
        return labels.matches(found)
    }

    func matches(_ logged: LoggedEvent) -> Bool {
        if !pressure.isEmpty {
            guard let told = logged.event.fields["pressure"], pressure.contains(where: { $0.isTold(by: told) }) else { return false }
        }
        return matches(
            name: logged.event.name, target: logged.event.target, labels: logged.event.fields["labels"]?.mapValue ?? [:],
            driver: logged.event.fields["driver"]?.stringValue, lifecycle: logged.event.fields["lifecycle"]?.stringValue)
    }
}
