internal import CArchive
package import LunetteLinux
package import LunetteSpec

extension ImageStore {
    /// Writes images as an OCI layout that `skopeo`, `podman load` and `docker load` read.
    ///
    /// - Parameters:
    ///   - names: images of the store, one or more.
    ///   - path: absolute; a folder when it ends in `/` or is one (the images are added to a layout that is there), else a tar that is replaced.
    ///   - file: a file that the tar is written to from its start instead; `path` then only names it in messages. Asked again, it has the same bytes.
    /// - Throws: `not_found`; `io`, `denied`, `resource_exhausted` with the errno for what can't be written.
    package func save(
        _ names: [String], to path: String, file: FileDescriptor? = nil, progress: ImageProgressHandler? = nil
    ) async throws(LunetteError) {
        guard !names.isEmpty else { throw LunetteError(.invalidArgument, "save to \(path): no image is named", path: "refs") }
        var catalog = Catalog()
        var images: [StoredImage] = []
        for name in names {
            let record = try await get(name)
            let image = try stored(record)
            var descriptor = image.descriptor
            descriptor.annotations = [:]
            descriptor.platform = image.config.platform
            // The name that was asked for; by id, all that it has.
            let asked: Reference? = try? Reference(name)
            let references =
                asked.map { record.references.contains($0.description) ? [$0.description] : record.references } ?? record.references
            if references.isEmpty { catalog.add(descriptor, reference: nil) }
            for reference in references { catalog.add(descriptor, reference: reference) }
            if !images.contains(where: { $0.descriptor.digest == image.descriptor.digest }) { images.append(image) }
        }
        let reporter = ProgressReporter(progress)
        let cancel = CancelFlag()
        let (saved, listed) = (images, catalog)
        try await cancellable(cancel) { () async throws(LunetteError) in
            try await leasing(saved.flatMap(leases(of:))) { () async throws(LunetteError) in
                try await onStageThread { [content] () throws(LunetteError) in
                    let writer = LayoutWriter(
                        content: content, images: saved, catalog: listed, path: path, cancel: cancel, reporter: reporter)
                    if let file { return try writer.writeTar(into: file) }
                    if path.hasSuffix("/") || isFolder(path) { try writer.writeFolder() } else { try writer.writeTar() }
                }
            }
        }
    }
}

private func isFolder(_ path: String) -> Bool {
    // What can't be looked at can't be written either: the write says why.
    (try? fileStatus(-100, path, follow: true, label: path))?.kind == .directory
}

/// Writes a layout. Blocks.
private struct LayoutWriter {
    let content: ContentStore
    let images: [StoredImage]
    let catalog: Catalog
    let path: String
    let cancel: CancelFlag
    let reporter: ProgressReporter

    private var blobs: [Descriptor] {
        var seen: Set<Digest> = []
        return images.flatMap(\.blobs).filter { seen.insert($0.digest).inserted }
    }

    private func atOutput<T>(_ body: () throws(SystemCallError) -> T) throws(LunetteError) -> T {
        try atBorder("save to \(displayable(path))", body)
    }

    func writeFolder() throws(LunetteError) {
        let folder = try atOutput { () throws(SystemCallError) in try Directory(making: path, mode: 0o755) }
        let sha256 = try atOutput { () throws(SystemCallError) in
            try folder.makeDirectory("blobs", mode: 0o755).makeDirectory("sha256", mode: 0o755)
        }
        var merged = catalog
        if let bytes = try atOutput({ () throws(SystemCallError) in try folder.read("index.json") }) {
            guard case .index(let index) = try ImageDocument.decode(bytes, expected: nil, source: "\(path)/index.json") else {
                throw LunetteError(.invalidArgument, "save to \(path): its index.json is no index")
            }
            merged = Catalog(index)
            for entry in catalog.entries {
                if entry.references.isEmpty { merged.add(entry.manifest, reference: nil) }
                for reference in entry.references { merged.add(entry.manifest, reference: reference) }
            }
        }
        for blob in blobs {
            if try atOutput({ () throws(SystemCallError) in try sha256.status(blob.digest.hex)?.size }) == blob.size { continue }
            let temporary = ".\(blob.digest.hex).tmp"
            try atOutput { () throws(SystemCallError) in try sha256.removeFile(temporary) }
            let file = try atOutput { () throws(SystemCallError) in
                try sha256.open(temporary, [.writeOnly, .create, .exclusive], mode: 0o644)
            }
            do throws(LunetteError) {
                try copy(blob) { (bytes) throws(LunetteError) in try write(bytes, to: file) }
                try atOutput { () throws(SystemCallError) in
                    try file.synchronize()
                    try sha256.rename(temporary, to: blob.digest.hex)
                }
            } catch {
                // Best effort: the first failure is what counts.
                try? sha256.removeFile(temporary)
                throw error
            }
        }
        let index = Array(JSON.encode(merged.index.value, pretty: true).utf8)
        try atOutput { () throws(SystemCallError) in
            try folder.writeDurably("oci-layout", Array(ImageStore.layoutFile.utf8), mode: 0o644)
            try folder.writeDurably("index.json", index, mode: 0o644)
        }
    }

    func writeTar() throws(LunetteError) {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        let parent = String(path[..<slash])
        let name = String(path[slash...].drop { $0 == "/" })
        let folder = try atOutput { () throws(SystemCallError) in try Directory(parent.isEmpty ? "/" : parent) }
        let temporary = ".\(name).\(UInt64.random(in: 0...UInt64.max)).tmp"
        let file = try atOutput { () throws(SystemCallError) in try folder.open(temporary, [.writeOnly, .create, .exclusive], mode: 0o644) }
        do throws(LunetteError) {
            let tar = try TarOutput("save to \(displayable(path))") { (bytes) throws(LunetteError) in try write(bytes, to: file) }
            try fill(tar)
            try tar.finish()
            try atOutput { () throws(SystemCallError) in
                try file.synchronize()
                try folder.rename(temporary, to: name)
                try folder.descriptor.synchronize()
            }
        } catch {
            // Best effort: the first failure is what counts.
            try? folder.removeFile(temporary)
            throw error
        }
    }

    func writeTar(into file: FileDescriptor) throws(LunetteError) {
        try atOutput { () throws(SystemCallError) in
            try file.truncate(to: 0)
            try file.seek(to: 0)
        }
        let tar = try TarOutput("save to \(displayable(path))") { (bytes) throws(LunetteError) in try write(bytes, to: file) }
        try fill(tar)
        try tar.finish()
    }

    private func fill(_ tar: TarOutput) throws(LunetteError) {
        try tar.add(.init(path: "oci-layout"), Array(ImageStore.layoutFile.utf8))
        try tar.add(.init(path: "index.json"), Array(JSON.encode(catalog.index.value).utf8))
        try tar.add(.init(path: "manifest.json"), Array(JSON.encode(dockerManifest).utf8))
        try tar.add(.init(path: "blobs/", kind: .directory, mode: 0o755))
        try tar.add(.init(path: "blobs/sha256/", kind: .directory, mode: 0o755))
        for blob in blobs.sorted(by: { $0.digest < $1.digest }) {
            try tar.begin(.init(path: "blobs/sha256/\(blob.digest.hex)", size: blob.size))
            try copy(blob) { (bytes) throws(LunetteError) in try tar.data(bytes) }
        }
    }

    /// What `docker load` before version 25 reads.
    private var dockerManifest: Value {
        .array(
            images.map { image in
                let references = catalog.entry(image.descriptor.digest)?.references ?? []
                return [
                    "Config": .string("blobs/sha256/\(image.id.hex)"),
                    // What can't be read as a reference is written as it stands.
                    "RepoTags": .array(references.filter { !$0.contains("@") }.map { .string((try? Reference($0))?.familiar ?? $0) }),
                    "Layers": .array(image.manifest.layers.map { .string("blobs/sha256/\($0.digest.hex)") }),
                ]
            })
    }

    private func copy(_ blob: Descriptor, _ body: (UnsafeRawBufferPointer) throws(LunetteError) -> Void) throws(LunetteError) {
        let name = blob.digest.description
        var done: Int64 = 0
        let hash = ContentHash()
        try readAll(of: try content.open(blob.digest), what: "blob \(name)", cancel: cancel) { (bytes) throws(LunetteError) in
            hash.update(bytes)
            try body(bytes)
            done += Int64(bytes.count)
            reporter.report("save", name, done, of: blob.size)
        }
        guard hash.finish() == blob.digest else {
            throw LunetteError(
                .io, "save to \(path): the blob \(name) has changed on disk",
                hint: "lunette system check --repair; then pull the image again")
        }
    }

    private func write(_ bytes: UnsafeRawBufferPointer, to file: FileDescriptor) throws(LunetteError) {
        let result = lnt_disk_append(file.number, bytes.baseAddress, bytes.count)
        if result < 0 {
            throw LunetteError(
                errorCode(forErrno: -result), "save to \(displayable(path)): \(errnoText(-result))", target: path, errno: -result,
                hint: -result == ErrorNumber.noSpace ? "the disk is full" : nil)
        }
    }
}
