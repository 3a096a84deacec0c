import LunetteSpec

/// The events of this version.
public enum EventNames {
    /// What a `before` handler may be registered for.
    public static let before = [
        "container.create", "container.start", "container.exec", "container.update", "container.kill", "container.stop", "container.remove",
        "image.pull", "image.build", "image.push", "image.remove", "volume.create", "volume.mount", "volume.remove",
    ]
    /// What `on` handlers and `events.follow` see.
    public static let on = [
        "container.created", "container.started", "container.exited", "container.oom", "container.paused", "container.resumed",
        "container.removed", "container.renamed", "container.updated", "container.ready", "container.healthy", "container.unhealthy",
        "container.transitioned", "container.pressure", "container.limited", "image.pulled", "image.loaded", "image.built", "image.tagged",
        "image.pushed", "image.removed", "volume.created", "volume.removed", "hook.failed", "engine.ready",
        "script.reloaded", "script.failed",
    ]

    /// Whether an event has this name, or some fit it as a pattern: `container.*`, `*`.
    public static func isKnown(_ name: String) -> Bool {
        let all = before + on
        return name == "*" || all.contains(name) || name.hasSuffix(".*") && all.contains { $0.hasPrefix(name.dropLast()) }
    }

    /// The event that was meant by a name that none has.
    public static func hint(for name: String) -> String { hint(for: name, in: on + before) }

    /// As `hint(for:)`, among some.
    public static func hint(for name: String, in known: [String]) -> String {
        // Another form of the verb is no slip: `container.exit`, `container.stopped`.
        let near = nearest(to: name, in: known) ?? known.first { name.utf8.count > 8 && ($0.hasPrefix(name) || name.hasPrefix($0)) }
        return near.map { "did you mean \"\($0)\"?" } ?? "known: " + known.joined(separator: ", ")
    }
}
