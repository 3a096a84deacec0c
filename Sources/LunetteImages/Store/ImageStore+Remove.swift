internal import CLinux
internal import LunetteLinux
package import LunetteSpec

extension ImageStore {
    /// Gives an image another name; the name leaves the image that had it.
    package func tag(_ name: String, as reference: String) async throws(LunetteError) -> ImageRecord {
        let new = try Reference(reference)
        guard new.digest == nil else {
            throw LunetteError(.invalidArgument, "\"\(reference)\" names a digest: a tag has none", target: reference)
        }
        return try await gate.withLock("index") { () async throws(LunetteError) in
            let image = try stored(try await get(name))
            var catalog = withState { $0.catalog }
            catalog.add(catalog.entry(image.descriptor.digest)!.manifest, reference: new.description)
            try await replace(catalog)
            return record(image, catalog.entry(image.descriptor.digest)!, withState { $0.chained })
        }
    }

    /// Takes a reference away; by id, all of its references. The image goes with its last one.
    ///
    /// - Parameter inUse: ids of images that containers stand on.
    /// - Throws: `not_found`; `conflict` when it is in use, or an id has several references, unless `force` (which never removes what is in use:
    ///   it takes the names alone).
    package func remove(_ name: String, force: Bool = false, inUse: Set<String> = []) async throws(LunetteError) -> ImageRemoval {
        try await gate.withLock("index") { () async throws(LunetteError) in
            let found = try await get(name)
            let image = try stored(found)
            var catalog = withState { $0.catalog }
            let entry = catalog.entry(image.descriptor.digest)!
            // An id is no reference.
            let named = (try? Reference(name))?.description
            let isByName = named.map(entry.references.contains) ?? false
            let isLast = entry.references.count <= 1
            var removal = ImageRemoval()
            let isUsed =
                inUse.contains(found.id)
                && !catalog.entries.contains {
                    // Another manifest with the same config keeps the image alive.
                    $0.manifest.digest != entry.manifest.digest && withState { state in state }.images[$0.manifest.digest]?.id == image.id
                }
            if isByName && !isLast {
                catalog.untag(named!)
                removal.untagged = [named!]
                try await replace(catalog)
                return removal
            }
            guard isLast || force else {
                throw LunetteError(
                    .conflict, "image \(name) has \(entry.references.count) names: \(entry.references.joined(separator: ", "))",
                    target: name,
                    hint: "remove one of its names, or all of them by force (--force, in Lua force = true)")
            }
            if isUsed {
                guard force else {
                    throw LunetteError(.conflict, "image \(name) is used by a container", target: name, hint: "remove the container first")
                }
                for reference in entry.references { catalog.untag(reference) }
                removal.untagged = entry.references
                try await replace(catalog)
                return removal
            }
            catalog.remove(entry.manifest.digest)
            removal.untagged = entry.references
            try await replace(catalog)
            faultPoint("image.untagged")
            withState { _ = $0.images.removeValue(forKey: entry.manifest.digest) }
            if !withState({ $0.images }).values.contains(where: { $0.id == image.id }) { removal.removed = [found.id] }
            removal.reclaimed = try await collect(candidates: image)
            return removal
        }
    }

    /// Removes images without a reference (`all`: every one that no container uses), then blobs and snapshots that no image uses.
    /// - Parameter only: ids; nil: no others are spared than those in use.
    package func prune(
        all: Bool = false, labels: LabelFilter = LabelFilter(), inUse: Set<String> = [], only: Set<String>? = nil
    ) async throws(LunetteError) -> ImageRemoval {
        try await gate.withLock("index") { () async throws(LunetteError) in
            var (catalog, images) = withState { ($0.catalog, $0.images) }
            var removal = ImageRemoval()
            for entry in catalog.entries {
                guard let image = images[entry.manifest.digest], all || entry.references.isEmpty, !inUse.contains(image.id.description),
                    only?.contains(image.id.description) != false,
                    labels.matches(image.config.config.labels)
                else { continue }
                catalog.remove(entry.manifest.digest)
                images[entry.manifest.digest] = nil
                removal.untagged += entry.references
                removal.removed.append(image.id.description)
            }
            try await replace(catalog)
            faultPoint("image.untagged")
            let kept = images
            withState { $0.images = kept }
            removal.reclaimed = try await collect(candidates: nil)
            return removal
        }
    }

    /// Removes blobs and snapshots that no image names and no operation counts on. Under the gate "index".
    /// - Parameter candidates: look at this image's parts alone; nil looks at everything on disk.
    /// - Returns: bytes of blobs given back.
    private func collect(candidates: StoredImage?) async throws(LunetteError) -> Int64 {
        try await onStageThread { [self] () throws(LunetteError) in
            let (images, leases, broken) = withState { ($0.images, Set($0.leases.keys), $0.broken) }
            var names = leases
            for image in images.values { names.formUnion(self.leases(of: image)) }
            for digest in broken.keys { names.insert(digest.hex) }
            // What a manifest that can't be read needs is unknown: keep everything until `check --repair` has decided.
            guard broken.isEmpty else { return 0 }
            var reclaimed: Int64 = 0
            let digests = if let candidates { candidates.blobs.map(\.digest) } else { try content.all() }
            for digest in digests where !names.contains(digest.hex) {
                reclaimed += try content.size(of: digest) ?? 0
                try content.remove(digest)
            }
            let folders =
                if let candidates { candidates.config.diffIDs.map(\.hex) + candidates.chainIDs.map(Self.chainName) } else {
                    try snapshots.all()
                }
            for folder in folders where !names.contains(folder) && !folder.hasPrefix(".") {
                withState { _ = $0.chained.remove(folder) }
                try snapshots.remove(folder)
            }
            if candidates == nil {
                try atBorder("remove partial downloads") { () throws(SystemCallError) in
                    for name in try content.ingest.entries() where !names.contains(String(name.prefix(64))) {
                        try content.ingest.removeTree(name)
                    }
                }
            }
            faultPoint("image.removed")
            return reclaimed
        }
    }
}
