package import LunetteLinux
package import LunetteSpec

extension ImageStore {
    /// Reads an OCI layout (folder or tar) or a docker-archive; one or more images.
    ///
    /// - Parameters:
    ///   - path: absolute; a folder, or a tar (also gzip or zstd).
    ///   - file: an open tar that is read from its start instead; `path` then only names it in messages.
    ///   - tag: the reference that the image gets instead of its own; only for a layout of one image.
    /// - Returns: the images, each with the reference it was loaded as before its others.
    /// - Throws: `not_found`, `invalid_argument` for what is neither, and what `pull` throws for damaged or hostile content.
    package func load(
        _ path: String, file: FileDescriptor? = nil, tag: String? = nil, progress: ImageProgressHandler? = nil
    ) async throws(LunetteError) -> [ImageRecord] {
        let reporter = ProgressReporter(progress)
        let tag: String? = if let tag { try Reference(tag).description } else { nil }
        let cancel = CancelFlag()
        return try await cancellable(cancel) { () async throws(LunetteError) in
            let opened = try await onStageThread { [self] () throws(LunetteError) in try openArchive(path, file, cancel: cancel) }
            do throws(LunetteError) {
                let records = try await load(
                    opened.folder, source: path, repository: file == nil ? ArchiveReader.repository(ofPath: path) : nil, tag: tag, reporter)
                opened.remove()
                return records
            } catch {
                opened.remove()
                throw error
            }
        }
    }

    struct OpenedArchive: Sendable {
        var folder: Directory
        /// The temporary folder's place when the archive was a tar.
        var temporary: (parent: Directory, name: String)?

        func remove() {
            // Best effort: what stays is swept when the store is opened.
            if let temporary { try? temporary.parent.removeTree(temporary.name) }
        }
    }

    private func openArchive(_ path: String, _ given: FileDescriptor?, cancel: CancelFlag) throws(LunetteError) -> OpenedArchive {
        let file: FileDescriptor
        do throws(SystemCallError) {
            if let given {
                file = given
                try file.seek(to: 0)
            } else {
                let here = try Directory("/")
                file = try here.open(String(path.drop { $0 == "/" }), [.nonblocking], scope: [])
            }
        } catch {
            throw LunetteError(
                errorCode(forErrno: error.errno), "load \(displayable(path)): \(errnoText(error.errno))", target: path, errno: error.errno)
        }
        let status = try atBorder("load \(displayable(path))") { () throws(SystemCallError) in
            try fileStatus(file.number, "", follow: false, label: path)
        }
        if status.kind == .directory { return OpenedArchive(folder: Directory(file, label: path)) }
        guard status.kind == .regular else {
            throw LunetteError(.invalidArgument, "load \(displayable(path)): it is neither a folder nor a file", target: path)
        }
        let name = "load.\(UInt64.random(in: 0...UInt64.max))"
        let folder = try atBorder("load \(displayable(path))") { () throws(SystemCallError) in try content.ingest.makeDirectory(name) }
        let opened = OpenedArchive(folder: folder, temporary: (content.ingest, name))
        do throws(LunetteError) {
            _ = try LayerUnpacker.unpack(blob: file, into: folder, diffID: nil, layer: displayable(path), limits: limits, cancel: cancel)
        } catch {
            opened.remove()
            // The archive is read as a layer is; to whoever loads it, it is none.
            var error = error
            if error.message.hasPrefix("unpack layer ") { error.message = "load " + error.message.dropFirst("unpack layer ".count) }
            if error.code == .io, error.hint == nil { error.hint = "it must be an OCI layout or a docker-archive, plain or packed" }
            throw error
        }
        return opened
    }

    private func load(
        _ folder: Directory, source: String, repository: String?, tag: String?, _ reporter: ProgressReporter
    ) async throws(LunetteError) -> [ImageRecord] {
        let content = self.content
        let found = try await onStageThread { () throws(LunetteError) -> [FoundImage] in
            let reader = ArchiveReader(folder: folder, source: displayable(source), content: content, repository: repository)
            return try reader.images(platform: .native)
        }
        guard !found.isEmpty else { throw LunetteError(.invalidArgument, "load \(displayable(source)): it holds no image", target: source) }
        if tag != nil, Set(found.map(\.manifest.digest)).count > 1 {
            throw LunetteError(
                .invalidArgument, "load \(displayable(source)): it holds \(found.count) images, one tag can't name them all",
                target: source,
                hint: "leave the tag out: they keep their own names")
        }
        var records: [ImageRecord] = []
        for image in found {
            let reference = tag ?? image.reference
            var record = try await assemble(
                image.manifest, from: FolderSource(folder: folder, paths: image.paths), platform: nil, reference: reference,
                progress: reporter)
            records.removeAll { $0.digest == record.digest }
            // What it was loaded as comes first, whatever else it is called here.
            if let reference {
                let name = try Reference(reference).description
                record.references = [name] + record.references.filter { $0 != name }
            }
            records.append(record)
        }
        return records
    }
}

/// An image that an archive holds; its manifest is in the store.
struct FoundImage: Sendable {
    var manifest: Descriptor
    var reference: String?
    /// Where the blobs are that aren't in `blobs/sha256`.
    var paths: [Digest: String] = [:]
}
