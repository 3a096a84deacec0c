internal import CArchive
internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// Takes one blob's bytes into `content/ingest` and moves them to their place once size and digest are right. One thread at a time.
///
/// What arrived before a broken connection stays: the next writer for the same digest goes on from `offset`.
final class BlobWriter {
    private let store: ContentStore
    private let descriptor: Descriptor
    private let name: String
    private let file: FileDescriptor
    private var hash = ContentHash()
    /// Bytes written so far.
    private(set) var offset: Int64 = 0

    /// - Parameter resume: go on with what an earlier try left.
    init(_ store: ContentStore, _ descriptor: Descriptor, resume: Bool) throws(LunetteError) {
        self.store = store
        self.descriptor = descriptor
        let name = resume ? descriptor.digest.hex : "\(descriptor.digest.hex).\(UInt64.random(in: 0...UInt64.max))"
        self.name = name
        file = try atBorder("write blob \(descriptor.digest.short)") { () throws(SystemCallError) in
            try store.ingest.open(name, [.readWrite, .create, .noFollow], mode: 0o600)
        }
        if resume {
            let hash = self.hash
            var size: Int64 = 0
            try readAll(of: file, what: "partial blob", cancel: nil) { (bytes) throws(LunetteError) in
                hash.update(bytes)
                size += Int64(bytes.count)
            }
            offset = size
            if offset > descriptor.size { try restart() }
        }
    }

    /// Throws away what was taken so far (the server didn't resume, or the digest was wrong).
    func restart() throws(LunetteError) {
        let result = lnt_host_truncate(file.number, 0)
        if result < 0 { throw failure(-result) }
        offset = 0
        hash = ContentHash()
    }

    private func failure(_ errno: Int32) -> LunetteError {
        LunetteError(
            errorCode(forErrno: errno), "write blob \(descriptor.digest): \(errnoText(errno))", target: descriptor.digest.description,
            errno: errno,
            hint: errno == ErrorNumber.noSpace || errno == ErrorNumber.quota
                ? "the disk is full: free some space (lunette system prune), or keep the state elsewhere with --root" : nil)
    }

    /// - Throws: `io` when there is more than the descriptor says: nothing past it is written.
    func append(_ bytes: UnsafeRawBufferPointer) throws(LunetteError) {
        guard offset + Int64(bytes.count) <= descriptor.size else {
            throw LunetteError(
                .io, "blob \(descriptor.digest) is larger than the \(descriptor.size) bytes that its descriptor says",
                target: descriptor.digest.description, hint: "the registry or layout is damaged or hostile")
        }
        let result = lnt_disk_write_all(file.number, bytes.baseAddress, bytes.count, offset)
        if result < 0 { throw failure(-result) }
        hash.update(bytes)
        offset += Int64(bytes.count)
    }

    func append(_ bytes: [UInt8]) throws(LunetteError) {
        let result: Result<Void, LunetteError> = bytes.withUnsafeBytes { bytes in
            do throws(LunetteError) { return .success(try append(bytes)) } catch { return .failure(error) }
        }
        try result.get()
    }

    /// Verifies and moves the blob to its place; a wrong one is removed.
    /// - Throws: `io` for a wrong size or digest.
    func commit() throws(LunetteError) {
        let found = hash.finish()
        guard offset == descriptor.size, found == descriptor.digest else {
            discard()
            let why = offset == descriptor.size ? "it hashes to \(found)" : "it has \(offset) bytes, its descriptor says \(descriptor.size)"
            throw LunetteError(
                .io, "verify blob \(descriptor.digest): \(why)", target: descriptor.digest.description,
                hint: "the registry or layout is damaged or was tampered with")
        }
        let digest = descriptor.digest
        try atBorder("store blob \(digest.short)") { () throws(SystemCallError) in
            try store.ingest.rename(name, to: digest.hex, in: store.blobs)
        }
        store.trust([digest])
    }

    func discard() {
        // Best effort: what stays is swept when the store is opened.
        try? store.ingest.removeFile(name)
    }
}
