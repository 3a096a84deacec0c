package import LunetteSpec

/// Reports how far one phase has come; the contract's `progress = { phase, digest, current, total }`.
package struct ImageProgress: Sendable, Hashable {
    /// `resolve`, `download`, `unpack`, `commit`, `upload`, `copy`, `run`.
    package var phase: String
    /// The layer or blob it is about; nil when it is about the whole image.
    package var digest: String?
    package var current: Int64
    /// Nil when it can't be known beforehand.
    package var total: Int64?

    package init(phase: String, digest: String? = nil, current: Int64 = 0, total: Int64? = nil) {
        self.phase = phase
        self.digest = digest
        self.current = current
        self.total = total
    }

    package var value: Value {
        var map: ValueMap = ["phase": .string(phase), "current": .int(current)]
        if let digest { map["digest"] = .string(digest) }
        if let total { map["total"] = .int(total) }
        return .map(map)
    }
}

/// Called from the store's own threads, any of them, never concurrently for one operation; must not block for long.
package typealias ImageProgressHandler = @Sendable (ImageProgress) -> Void

/// Says when `pull` asks the registry.
package enum PullPolicy: String, CaseIterable, Sendable { case missing, always, never }

/// How to reach a registry and what to take from it; `image.pull`'s and `image.push`'s options.
package struct RegistryOptions: Sendable {
    package var policy: PullPolicy = .missing
    /// `os/architecture[/variant]`; nil is this machine's.
    package var platform: String?
    package var username: String?
    package var password: String?
    /// True and false force TLS and plain HTTP; nil goes by the rule (plain HTTP for loopback and configured registries).
    package var tls: Bool?

    package init(
        policy: PullPolicy = .missing, platform: String? = nil, username: String? = nil, password: String? = nil, tls: Bool? = nil
    ) {
        self.policy = policy
        self.platform = platform
        self.username = username
        self.password = password
        self.tls = tls
    }
}

/// What `remove` took away.
package struct ImageRemoval: Sendable, Hashable {
    package var untagged: [String] = []
    /// Ids of images that are gone altogether.
    package var removed: [String] = []
    /// Bytes given back.
    package var reclaimed: Int64 = 0

    package init() {}

    package var value: Value {
        ["untagged": .array(untagged.map(Value.string)), "removed": .array(removed.map(Value.string)), "reclaimed": .int(reclaimed)]
    }
}

/// What `check` found, and what it did about it.
package struct ImageStoreReport: Sendable, Hashable {
    /// Each names a blob or snapshot and what is wrong with it.
    package var problems: [String] = []
    package var repaired: [String] = []
    package var blobs = 0
    package var snapshots = 0

    package init() {}

    package var isClean: Bool { problems.isEmpty }
}
