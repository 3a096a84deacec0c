internal import CArchive
internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// Writes a pax tar to a file; the same entries give the same bytes. One thread at a time.
final class TarOutput {
    private let sink: Sink
    private var writer: OpaquePointer?
    private let what: String

    fileprivate final class Sink {
        let take: (UnsafeRawBufferPointer) throws(LunetteError) -> Void
        var error: LunetteError?
        init(_ take: @escaping (UnsafeRawBufferPointer) throws(LunetteError) -> Void) { self.take = take }

        func give(_ data: UnsafeRawPointer?, _ size: Int) -> Int32 {
            do throws(LunetteError) {
                try take(UnsafeRawBufferPointer(start: data, count: size))
                return 0
            } catch {
                self.error = error
                return -1
            }
        }
    }

    /// - Parameter take: gets the tar's bytes.
    init(_ what: String, _ take: @escaping (UnsafeRawBufferPointer) throws(LunetteError) -> Void) throws(LunetteError) {
        self.what = what
        sink = Sink(take)
        writer = lnt_tar_writer_open(
            { context, data, size in Unmanaged<Sink>.fromOpaque(context!).takeUnretainedValue().give(data, size) },
            Unmanaged.passUnretained(sink).toOpaque())
        guard writer != nil else {
            throw LunetteError(
                .unsupported, "\(what): load libarchive: \(String(cString: lnt_archive_load_error()))", hint: "install libarchive13")
        }
    }

    deinit { lnt_tar_writer_abandon(writer) }

    private func check(_ result: Int32) throws(LunetteError) {
        guard result < 0 else { return }
        throw sink.error ?? LunetteError(.io, "\(what): \(writer.map { String(cString: lnt_tar_writer_error($0)) } ?? "write the tar")")
    }

    struct Entry {
        var path: String
        var kind: FileKind = .regular
        var mode: UInt32 = 0o644
        var uid: UInt32 = 0
        var gid: UInt32 = 0
        var size: Int64 = 0
        var seconds: Int64 = 0
        var nanoseconds: UInt32 = 0
        /// A symbolic or, with `isHardLink`, a hard link's target.
        var link: String?
        var isHardLink = false
        var device: (major: UInt32, minor: UInt32) = (0, 0)
        var attributes: [(name: String, value: [UInt8])] = []
    }

    func begin(_ entry: Entry) throws(LunetteError) {
        var raw = lnt_entry()
        raw.kind =
            switch entry.kind {
            case _ where entry.isHardLink: LNT_ENTRY_HARDLINK
            case .directory: LNT_ENTRY_DIRECTORY
            case .symbolicLink: LNT_ENTRY_SYMLINK
            case .fifo: LNT_ENTRY_FIFO
            case .characterDevice: LNT_ENTRY_CHARACTER
            case .blockDevice: LNT_ENTRY_BLOCK
            default: LNT_ENTRY_FILE
            }
        raw.mode = entry.mode
        raw.uid = Int64(entry.uid)
        raw.gid = Int64(entry.gid)
        raw.size = entry.size
        raw.mtime = entry.seconds
        raw.mtime_nanoseconds = entry.nanoseconds
        raw.device_major = entry.device.major
        raw.device_minor = entry.device.minor
        let result = entry.path.withCString { path in
            withLink(entry.link) { link in
                raw.path = path
                raw.link = link
                return lnt_tar_writer_entry(writer, &raw)
            }
        }
        try check(result)
        for attribute in entry.attributes {
            try check(attribute.value.withUnsafeBytes { lnt_tar_writer_xattr(writer, attribute.name, $0.baseAddress, $0.count) })
        }
        try check(lnt_tar_writer_begin(writer))
    }

    private func withLink(_ link: String?, _ body: (UnsafePointer<CChar>?) -> Int32) -> Int32 {
        if let link { link.withCString(body) } else { body(nil) }
    }

    func data(_ bytes: UnsafeRawBufferPointer) throws(LunetteError) {
        if bytes.count > 0 { try check(lnt_tar_writer_data(writer, bytes.baseAddress, bytes.count)) }
    }

    func add(_ entry: Entry, _ content: [UInt8] = []) throws(LunetteError) {
        var entry = entry
        entry.size = Int64(content.count)
        try begin(entry)
        let result = content.withUnsafeBytes { $0.isEmpty ? 0 : lnt_tar_writer_data(writer, $0.baseAddress, $0.count) }
        try check(result)
    }

    /// Writes the end.
    func finish() throws(LunetteError) {
        let result = lnt_tar_writer_close(writer)
        writer = nil
        try check(result)
    }
}
