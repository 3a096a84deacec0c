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
}
