internal import LunetteLinux
internal import LunetteSpec

/// Where an image's blobs come from: a registry, a layout, an archive.
protocol BlobSource: Sendable {
    /// Brings one blob into the store, verified. Blocks; runs on a thread of its own.
    /// - Parameter progress: gets the number of bytes that are here.
    func fetch(_ blob: Descriptor, into content: ContentStore, cancel: CancelFlag, progress: (Int64) -> Void) throws(LunetteError)
    /// What this does, for progress reports.
    var phase: String { get }
}

/// Blobs that are files below one folder.
struct FolderSource: BlobSource {
    let folder: Directory
    /// Where each blob is, below `folder`.
    let paths: [Digest: String]
    let phase = "load"

    func fetch(_ blob: Descriptor, into content: ContentStore, cancel: CancelFlag, progress: (Int64) -> Void) throws(LunetteError) {
        let path = paths[blob.digest] ?? "blobs/sha256/\(blob.digest.hex)"
        let file = try atBorder("load blob \(blob.digest)") { () throws(SystemCallError) in
            // Nonblocking: a fifo in a hostile archive must not hold the thread.
            try folder.open(path, [.noFollow, .nonblocking])
        }
        let writer = try BlobWriter(content, blob, resume: false)
        do throws(LunetteError) {
            try readAll(of: file, what: "blob \(blob.digest)", cancel: cancel) { (bytes) throws(LunetteError) in
                try writer.append(bytes)
                progress(writer.offset)
            }
            try writer.commit()
        } catch {
            writer.discard()
            throw error
        }
    }
}
