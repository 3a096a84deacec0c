import LunetteSpec

enum HookFunctions {
    static let all: [APIFunction] = [
        APIFunction(
            "hook.register", "offer a session handler to the engine; it goes with the session",
            [
                APIField(
                    "subscription", .string, "an id of the client's choosing, unique in its session; calls down carry it", required: true),
                APIField("kind", .choice(["before", "on"]), "whether it may amend and deny, or observes", required: true),
                APIField("event", .string, "the event's name (`container.create`), or with `on` a pattern (`container.*`)", required: true),
                APIField("name", .string, "what lists and errors call it"),
                APIField("timeout", .duration, "how long one run may take (`before`)", default: "30s"),
                APIField(
                    "on_failure", .choice(["deny", "ignore"]), "what its own failure or time-out means (`before`)", default: "\"deny\""),
                APIField("priority", .integer, "`before` handlers run by priority, ascending", default: "0"),
                APIField("match", .record("EventMatch"), "only events whose target matches"),
                APIField("order", .choice(["target", "all"]), "`on`: in order per target, or one queue", default: "\"target\""),
            ],
            returns: .record("Subscription"), errors: [.invalidState, .alreadyExists],
            example: "local sub = lunette.before(\"container.create\", { name = \"no-root\" }, function(ev) ev:deny(\"no\") end)",
            lua: .init(hidden: true)),
        APIFunction(
            "hook.unregister", "withdraw a handler", [APIField("subscription", .string, "its id", required: true)], errors: [.notFound],
            example: "local sub = lunette.on(\"container.exited\", {}, print) sub:off()", lua: .init(hidden: true)),
        APIFunction(
            "hook.list", "list the handlers of all sessions and plugins", [], returns: .list(.record("Subscription")),
            example: "for _, hook in ipairs(lunette.hook.list()) do print(hook.event, hook.name) end"),
        APIFunction(
            "events.follow", "stream events as they are committed, from a point in the past or from now",
            [
                APIField("since", .union([.integer, .duration, .time]), "a sequence number; or `\"10m\"` ago as text", default: "now"),
                APIField("until", .union([.integer, .duration]), "ends the stream after this sequence number, or at `\"0s\"` from now"),
                APIField("match", .record("EventMatch"), "only events that match"),
            ],
            chunk: .record("Event"), waits: true, errors: [.notFound],
            example: "for ev in lunette.events { match = { name = \"container.*\" } } do print(ev.name) break end",
            lua: .init(iterates: true, hidden: true)),
    ]
}
