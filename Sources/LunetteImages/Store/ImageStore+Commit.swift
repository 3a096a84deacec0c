internal import LunetteLinux
internal import LunetteSpec

extension ImageStore {
    // MARK: leases

    /// Keeps blobs and snapshots from `prune` and `remove` while `body` works with them.
    func leasing<T: Sendable>(_ names: [String], _ body: () async throws(LunetteError) -> T) async throws(LunetteError) -> T {
        withState { state in for name in names { state.leases[name, default: 0] += 1 } }
        defer {
            withState { state in
                for name in names { if let count = state.leases[name] { state.leases[name] = count > 1 ? count - 1 : nil } }
            }
        }
        return try await body()
    }

    func leases(of image: StoredImage) -> [String] {
        image.blobs.map(\.digest.hex) + image.config.diffIDs.map(\.hex) + image.chainIDs.map(Self.chainName)
    }

    // MARK: committing

    /// Makes an image of the store: its blobs are in place and verified, its missing layers are unpacked in `pending`.
    ///
    /// After a kill at any point either the image is whole and listed, or nothing of it counts and `open` sweeps the rest.
    func commit(_ image: StoredImage, pending: [SnapshotStore.Pending], reference: String?) async throws(LunetteError) -> ImageRecord {
        let (pending, size) = try await onStageThread { [self] () throws(LunetteError) -> ([SnapshotStore.Pending], Int64) in
            faultPoint("image.unpacked")
            try snapshots.synchronize()
            faultPoint("image.synced")
            for layer in pending { try snapshots.publish(layer) }
            let chained = try chain(image)
            if !chained.isEmpty {
                try snapshots.synchronize()
                for layer in chained { try snapshots.publish(layer) }
            }
            faultPoint("image.snapshots")
            return (chained, try unpackedSize(image))
        }
        withState { state in for layer in pending { state.chained.insert(layer.final) } }
        return try await gate.withLock("index") { () async throws(LunetteError) in
            var catalog = withState { $0.catalog }
            var descriptor = image.descriptor
            descriptor.annotations = [:]
            descriptor.platform = image.config.platform
            catalog.add(descriptor, reference: reference)
            try await replace(catalog)
            withState { state in
                state.images[descriptor.digest] = image
                state.sizes[descriptor.digest] = size
                state.broken[descriptor.digest] = nil
            }
            faultPoint("image.committed")
            return record(image, catalog.entry(descriptor.digest)!, withState { $0.chained })
        }
    }

    /// Bytes of an image's unpacked files.
    func unpackedSize(_ image: StoredImage) throws(LunetteError) -> Int64 {
        var size: Int64 = 0
        for diffID in image.config.diffIDs { size += try snapshots.size(of: diffID.hex) }
        return size
    }

    /// Writes index.json, then lets readers see the change. Under the gate "index".
    func replace(_ catalog: Catalog) async throws(LunetteError) {
        guard catalog != withState({ $0.catalog }) else { return }
        try await onStageThread { [content] () throws(LunetteError) in try Self.writeIndex(catalog, content) }
        withState { $0.catalog = catalog }
    }

    // MARK: unpacking

    /// Unpacks one layer into a temporary snapshot, unless it is there.
    /// - Returns: what `commit` publishes; nil when the snapshot is in place.
    func unpack(
        _ layer: Descriptor, diffID: Digest, cancel: CancelFlag, progress: (@Sendable (Int64) -> Void)?
    ) throws(LunetteError) -> SnapshotStore.Pending? {
        guard try !snapshots.has(diffID.hex) else { return nil }
        let pending = try snapshots.begin(diffID.hex)
        do throws(LunetteError) {
            let (report, _) = try LayerUnpacker.unpack(
                blob: try content.open(layer.digest), into: pending.folder, diffID: diffID, layer: layer.digest.description, limits: limits,
                cancel: cancel, progress: progress)
            try snapshots.note(report, of: pending)
            return pending
        } catch {
            snapshots.discard(pending)
            throw error
        }
    }
}
