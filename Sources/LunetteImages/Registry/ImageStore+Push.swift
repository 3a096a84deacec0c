internal import LunetteLinux
package import LunetteSpec

extension ImageStore {
    /// Uploads an image to a registry: the blobs that aren't there yet, then the manifest.
    /// - Parameters:
    ///   - name: an image of the store.
    ///   - reference: where to; nil is `name` itself.
    ///   - progress: phase `upload`.
    package func push(
        _ name: String, to reference: String? = nil, options: RegistryOptions = RegistryOptions(), progress: ImageProgressHandler? = nil
    ) async throws(LunetteError) -> ImageRecord {
        let found = try await get(name)
        let image = try stored(found)
        let target = try Reference(reference ?? name)
        guard target.digest == nil || target.tag != nil else {
            throw LunetteError(.invalidArgument, "push \(name): a tag is needed to push to", target: name, hint: "lunette tag it first")
        }
        let configuration = try configuration.current()
        let endpoint = Endpoint.all(for: target.registry, configuration, tls: options.tls, withMirrors: false)[0]
        let reporter = ProgressReporter(progress)
        let cancel = CancelFlag()
        try await cancellable(cancel) { () async throws(LunetteError) in
            let client = RegistryClient(
                endpoint, repository: target.repository, http: http,
                credentials: Self.credentials(for: endpoint, options, configuration), actions: "pull,push", cancel: cancel)
            let pusher = Pusher(client: client, content: content, name: target.familiar, others: others(found, target))
            try await leasing(leases(of: image)) { () async throws(LunetteError) in
                let blobs = image.manifest.layers + [image.manifest.config]
                let failures = await withTaskGroup(of: LunetteError?.self) { group in
                    for blob in Set(blobs) {
                        group.addTask { [self] in
                            do throws(LunetteError) {
                                try await downloads.use { () async throws(LunetteError) in
                                    try await onStageThread { () throws(LunetteError) in
                                        try pusher.push(blob) { reporter.report("upload", blob.digest.description, $0, of: blob.size) }
                                    }
                                }
                                return nil
                            } catch {
                                cancel.cancel()
                                return error
                            }
                        }
                    }
                    var failures: [LunetteError] = []
                    for await failure in group { if let failure { failures.append(failure) } }
                    return failures
                }
                if let failure = failures.first(where: { $0.code != .cancelled }) ?? failures.first { throw failure }
                try await onStageThread { () throws(LunetteError) in try pusher.push(manifest: image.descriptor, as: target.tag ?? "latest")
                }
            }
        }
        return found
    }

    /// Repositories of the same registry that have this image too: its blobs can be mounted from there without an upload.
    private func others(_ image: ImageRecord, _ target: Reference) -> [String] {
        var result: [String] = []
        for name in image.references {
            // References of the store were parsed when they came in.
            if let reference = try? Reference(name), reference.registry == target.registry, reference.repository != target.repository {
                result.append(reference.repository)
            }
        }
        return result
    }
}

/// Uploads to one repository. Source: OCI distribution-spec, "Push". Blocks.
private struct Pusher: Sendable {
    let client: RegistryClient
    let content: ContentStore
    let name: String
    let others: [String]

    func push(_ blob: Descriptor, progress: @escaping (Int64) -> Void) throws(LunetteError) {
        let what = "push \(name): blob \(blob.digest)"
        let known = try client.send("HEAD", client.url("blobs/\(blob.digest)"), what: what)
        if known.status == 200 { return progress(blob.size) }
        guard [404, 202, 307].contains(known.status) || known.status == 405 else {
            throw client.unexpected(known, what, missing: "repository \(client.repository)")
        }
        var start = client.url("blobs/uploads/")
        if let other = others.first {
            start = Location.adding("from", other, to: Location.adding("mount", blob.digest.description, to: start))
        }
        let opened = try client.send("POST", start, body: .bytes([]), what: what)
        if opened.status == 201 { return progress(blob.size) }
        guard opened.status == 202, let location = opened.headers["location"] else {
            throw client.unexpected(opened, what, missing: "repository \(client.repository)")
        }
        let upload = Location.adding("digest", blob.digest.description, to: Location.resolve(location, against: start))
        let file = try content.open(blob.digest)
        let done = try client.send(
            "PUT", upload, headers: [("Content-Type", "application/octet-stream")], body: .file(fd: file.number, size: blob.size),
            what: what, tries: 1,
            sent: progress)
        file.close()
        guard done.status == 201 || done.status == 204 else { throw client.unexpected(done, what, missing: "upload") }
    }

    func push(manifest: Descriptor, as tag: String) throws(LunetteError) {
        let what = "push \(name)"
        let bytes = try content.document(manifest)
        let response = try client.send(
            "PUT", client.url("manifests/\(tag)"), headers: [("Content-Type", manifest.mediaType.rawValue)], body: .bytes(bytes), what: what
        )
        guard response.status == 201 || response.status == 200 else {
            throw client.unexpected(response, what, missing: "repository \(client.repository)")
        }
        // Registries need not send it; one that can't be read says nothing.
        if let stored = response.headers["docker-content-digest"].flatMap({ try? Digest($0) }), stored != manifest.digest {
            throw LunetteError(.io, "\(what): the registry stored \(stored), not \(manifest.digest)", target: name)
        }
    }
}
