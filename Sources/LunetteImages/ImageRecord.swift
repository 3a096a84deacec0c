package import LunetteSpec

/// Describes one image of the store as it is now; a plain value that goes stale when the store changes.
package struct ImageRecord: Sendable, Hashable {
    /// The config's digest in full (`sha256:…`): the image's id, the same in every store that has it.
    package var id: String
    /// The digest of the manifest that was chosen for this platform.
    package var digest: String
    /// Full references (`docker.io/library/redis:7`), sorted; empty for an image that only its digest names.
    package var references: [String]
    /// Bytes of its layers' files, unpacked.
    package var size: Int64
    /// Bottom layer first, as in the manifest.
    package var layers: [ImageLayer]
    package var config: ImageConfig
    /// Unix seconds, from the config; nil when it says nothing.
    package var createdAt: Double?
    /// The unpacked layers, **top first**, as overlay's `lowerdir` wants them; absolute paths below the store's root.
    package var snapshotPaths: [String]

    package init(
        id: String, digest: String, references: [String], size: Int64, layers: [ImageLayer], config: ImageConfig,
        createdAt: Double?, snapshotPaths: [String]
    ) {
        self.id = id
        self.digest = digest
        self.references = references
        self.size = size
        self.layers = layers
        self.config = config
        self.createdAt = createdAt
        self.snapshotPaths = snapshotPaths
    }

    /// Encodes `img:inspect()` of the contract: `{ id, digest, refs, size, layers, config, created_at }`.
    package var value: Value {
        var map = ValueMap()
        map["id"] = .string(id)
        map["digest"] = .string(digest)
        map["refs"] = .array(references.map(Value.string))
        map["size"] = .int(size)
        map["layers"] = .array(layers.map(\.value))
        map["config"] = config.config.table
        if let createdAt { map["created_at"] = .double(createdAt) }
        return .map(map)
    }
}

/// Describes one layer of an image.
package struct ImageLayer: Sendable, Hashable {
    /// Digest of the blob as stored.
    package var digest: String
    /// Digest of the uncompressed tar; names the snapshot.
    package var diffID: String
    package var mediaType: String
    /// Bytes as stored.
    package var size: Int64

    package init(digest: String, diffID: String, mediaType: String, size: Int64) {
        self.digest = digest
        self.diffID = diffID
        self.mediaType = mediaType
        self.size = size
    }

    package var value: Value {
        ["digest": .string(digest), "diff_id": .string(diffID), "media_type": .string(mediaType), "size": .int(size)]
    }
}

/// One step of an image's history, newest first as `lunette history` prints it.
package struct ImageHistoryEntry: Sendable, Hashable {
    package var createdAt: Double?
    package var createdBy: String
    package var comment: String
    /// Bytes of its layer as stored; 0 for a step that made none.
    package var size: Int64

    package init(createdAt: Double?, createdBy: String, comment: String, size: Int64) {
        self.createdAt = createdAt
        self.createdBy = createdBy
        self.comment = comment
        self.size = size
    }

    package var value: Value {
        var map: ValueMap = ["created_by": .string(createdBy), "comment": .string(comment), "size": .int(size)]
        if let createdAt { map["created_at"] = .double(createdAt) }
        return .map(map)
    }
}

extension ImageProcessConfig {
    /// The config in the words of `image.build`'s own `config`, always whole: lists and maps are never missing.
    package var table: Value {
        var variables = ValueMap()
        for line in env {
            let parts = line.cut(at: "=")
            variables[String(parts?.before ?? line[...])] = .string(String(parts?.after ?? ""))
        }
        var map: ValueMap = [
            "entrypoint": .array(entrypoint.map(Value.string)), "cmd": .array(cmd.map(Value.string)), "env": .map(variables),
            "workdir": .string(workingDir), "user": .string(user), "exposed_ports": .array(exposedPorts.map(Value.string)),
            "labels": .strings(labels),
            "volumes": .array(volumes.map(Value.string)),
        ]
        if let stopSignal { map["stop_signal"] = .string(stopSignal) }
        return .map(map)
    }
}
