internal import CArchive
internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// Makes a new layer: what is added goes through tar, both hashes and gzip into a blob of the store. One thread at a time.
final class LayerWriter {
    private let content: ContentStore
    private let what: String
    private let tarHash = ContentHash()
    private let output: Output
    private(set) var tar: TarOutput
    private var links: [Inode: String] = [:]
    /// Entries so far.
    private(set) var entries = 0
    private let cancel: CancelFlag

    private struct Inode: Hashable {
        var device: UInt64
        var inode: UInt64
    }

    /// The compressed side: a temporary file of the store and its hash.
    private final class Output {
        let file: FileDescriptor
        let hash = ContentHash()
        var size: Int64 = 0
        var compressor: OpaquePointer?
        var errno: Int32 = 0

        init(_ file: FileDescriptor) { self.file = file }
        deinit { lnt_compressor_abandon(compressor) }

        func take(_ data: UnsafeRawPointer?, _ count: Int) -> Int32 {
            let result = lnt_disk_append(file.number, data, count)
            if result < 0 {
                errno = -result
                return -1
            }
            hash.update(UnsafeRawBufferPointer(start: data, count: count))
            size += Int64(count)
            return 0
        }
    }

    private let temporary: String

    init(_ content: ContentStore, what: String, cancel: CancelFlag) throws(LunetteError) {
        self.content = content
        self.what = what
        self.cancel = cancel
        let name = "build.\(UInt64.random(in: 0...UInt64.max))"
        temporary = name
        let output = Output(
            try atBorder(what) { () throws(SystemCallError) in
                try content.ingest.open(name, [.readWrite, .create, .exclusive], mode: 0o600)
            })
        self.output = output
        // Hash and compressor are captured apart from self, which isn't whole yet.
        let hash = tarHash
        tar = try TarOutput(what) { (bytes) throws(LunetteError) in
            hash.update(bytes)
            if lnt_compressor_data(output.compressor, bytes.baseAddress, bytes.count) < 0 { throw Self.failure(output, what) }
        }
        output.compressor = lnt_compressor_open(
            LNT_COMPRESS_GZIP, { context, data, size in Unmanaged<Output>.fromOpaque(context!).takeUnretainedValue().take(data, size) },
            Unmanaged.passUnretained(output).toOpaque())
        if output.compressor == nil { throw LunetteError(.resourceExhausted, "\(what): out of memory") }
    }

    private static func failure(_ output: Output, _ what: String) -> LunetteError {
        LunetteError(
            errorCode(forErrno: output.errno), "\(what): write the layer: \(errnoText(output.errno))", errno: output.errno,
            hint: output.errno == ErrorNumber.noSpace ? "the disk is full: free some space (lunette system prune)" : nil)
    }

    func add(_ entry: TarOutput.Entry, _ bytes: [UInt8] = []) throws(LunetteError) {
        try checkPlace(of: entry)
        entries += 1
        try tar.add(entry, bytes)
    }

    /// Adds an open plain file's content under `entry`, or a hard link to where the same file went before.
    func add(_ entry: TarOutput.Entry, file: FileDescriptor, status: FileStatus) throws(LunetteError) {
        try checkPlace(of: entry)
        entries += 1
        var entry = entry
        if status.links > 1 {
            let inode = Inode(device: status.device, inode: status.inode)
            if let first = links[inode] {
                entry.isHardLink = true
                entry.link = first
                return try tar.add(entry)
            }
            links[inode] = entry.path
        }
        entry.size = status.size
        try tar.begin(entry)
        var left = status.size
        try readAll(of: file, what: entry.path, cancel: cancel) { (bytes) throws(LunetteError) in
            // A file that grows while it is copied: the size in the header counts.
            let part = Int(min(Int64(bytes.count), left))
            try tar.data(UnsafeRawBufferPointer(rebasing: bytes[..<part]))
            left -= Int64(part)
        }
        guard left == 0 else { throw LunetteError(.io, "\(what): \"\(displayable(entry.path))\" shrank while it was copied") }
    }

    /// Refuses to write what nobody here could unpack.
    private func checkPlace(of entry: TarOutput.Entry) throws(LunetteError) {
        let limits = UnpackLimits()
        guard entry.path.pathParts.count <= limits.depth, entry.path.utf8.count < limits.pathLength else {
            throw LunetteError(
                .unsupported,
                "\(what): \"\(displayable(entry.path, limit: 100))\" lies deeper than \(limits.depth) folders or \(limits.pathLength) bytes",
                hint: "no layer may hold it")
        }
    }

    /// Ends the layer and puts its blob into the store.
    func finish() throws(LunetteError) -> (layer: Descriptor, diffID: Digest) {
        try tar.finish()
        let compressor = output.compressor
        output.compressor = nil
        if lnt_compressor_close(compressor) < 0 { throw Self.failure(output, what) }
        let layer = Descriptor(mediaType: .layerTarGzip, digest: output.hash.finish(), size: output.size)
        try atBorder(what) { () throws(SystemCallError) in try content.ingest.rename(temporary, to: layer.digest.hex, in: content.blobs) }
        content.trust([layer.digest])
        return (layer, tarHash.finish())
    }

    func discard() {
        // Best effort: what stays is swept when the store is opened.
        try? content.ingest.removeFile(temporary)
    }
}

/// A file's extended attributes; `security.` labels of this machine and overlay's own stay out of images.
func attributes(of fd: Int32) -> [(name: String, value: [UInt8])] {
    var list = [CChar](repeating: 0, count: 65536)
    let length = lnt_host_flistxattr(fd, &list, list.count)
    guard length > 0 else { return [] }
    var result: [(name: String, value: [UInt8])] = []
    for raw in list.prefix(length).split(separator: 0) {
        let name = String(decoding: raw.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard name == "security.capability" || name.hasPrefix("user.") && !name.hasPrefix("user.overlay.") else { continue }
        var value = [UInt8](repeating: 0, count: 65536)
        let size = lnt_host_fgetxattr(fd, name, &value, value.count)
        if size >= 0 { result.append((name, Array(value.prefix(size)))) }
    }
    return result.sorted { $0.name < $1.name }
}
