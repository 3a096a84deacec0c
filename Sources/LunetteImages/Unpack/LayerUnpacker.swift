internal import CArchive
internal import LunetteLinux
internal import LunetteSpec
internal import Synchronization

/// Unpacks one layer's blob into a folder: one thread reads and decompresses, another hashes, parses and writes.
enum LayerUnpacker {
    /// Blocks until done; for a thread of its own.
    /// - Parameters:
    ///   - blob: the layer as stored (gzip, zstd or plain, as its first bytes say), read from its current offset.
    ///   - folder: an empty folder that becomes the layer's root.
    ///   - diffID: what the uncompressed tar must hash to; nil takes any, and the result tells.
    ///   - layer: the name in messages.
    ///   - progress: gets the number of compressed bytes read so far, now and then.
    /// - Throws: `denied` for a hostile layer, `io` for a damaged one or a wrong diff id, `resource_exhausted` for a bomb or a full disk, `cancelled`.
    static func unpack(
        blob: FileDescriptor, into folder: Directory, diffID: Digest?, layer: String, limits: UnpackLimits = UnpackLimits(),
        cancel: CancelFlag? = nil, progress: (@Sendable (Int64) -> Void)? = nil
    ) throws(LunetteError) -> (report: UnpackedLayer, diffID: Digest) {
        guard lnt_archive_load() == 0 else {
            throw LunetteError(
                .unsupported, "load libarchive: \(String(cString: lnt_archive_load_error()))", hint: "install libarchive13")
        }
        let queue = ChunkQueue<LunetteError>(chunks: 6, capacity: 1 << 20)
        let decompressor = Decompressor(blob: blob, queue: queue, layer: layer, limits: limits, cancel: cancel, progress: progress)
        let reader = StageThread { decompressor.run() }
        guard reader.isRunning else {
            throw LunetteError(.resourceExhausted, "unpack layer \(layer): no thread can be started", target: layer)
        }
        defer {
            queue.stop()
            reader.join()
        }
        try TreeWriter.privateUmask()
        let input = TarInput(queue: queue)
        let context = Unmanaged.passUnretained(input)
        guard
            let archive = lnt_archive_open(
                LNT_ARCHIVE_TAR,
                { context, data in
                    Unmanaged<TarInput>.fromOpaque(context!).takeUnretainedValue().next(data!)
                }, context.toOpaque())
        else { throw LunetteError(.resourceExhausted, "unpack layer \(layer): out of memory", target: layer) }
        defer { lnt_archive_close(archive) }
        let writer = TreeWriter(root: folder.descriptor.number, layer: layer, limits: limits)
        var entry = lnt_entry()
        while true {
            if cancel?.isCancelled == true { throw LunetteError(.cancelled, "unpack layer \(layer): cancelled", target: layer) }
            let status = lnt_tar_next(archive, &entry)
            if let error = input.error { throw error }
            if status == 0 { break }
            if status < 0 {
                let why = String(cString: lnt_archive_error(archive)).lowercased()
                throw LunetteError(.io, "unpack layer \(layer): read the tar: \(displayable(why))", target: layer)
            }
            do throws(LunetteError) { try writer.write(entry, from: archive) } catch { throw input.error ?? error }
        }
        let found = try input.drain()
        if let diffID, found != diffID {
            throw LunetteError(
                .io, "unpack layer \(layer): its tar hashes to \(found), the image's config says \(diffID)", target: layer,
                hint: "the image is damaged or was tampered with")
        }
        return (try writer.finish(), found)
    }
}

/// The first stage: reads the blob, decompresses it and fills chunks.
private final class Decompressor: @unchecked Sendable {
    // SAFETY: only the reading thread touches what is mutable here.
    let blob: FileDescriptor
    let queue: ChunkQueue<LunetteError>
    let layer: String
    let limits: UnpackLimits
    let cancel: CancelFlag?
    let progress: (@Sendable (Int64) -> Void)?
    private let buffer = UnsafeMutableRawPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    private var pending = 0
    private var consumed: Int64 = 0
    private var reported: Int64 = 0
    private var produced: Int64 = 0
    private var readError: Int32 = 0

    init(
        blob: FileDescriptor, queue: ChunkQueue<LunetteError>, layer: String, limits: UnpackLimits, cancel: CancelFlag?,
        progress: (@Sendable (Int64) -> Void)?
    ) {
        self.blob = blob
        self.queue = queue
        self.layer = layer
        self.limits = limits
        self.cancel = cancel
        self.progress = progress
    }

    deinit { buffer.deallocate() }

    func run() {
        do throws(LunetteError) {
            try decompress()
            progress?(consumed)
            queue.finish(.success(()))
        } catch {
            queue.finish(.failure(error))
        }
    }

    private func read(into memory: UnsafeMutableRawPointer, _ size: Int) -> Int {
        if cancel?.isCancelled == true {
            readError = -1
            return -1
        }
        let got = lnt_disk_read(blob.number, memory, size)
        if got < 0 {
            readError = Int32(-got)
            return -1
        }
        consumed += Int64(got)
        if consumed - reported >= 4 << 20 {
            reported = consumed
            progress?(consumed)
        }
        return got
    }

    private func readFailure(_ archive: OpaquePointer?) -> LunetteError {
        if cancel?.isCancelled == true { return LunetteError(.cancelled, "unpack layer \(layer): cancelled", target: layer) }
        if readError > 0 {
            return LunetteError(.io, "unpack layer \(layer): read the blob: \(errnoText(readError))", target: layer, errno: readError)
        }
        let why = archive.map { String(cString: lnt_archive_error($0)).lowercased() } ?? "unreadable"
        return LunetteError(.io, "unpack layer \(layer): decompress: \(displayable(why))", target: layer)
    }

    private func count(_ bytes: Int) throws(LunetteError) {
        produced += Int64(bytes)
        guard produced <= limits.bytes else {
            throw LunetteError(.resourceExhausted, "unpack layer \(layer): it unpacks to more than \(limits.bytes) bytes", target: layer)
        }
    }

    private func decompress() throws(LunetteError) {
        lnt_disk_read_ahead(blob.number)
        // The first bytes decide; a plain tar needs no library and no copy.
        while pending < 4 {
            let got = read(into: buffer + pending, (256 << 10) - pending)
            if got < 0 { throw readFailure(nil) }
            if got == 0 { break }
            pending += got
        }
        let magic = (0..<min(4, pending)).map { buffer.load(fromByteOffset: $0, as: UInt8.self) }
        if magic.starts(with: [0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd] || (magic.count == 4 && magic[1...] == [0x2a, 0x4d, 0x18])
        {
            try throughLibrary()
        } else {
            try plain()
        }
    }

    private func plain() throws(LunetteError) {
        while let empty = queue.empty() {
            var chunk = empty
            if pending > 0 {
                chunk.memory.copyMemory(from: buffer, byteCount: pending)
                chunk.count = pending
                pending = 0
            }
            while chunk.count < queue.capacity {
                let got = read(into: chunk.memory + chunk.count, queue.capacity - chunk.count)
                if got < 0 { throw readFailure(nil) }
                if got == 0 { break }
                chunk.count += got
            }
            if chunk.count == 0 { return queue.recycle(chunk) }
            try count(chunk.count)
            queue.push(chunk)
        }
    }

    private func throughLibrary() throws(LunetteError) {
        let context = Unmanaged.passUnretained(self)
        guard
            let archive = lnt_archive_open(
                LNT_ARCHIVE_DECOMPRESS,
                { context, data in
                    Unmanaged<Decompressor>.fromOpaque(context!).takeUnretainedValue().give(data!)
                }, context.toOpaque())
        else { throw LunetteError(.resourceExhausted, "unpack layer \(layer): out of memory", target: layer) }
        defer { lnt_archive_close(archive) }
        guard var chunk = queue.empty() else { return }
        while true {
            var data: UnsafeRawPointer?
            var size = 0
            var offset: Int64 = 0
            let status = lnt_archive_data(archive, &data, &size, &offset)
            if status < 0 { throw readFailure(archive) }
            if status == 0 { break }
            try count(size)
            var taken = 0
            while taken < size {
                let part = min(size - taken, queue.capacity - chunk.count)
                (chunk.memory + chunk.count).copyMemory(from: data! + taken, byteCount: part)
                chunk.count += part
                taken += part
                if chunk.count == queue.capacity {
                    queue.push(chunk)
                    guard let next = queue.empty() else { return }
                    chunk = next
                }
            }
        }
        queue.push(chunk)
    }

    /// Gives libarchive the next compressed bytes.
    private func give(_ data: UnsafeMutablePointer<UnsafeRawPointer?>) -> Int {
        data.pointee = UnsafeRawPointer(buffer)
        if pending > 0 {
            defer { pending = 0 }
            return pending
        }
        return read(into: buffer, 256 << 10)
    }
}

/// The second stage's input: hands chunks to the tar parser and hashes them on the way.
private final class TarInput {
    private let queue: ChunkQueue<LunetteError>
    private let hash = ContentHash()
    private var current: ChunkQueue<LunetteError>.Chunk?
    private var length = 0
    /// What fills a last block up: `umoci insert` writes layers that end with their last file's last byte.
    private let filling = UnsafeMutableRawPointer.allocate(byteCount: 512, alignment: 16)
    private(set) var error: LunetteError?

    init(queue: ChunkQueue<LunetteError>) {
        self.queue = queue
        filling.initializeMemory(as: UInt8.self, repeating: 0, count: 512)
    }

    deinit { filling.deallocate() }

    func next(_ data: UnsafeMutablePointer<UnsafeRawPointer?>) -> Int {
        if let current { queue.recycle(current) }
        current = nil
        do throws(LunetteError) {
            guard let chunk = try queue.next() else {
                let missing = (512 - length % 512) % 512
                length += missing
                data.pointee = UnsafeRawPointer(filling)
                return missing
            }
            length += chunk.count
            hash.update(UnsafeRawBufferPointer(start: chunk.memory, count: chunk.count))
            current = chunk
            data.pointee = UnsafeRawPointer(chunk.memory)
            return chunk.count
        } catch {
            self.error = error
            return -1
        }
    }

    /// Reads what follows the tar's end: it belongs to the digest.
    func drain() throws(LunetteError) -> Digest {
        var ignored: UnsafeRawPointer?
        while next(&ignored) > 0 {}
        if let error { throw error }
        return hash.finish()
    }
}
