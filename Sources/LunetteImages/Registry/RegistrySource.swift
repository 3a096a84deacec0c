internal import LunetteLinux
internal import LunetteSpec

/// Manifests and blobs of one repository, as one endpoint gives them.
struct RegistrySource: BlobSource {
    let client: RegistryClient
    let name: String
    let phase = "download"

    /// A manifest or index by tag or digest: bounded, and by digest verified.
    func document(_ target: String, expected: Descriptor?) throws(LunetteError) -> (bytes: [UInt8], descriptor: Descriptor) {
        let what = "pull \(name)"
        let accept = MediaType.manifestKinds.map(\.rawValue).joined(separator: ", ")
        let response = try client.send("GET", client.url("manifests/\(target)"), headers: [("Accept", accept)], what: what)
        guard response.status == 200 else { throw client.unexpected(response, what, missing: "image \(name)") }
        let digest = ContentHash.digest(of: response.body)
        // Registries need not send it, and a tag is no digest: then there is nothing to hold the bytes to yet.
        let announced = response.headers["docker-content-digest"].flatMap { try? Digest($0) }
        let wanted = expected?.digest ?? (try? Digest(target)) ?? announced
        guard wanted == nil || wanted == digest, expected == nil || expected!.size == Int64(response.body.count) else {
            throw LunetteError(
                .io, "\(what): the manifest from \(client.endpoint.host) hashes to \(digest), expected was \(wanted!)", target: name,
                hint: "the registry or something in between is damaged or was tampered with")
        }
        var type = response.headers["content-type"].map { MediaType(rawValue: trimmed($0.prefix { $0 != ";" })) } ?? expected?.mediaType
        if let known = type, !known.isManifest, !known.isIndex { type = expected?.mediaType }
        let document = try ImageDocument.decode(response.body, expected: expected?.mediaType ?? type, source: "manifest \(digest)")
        let stated: MediaType =
            switch document {
            case .manifest(let manifest): manifest.mediaType
            case .index(let index): index.mediaType
            }
        return (response.body, Descriptor(mediaType: stated, digest: digest, size: Int64(response.body.count)))
    }

    func fetch(_ blob: Descriptor, into content: ContentStore, cancel: CancelFlag, progress: (Int64) -> Void) throws(LunetteError) {
        let what = "pull \(name): blob \(blob.digest)"
        let writer = try BlobWriter(content, blob, resume: true)
        var wasResumed = writer.offset > 0
        var failures = 0
        while true {
            if writer.offset < blob.size || blob.size == 0 {
                let before = writer.offset
                do throws(LunetteError) {
                    try download(blob, into: writer, what: what, progress: progress)
                } catch {
                    guard error.code == .io, error.details == Self.isBroken else {
                        // Not a matter of trying again: what is here is wrong, unwanted, or in the way on a full disk.
                        writer.discard()
                        throw error
                    }
                    // What did arrive is kept; a server that gives a little each time is waited for, one that gives nothing isn't for long.
                    failures = writer.offset > before ? 1 : failures + 1
                    guard failures < RegistryClient.maximumTries else { throw error }
                    try client.wait(RegistryClient.pause(after: failures), what)
                    wasResumed = true
                    continue
                }
            }
            do throws(LunetteError) { return try writer.commit() } catch {
                // A part of an earlier try may have been bad: once more from the start, then it's the registry's fault.
                guard wasResumed, error.code == .io else { throw error }
                wasResumed = false
                return try fetch(blob, into: content, cancel: cancel, progress: progress)
            }
        }
    }

    /// Marks the failures after which going on at the offset makes sense.
    private static let isBroken: Value = ["broken": true]

    private func download(_ blob: Descriptor, into writer: BlobWriter, what: String, progress: (Int64) -> Void) throws(LunetteError) {
        let start = writer.offset
        var headers: [(name: String, value: String)] = [("Accept", "*/*")]
        if start > 0 { headers.append(("Range", "bytes=\(start)-")) }
        var sinkFailure: LunetteError?
        let response: HTTPResponse
        do throws(LunetteError) {
            // The closures live as long as this call.
            response = try withoutActuallyEscaping(progress) { (progress) throws(LunetteError) in
                try client.send(
                    "GET", client.url("blobs/\(blob.digest)"), headers: headers, what: what,
                    head: { (head) throws(LunetteError) in
                        // A server without ranges starts over, and so do we.
                        if head.status != 206 || !Self.begins(at: writer.offset, head) { try writer.restart() }
                    },
                    sink: { (bytes) throws(LunetteError) in
                        do throws(LunetteError) { try writer.append(bytes) } catch {
                            sinkFailure = error
                            throw error
                        }
                        progress(writer.offset)
                    })
            }
        } catch {
            if let sinkFailure { throw sinkFailure }
            var error = error
            if error.code == .io, error.message.contains("connection to") { error.details = Self.isBroken }
            throw error
        }
        switch response.status {
        case 200, 206:
            guard writer.offset == blob.size else {
                throw LunetteError(
                    .io, "\(what): \(client.endpoint.host) gave \(writer.offset) of \(blob.size) bytes", target: client.endpoint.host,
                    details: Self.isBroken)
            }
        // Our part is longer than what is there: it was of something else.
        case 416 where start > 0:
            try writer.restart()
            throw LunetteError(
                .io, "\(what): \(client.endpoint.host) can't resume at \(start)", target: client.endpoint.host, details: Self.isBroken)
        default: throw client.unexpected(response, what, missing: "blob \(blob.digest)")
        }
    }

    private static func begins(at offset: Int64, _ head: HTTPResponse) -> Bool {
        guard let range = head.headers["content-range"], range.hasPrefix("bytes ") else { return false }
        return Int64(range.dropFirst(6).prefix { $0 != "-" }) == offset
    }
}
