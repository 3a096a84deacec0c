internal import LunetteLinux
package import LunetteSpec

extension ImageStore {
    /// Hashes every blob that an image names and looks for every snapshot.
    ///
    /// `repair` removes damaged blobs, unpacks missing snapshots again, and drops images that can't be made whole (pull them again).
    package func check(repair: Bool = false) async throws(LunetteError) -> ImageStoreReport {
        var report = ImageStoreReport()
        let (catalog, images, broken) = withState { ($0.catalog, $0.images, $0.broken) }
        var doomed: [(Digest, String)] = broken.map { ($0.key, $0.value) }
        for (digest, why) in broken.sorted(by: { $0.key < $1.key }) { report.problems.append("image \(digest): \(why)") }
        var seen: Set<Digest> = []
        for image in catalog.entries.compactMap({ images[$0.manifest.digest] }) {
            for blob in image.blobs where seen.insert(blob.digest).inserted {
                report.blobs += 1
                let problem = try await onStageThread { [self] () throws(LunetteError) -> String? in try defect(of: blob) }
                guard let problem else { continue }
                report.problems.append(problem)
                doomed.append((image.descriptor.digest, problem))
                if repair { try content.remove(blob.digest) }
            }
        }
        let lost = Set(doomed.map(\.0))
        var layers: Set<Digest> = []
        for image in catalog.entries.compactMap({ images[$0.manifest.digest] }) where !lost.contains(image.descriptor.digest) {
            for (layer, diffID) in zip(image.manifest.layers, image.config.diffIDs) where layers.insert(diffID).inserted {
                report.snapshots += 1
                if try snapshots.has(diffID.hex) { continue }
                report.problems.append("snapshot \(diffID.hex): it is missing")
                guard repair else { continue }
                try await restore(layer, diffID)
                report.repaired.append("snapshot \(diffID.hex): unpacked again")
            }
        }
        guard repair, !lost.isEmpty else { return report }
        try await gate.withLock("index") { () async throws(LunetteError) in
            var catalog = withState { $0.catalog }
            for digest in lost { catalog.remove(digest) }
            try await replace(catalog)
            withState { state in
                for digest in lost {
                    state.images[digest] = nil
                    state.broken[digest] = nil
                }
            }
        }
        for digest in lost.sorted() { report.repaired.append("image \(digest): dropped; pull it again") }
        return report
    }

    private func defect(of blob: Descriptor) throws(LunetteError) -> String? {
        guard let size = try content.size(of: blob.digest) else { return "blob \(blob.digest): it is missing" }
        guard size == blob.size else { return "blob \(blob.digest): it has \(size) bytes, its descriptor says \(blob.size)" }
        let found = try content.hash(blob.digest)
        return found == blob.digest ? nil : "blob \(blob.digest): it hashes to \(found)"
    }

    private func restore(_ layer: Descriptor, _ diffID: Digest) async throws(LunetteError) {
        try await onStageThread { [self] () throws(LunetteError) in
            guard let pending = try unpack(layer, diffID: diffID, cancel: CancelFlag(), progress: nil) else { return }
            try snapshots.synchronize()
            try snapshots.publish(pending)
        }
    }

    /// Makes sure that every layer of an image is unpacked, as before a container starts on it.
    package func ensureUnpacked(_ record: ImageRecord) async throws(LunetteError) {
        let image = try stored(record)
        for (layer, diffID) in zip(image.manifest.layers, image.config.diffIDs) where try !snapshots.has(diffID.hex) {
            try await restore(layer, diffID)
        }
    }
}
