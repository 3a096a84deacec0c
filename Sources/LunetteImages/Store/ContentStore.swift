internal import CLinux
internal import LunetteLinux
internal import LunetteSpec
internal import Synchronization

/// Keeps blobs by digest in `<root>/content/blobs/sha256`, and partial ones in `content/ingest` until they verify.
///
/// A blob that this process wrote, or that a committed image names, is trusted; any other is hashed before it is used again.
final class ContentStore: Sendable {
    let directory: Directory
    let blobs: Directory
    let ingest: Directory
    private let trusted = Mutex<Set<Digest>>([])

    /// Larger manifests and configs than this are refused unread: nobody's are, and they are held in memory.
    static let documentLimit: Int64 = 4 << 20

    init(root: Directory) throws(SystemCallError) {
        directory = try root.makeDirectory("content")
        blobs = try directory.makeDirectory("blobs").makeDirectory("sha256")
        ingest = try directory.makeDirectory("ingest")
    }

    func trust(_ digests: some Sequence<Digest>) { trusted.withLock { $0.formUnion(digests) } }
    func isTrusted(_ digest: Digest) -> Bool { trusted.withLock { $0.contains(digest) } }

    func size(of digest: Digest) throws(LunetteError) -> Int64? {
        try atBorder("look for blob \(digest.short)") { () throws(SystemCallError) in try blobs.status(digest.hex)?.size }
    }

    func open(_ digest: Digest) throws(LunetteError) -> FileDescriptor {
        do throws(SystemCallError) { return try blobs.open(digest.hex, [.noFollow]) } catch {
            var failure = error.lunette
            failure.message = "open blob \(digest): \(errnoText(error.errno))"
            if error.errno == ErrorNumber.noEntry {
                failure.hint = "lunette system check --repair says what is broken; pull the image again"
            }
            throw failure
        }
    }

    /// Whether the blob is here, whole and verified; one that is damaged is removed.
    func has(_ descriptor: Descriptor, cancel: CancelFlag? = nil) throws(LunetteError) -> Bool {
        guard let size = try size(of: descriptor.digest) else { return false }
        if size == descriptor.size, isTrusted(descriptor.digest) { return true }
        if size == descriptor.size, try hash(descriptor.digest, cancel: cancel) == descriptor.digest {
            trust([descriptor.digest])
            return true
        }
        try remove(descriptor.digest)
        return false
    }

    /// The hash of what is stored under `digest`.
    func hash(_ digest: Digest, cancel: CancelFlag? = nil) throws(LunetteError) -> Digest {
        let file = try open(digest)
        return try hashFile(file, what: "blob \(digest)", cancel: cancel)
    }

    /// A manifest, index or config: bounded and verified at each reading.
    func document(_ descriptor: Descriptor) throws(LunetteError) -> [UInt8] {
        guard descriptor.size <= Self.documentLimit else {
            throw LunetteError(.resourceExhausted, "read blob \(descriptor.digest): \(descriptor.size) bytes are too many for a document")
        }
        let file = try open(descriptor.digest)
        let bytes = try atBorder("read blob \(descriptor.digest)") { () throws(SystemCallError) in
            try file.readAll(limit: Int(Self.documentLimit))
        }
        guard Int64(bytes.count) == descriptor.size, ContentHash.digest(of: bytes) == descriptor.digest else {
            throw LunetteError(
                .io, "read blob \(descriptor.digest): its content has changed on disk", target: descriptor.digest.description,
                hint: "lunette system check --repair removes it; then pull the image again")
        }
        return bytes
    }

    /// Stores a small document and gives its descriptor.
    func write(_ bytes: [UInt8], mediaType: MediaType) throws(LunetteError) -> Descriptor {
        let descriptor = Descriptor(mediaType: mediaType, digest: ContentHash.digest(of: bytes), size: Int64(bytes.count))
        if try has(descriptor) { return descriptor }
        let writer = try BlobWriter(self, descriptor, resume: false)
        try writer.append(bytes)
        try writer.commit()
        return descriptor
    }

    func remove(_ digest: Digest) throws(LunetteError) {
        _ = trusted.withLock { $0.remove(digest) }
        try atBorder("remove blob \(digest.short)") { () throws(SystemCallError) in try blobs.removeFile(digest.hex) }
    }

    /// Every blob on disk; other names are none of ours and are left.
    func all() throws(LunetteError) -> [Digest] {
        let names = try atBorder("list blobs") { () throws(SystemCallError) in try blobs.entries() }
        // A name that is no digest was not put there by the store.
        return names.compactMap { try? Digest(hex: $0) }
    }
}

/// Hashes from the current offset to the end.
func hashFile(_ file: FileDescriptor, what: String, cancel: CancelFlag? = nil) throws(LunetteError) -> Digest {
    let hash = ContentHash()
    try readAll(of: file, what: what, cancel: cancel) { (bytes) throws(LunetteError) in hash.update(bytes) }
    return hash.finish()
}

/// Reads from the current offset to the end, 1 MiB at a time.
func readAll(
    of file: FileDescriptor, what: String, cancel: CancelFlag?, _ body: (UnsafeRawBufferPointer) throws(LunetteError) -> Void
) throws(LunetteError) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    while true {
        if cancel?.isCancelled == true { throw LunetteError(.cancelled, "read \(what): cancelled") }
        let got = lnt_host_read(file.number, buffer.baseAddress, buffer.count)
        if got < 0 { throw LunetteError(errorCode(forErrno: Int32(-got)), "read \(what): \(errnoText(Int32(-got)))", errno: Int32(-got)) }
        if got == 0 { return }
        try body(UnsafeRawBufferPointer(start: buffer.baseAddress, count: got))
    }
}
