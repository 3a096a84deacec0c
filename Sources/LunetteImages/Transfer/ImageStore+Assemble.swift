internal import LunetteLinux
internal import LunetteSpec

extension ImageStore {
    /// Fetches what a manifest names, unpacks its layers while others still come, and commits.
    /// - Parameter manifest: its blob is in the store.
    func assemble(
        _ manifest: Descriptor, from source: some BlobSource, platform: Platform?, reference: String?, progress: ProgressReporter
    ) async throws(LunetteError) -> ImageRecord {
        let cancel = CancelFlag()
        return try await cancellable(cancel) { () async throws(LunetteError) in
            let bytes = try content.document(manifest)
            guard
                case .manifest(let parsed) = try ImageDocument.decode(
                    bytes, expected: manifest.mediaType, source: "manifest \(manifest.digest)")
            else {
                throw LunetteError(.invalidArgument, "\(manifest.digest) is an index where a manifest was expected")
            }
            try StoredImage.checkTypes(parsed, manifest.digest)
            guard parsed.config.size <= ContentStore.documentLimit else {
                throw LunetteError(.resourceExhausted, "image \(manifest.digest): a config of \(parsed.config.size) bytes is too large")
            }
            return try await leasing([manifest.digest.hex, parsed.config.digest.hex]) { () async throws(LunetteError) in
                try await fetch(parsed.config, from: source, cancel: cancel, progress: progress)
                let image = try StoredImage(manifest, from: content)
                try check(image, suits: platform)
                return try await leasing(leases(of: image)) { () async throws(LunetteError) in
                    let pending = try await layers(of: image, from: source, cancel: cancel, progress: progress)
                    do throws(LunetteError) {
                        if Task.isCancelled || cancel.isCancelled {
                            throw LunetteError(.cancelled, "cancelled before the image was committed")
                        }
                        progress.report("commit")
                        return try await commit(image, pending: pending, reference: reference)
                    } catch {
                        for layer in pending { snapshots.discard(layer) }
                        throw error
                    }
                }
            }
        }
    }

    private func check(_ image: StoredImage, suits platform: Platform?) throws(LunetteError) {
        guard let platform, platform.fitness(of: image.config.platform) == nil else { return }
        throw LunetteError(
            .notFound, "image \(image.descriptor.digest) is for \(image.config.platform), not for \(platform)",
            target: image.descriptor.digest.description,
            hint: "ask for its platform: --platform \(image.config.platform)")
    }

    /// Raises `cancel` when the surrounding task is cancelled.
    func cancellable<T: Sendable>(_ cancel: CancelFlag, _ body: () async throws(LunetteError) -> T) async throws(LunetteError) -> T {
        let result: Result<T, LunetteError> = await withTaskCancellationHandler {
            do throws(LunetteError) { return .success(try await body()) } catch { return .failure(error) }
        } onCancel: {
            cancel.cancel()
        }
        return try result.get()
    }

    private func fetch(
        _ blob: Descriptor, from source: some BlobSource, cancel: CancelFlag, progress: ProgressReporter
    ) async throws(LunetteError) {
        // One at a time for each blob: a second pull of the same layer finds it in place.
        try await gate.withLock("blob \(blob.digest.hex)") { () async throws(LunetteError) in
            try await downloads.use { () async throws(LunetteError) in
                try await onStageThread { [content] () throws(LunetteError) in
                    let name = blob.digest.description
                    if cancel.isCancelled { throw LunetteError(.cancelled, "fetch blob \(name): cancelled") }
                    if try content.has(blob, cancel: cancel) { return progress.report(source.phase, name, blob.size, of: blob.size) }
                    try source.fetch(blob, into: content, cancel: cancel) { progress.report(source.phase, name, $0, of: blob.size) }
                    faultPoint("image.blob")
                    progress.report(source.phase, name, blob.size, of: blob.size)
                }
            }
        }
    }

    /// Fetches and unpacks every layer, several at a time; the first failure stops the others and is the one thrown.
    private func layers(
        of image: StoredImage, from source: some BlobSource, cancel: CancelFlag, progress: ProgressReporter
    ) async throws(LunetteError) -> [SnapshotStore.Pending] {
        var distinct: [(layer: Descriptor, diffID: Digest)] = []
        for (layer, diffID) in zip(image.manifest.layers, image.config.diffIDs) where !distinct.contains(where: { $0.diffID == diffID }) {
            distinct.append((layer, diffID))
        }
        // The same diff id may stand for two blobs (one packed twice): each is fetched, one is unpacked.
        let others = image.manifest.layers.filter { layer in !distinct.contains { $0.layer.digest == layer.digest } }
        let results = await withTaskGroup(of: Result<SnapshotStore.Pending?, LunetteError>.self) { group in
            for (layer, diffID) in distinct {
                group.addTask { [self] in
                    do throws(LunetteError) {
                        try await fetch(layer, from: source, cancel: cancel, progress: progress)
                        return .success(
                            try await unpackers.use { () async throws(LunetteError) in
                                try await onStageThread { [self] () throws(LunetteError) in
                                    let name = layer.digest.description
                                    let pending = try unpack(layer, diffID: diffID, cancel: cancel) {
                                        progress.report("unpack", name, $0, of: layer.size)
                                    }
                                    progress.report("unpack", name, layer.size, of: layer.size)
                                    return pending
                                }
                            })
                    } catch {
                        return .failure(error)
                    }
                }
            }
            for layer in others {
                group.addTask { [self] in
                    do throws(LunetteError) {
                        try await fetch(layer, from: source, cancel: cancel, progress: progress)
                        return .success(nil)
                    } catch {
                        return .failure(error)
                    }
                }
            }
            var results: [Result<SnapshotStore.Pending?, LunetteError>] = []
            for await result in group {
                if case .failure = result { cancel.cancel() }
                results.append(result)
            }
            return results
        }
        var pending: [SnapshotStore.Pending] = []
        var failure: LunetteError?
        for result in results {
            switch result {
            case .success(let layer): if let layer { pending.append(layer) }
            case .failure(let error): if failure == nil || failure!.code == .cancelled { failure = error }
            }
        }
        if let failure {
            for layer in pending { snapshots.discard(layer) }
            throw failure
        }
        faultPoint("image.blobs")
        return pending
    }
}
