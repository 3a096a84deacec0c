internal import LunetteLinux
package import LunetteSpec

extension ImageStore {
    /// Brings an image from its registry (or a mirror) into the store and unpacks it.
    ///
    /// - Parameters:
    ///   - reference: `redis`, `ghcr.io/a/b:1`, `name@sha256:…`; with a digest the manifest must hash to it.
    ///   - options: `policy` missing (the default) asks the registry only for what isn't here, always looks for a newer one, never doesn't ask.
    ///   - progress: phases `resolve`, `download`, `unpack`, `commit`.
    /// - Throws: `not_found` (no such image, none for the platform, or policy never), `unauthenticated`, `denied`, `io` (registry out of reach, wrong
    ///   digest), `resource_exhausted` (disk full, too many requests), `cancelled`.
    package func pull(
        _ reference: String, options: RegistryOptions = RegistryOptions(), progress: ImageProgressHandler? = nil
    ) async throws(LunetteError) -> ImageRecord {
        let reference = try Reference(reference)
        let wanted: Platform? = if let platform = options.platform { try Platform(platform) } else { nil }
        let reporter = ProgressReporter(progress)
        // Twenty clients that want one image make one pull; the others then find it here.
        return try await gate.withLock("pull \(reference)") { () async throws(LunetteError) in
            if Task.isCancelled { throw LunetteError(.cancelled, "pull \(reference): cancelled") }
            if options.policy != .always, let here = try await local(reference, wanted) { return here }
            guard options.policy != .never else {
                throw LunetteError(
                    .notFound, "no image \"\(reference.familiar)\" in the store, and the pull policy is never",
                    target: reference.description,
                    hint: "lunette pull \(reference.familiar)")
            }
            reporter.report("resolve")
            return try await fetch(reference, wanted ?? .native, options, reporter)
        }
    }

    private func local(_ reference: Reference, _ platform: Platform?) async throws(LunetteError) -> ImageRecord? {
        guard let record = try await find(reference.description) else { return nil }
        if let platform, platform.fitness(of: record.config.platform) == nil { return nil }
        try await ensureUnpacked(record)
        return record
    }

    private func fetch(
        _ reference: Reference, _ platform: Platform, _ options: RegistryOptions, _ reporter: ProgressReporter
    ) async throws(LunetteError) -> ImageRecord {
        let configuration = try configuration.current()
        let endpoints = Endpoint.all(for: reference.registry, configuration, tls: options.tls, withMirrors: true)
        var mirrorFailure: LunetteError?
        for endpoint in endpoints {
            let cancel = CancelFlag()
            do throws(LunetteError) {
                return try await cancellable(cancel) { () async throws(LunetteError) in
                    let client = RegistryClient(
                        endpoint, repository: reference.repository, http: http,
                        credentials: Self.credentials(for: endpoint, options, configuration), actions: "pull", cancel: cancel)
                    let source = RegistrySource(client: client, name: reference.familiar)
                    let manifest = try await onStageThread { [content] () throws(LunetteError) in
                        try Self.resolve(reference, platform, source, content)
                    }
                    return try await assemble(
                        manifest, from: source, platform: platform, reference: reference.description, progress: reporter)
                }
            } catch {
                // A mirror that lacks it, or is down, is passed over; whatever the registry itself says counts.
                guard endpoint.isMirror, error.code != .cancelled, error.code != .resourceExhausted else {
                    var error = error
                    if let mirrorFailure { error.causes.append(mirrorFailure) }
                    throw error
                }
                mirrorFailure = error
            }
        }
        throw mirrorFailure ?? LunetteError(.internal, "no endpoint for \(reference)")
    }

    static func credentials(for endpoint: Endpoint, _ options: RegistryOptions, _ configuration: RegistryConfiguration) -> String? {
        // What the user gave is for the registry that was named; a mirror has credentials of its own or none.
        if !endpoint.isMirror, let username = options.username { return "\(username):\(options.password ?? "")" }
        return configuration.credentials[endpoint.host]
    }

    /// Fetches the manifest, through an index to the platform's, and stores it.
    private static func resolve(
        _ reference: Reference, _ platform: Platform, _ source: RegistrySource, _ content: ContentStore
    ) throws(LunetteError) -> Descriptor {
        var target = reference.target
        var expected: Descriptor?
        for _ in 0..<3 {
            let (bytes, descriptor) = try source.document(target, expected: expected)
            guard
                case .index(let index) = try ImageDocument.decode(
                    bytes, expected: descriptor.mediaType, source: "manifest \(descriptor.digest)")
            else {
                return try content.write(bytes, mediaType: descriptor.mediaType)
            }
            guard let chosen = index.manifest(for: platform) else {
                let known = index.manifests.compactMap { $0.platform?.description }.filter { !$0.hasPrefix("unknown") }
                throw LunetteError(
                    .notFound, "pull \(source.name): there is no image for \(platform)", target: reference.description,
                    hint: known.isEmpty ? nil : "it is made for \(known.joined(separator: ", "))")
            }
            guard chosen.size <= ContentStore.documentLimit else {
                throw LunetteError(.resourceExhausted, "pull \(source.name): a manifest of \(chosen.size) bytes is too large")
            }
            target = chosen.digest.description
            expected = chosen
        }
        throw LunetteError(.invalidArgument, "pull \(source.name): its indexes are nested too deep")
    }
}
