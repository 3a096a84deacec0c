import LunetteAPI
import LunetteImages
import LunetteSpec
import Synchronization

extension Functions {
    static let images: [String: Function] = [
        "image.pull": .changing { engine, call, _ async throws(LunetteError) in try await engine.pullImage(call) },
        "image.load": .changing { engine, call, _ async throws(LunetteError) in try await engine.loadImage(call) },
        "image.save": .changing { engine, call, _ async throws(LunetteError) in try await engine.saveImages(call) },
        "image.push": .changing { engine, call, _ async throws(LunetteError) in try await engine.pushImage(call) },
        "image.build": .changing { engine, call, _ async throws(LunetteError) in try await engine.buildImage(call) },
        "image.get": .reading { engine, call, _ async throws(LunetteError) in try await engine.imageTarget(call).handle },
        "image.find": .reading { engine, call, _ async throws(LunetteError) in
            var arguments = try call.arguments()
            let word = try arguments.target("image")
            try arguments.finish()
            return try await engine.images.find(word)?.handle ?? .null
        },
        "image.list": .reading { engine, call, _ async throws(LunetteError) in .array(try await engine.matchingImages(call).map(\.handle))
        },
        "image.inspect_all": .reading { engine, call, _ async throws(LunetteError) in
            .array(try await engine.matchingImages(call).map(\.inspected))
        },
        "image.inspect": .reading { engine, call, _ async throws(LunetteError) in try await engine.imageTarget(call).inspected },
        "image.history": .reading { engine, call, _ async throws(LunetteError) in
            .array(try await engine.images.history(try await engine.imageTarget(call).id).map(\.value))
        },
        "image.tag": .changing { engine, call, _ async throws(LunetteError) in try await engine.tagImage(call) },
        "image.remove": .changing { engine, call, _ async throws(LunetteError) in try await engine.removeImage(call) },
        "image.prune": .changing { engine, call, _ async throws(LunetteError) in
            var arguments = try call.arguments()
            let all = try arguments.bool("all") ?? false
            let labels = try LabelFilter(reading: &arguments)
            try arguments.finish()
            return try await engine.pruneImages(all: all, labels: labels, call)
        },
    ]
}

/// A reference as people write it; what can't be read as one (an id) stands for itself.
private func familiar(_ reference: String) -> String { (try? Reference(reference))?.familiar ?? reference }

extension ImageRecord {
    var handle: Value { Handle.image(id: id, name: references.first.map(familiar) ?? shortID) }
    private var shortID: String { String(id.drop { $0 != ":" }.dropFirst().prefix(12)) }

    /// `img:inspect()`, with what the registry's record adds to the store's.
    var inspected: Value {
        var map = value.mapValue ?? [:]
        var labels = ValueMap()
        for (key, value) in config.config.labels.sorted(by: { $0.key < $1.key }) { labels[key] = .string(value) }
        if map["labels"] == nil { map["labels"] = .map(labels) }
        if map["platform"] == nil { map["platform"] = .string(config.platform.description) }
        if map["created_at"] == nil { map["created_at"] = 0 }
        return .map(map)
    }
}

private enum SaveFormat: String, CaseIterable {
    case oci
    case folder = "oci-dir"
    case docker
}

extension Engine {
    func imageTarget(_ call: Call) async throws(LunetteError) -> ImageRecord {
        var arguments = try call.arguments()
        let word = try arguments.target("image")
        try arguments.finish()
        return try await images.get(word)
    }

    func matchingImages(_ call: Call) async throws(LunetteError) -> [ImageRecord] {
        var arguments = try call.arguments()
        let labels = try LabelFilter(reading: &arguments)
        let reference = try arguments.string("reference")
        let dangling = try arguments.bool("dangling")
        try arguments.finish()
        return try await images.list().filter { image in
            (dangling == nil || dangling == image.references.isEmpty)
                && (reference == nil
                    || image.references.contains {
                        $0.hasPrefix(reference!) || familiar($0).hasPrefix(reference!)
                    })
                && labels.matches(image.config.config.labels)
        }
    }

    /// Ids of the images that containers stand on.
    func imagesInUse() async -> Set<String> { Set(await state.containers.values.compactMap { $0.image?.id }) }

    /// - Parameter id: the image's, where there is one.
    private func ask(_ event: String, image name: String, id: String? = nil, _ call: Call, spec: ValueMap) async throws(LunetteError) {
        guard await hooks.wants(event) else { return }
        _ = try await hooks.ask(
            .init(event: event, target: .init(kind: "image", id: id ?? name, name: name), spec: .map(spec)), for: call)
    }

    /// Asks of each name that goes away: a rule about one isn't passed by an image's having another.
    private func askForRemoval(of image: ImageRecord, _ references: [String], as word: String, _ call: Call) async throws(LunetteError) {
        for name in references.isEmpty ? [image.id] : references {
            try await ask(
                "image.remove", image: familiar(name), id: image.id, call, spec: ["image": .string(word), "reference": .string(name)])
        }
    }

    private func log(_ event: String, _ image: ImageRecord, _ call: Call, fields: ValueMap = [:]) async throws(LunetteError) {
        try await log(event, id: image.id, name: image.handle["name"]?.stringValue ?? image.id, call, fields: fields)
    }

    private func log(_ event: String, id: String, name: String, _ call: Call, fields: ValueMap = [:]) async throws(LunetteError) {
        var changes = Changes()
        changes.events = [
            PendingEvent(
                name: event, target: .init(kind: "image", id: id, name: name), fields: fields, actor: call.request.actor.value,
                cause: call.causeOfConsequences)
        ]
        try await state.commit(changes)
    }

    private func registryOptions(_ arguments: inout FieldReader) throws(LunetteError) -> RegistryOptions {
        RegistryOptions(
            policy: try arguments.choice("policy", PullPolicy.self) ?? .missing, platform: try arguments.string("platform"),
            username: try arguments.string("username"), password: try arguments.string("password"), tls: try arguments.bool("tls"))
    }

    /// Runs a store operation and sends its progress as chunks, the newest only when the caller is slow.
    private func withProgress<T: Sendable>(
        _ call: Call, wanted: Bool, _ body: (ImageProgressHandler?) async throws(LunetteError) -> T
    ) async throws(LunetteError) -> T {
        guard wanted, call.wantsChunks else { return try await body(nil) }
        let (stream, continuation) = AsyncStream.makeStream(of: ImageProgress.self, bufferingPolicy: .bufferingNewest(64))
        let sending = Task {
            do throws(LunetteError) { for await progress in stream { try await call.emit(progress.value) } } catch {
                // The caller is gone or refuses: its call is cancelled by the session, not from here.
            }
        }
        do throws(LunetteError) {
            let result = try await body { progress in _ = continuation.yield(progress) }
            continuation.finish()
            await sending.value
            return result
        } catch {
            continuation.finish()
            sending.cancel()
            throw error
        }
    }

    func pullImage(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let reference = try arguments.required("ref")
        let options = try registryOptions(&arguments)
        let progress = arguments.value("progress") != nil
        try arguments.finish()
        let full: String
        do throws(LunetteError) { full = try Reference(reference).description } catch {
            var error = error
            error.path = "ref"
            throw error
        }
        try await ask("image.pull", image: full, call, spec: ["ref": .string(full), "policy": .string(options.policy.rawValue)])
        let before = options.policy == .missing ? try await images.find(reference) : nil
        let image = try await withProgress(call, wanted: progress) { handler async throws(LunetteError) in
            try await images.pull(reference, options: options, progress: handler)
        }
        if before?.id != image.id {
            try await log("image.pulled", id: image.id, name: full, call, fields: ["digest": .string(image.digest)])
        }
        return Handle.image(id: image.id, name: familiar(reference))
    }

    func loadImage(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let streams = try Streams(&arguments, call)
        defer { streams.close() }
        let path = streams.stdin == nil ? try arguments.required("path") : "stdin"
        let tag = try arguments.string("tag")
        let progress = arguments.value("progress") != nil
        try arguments.finish()
        let loaded = try await withProgress(call, wanted: progress) { handler async throws(LunetteError) in
            try await images.load(path, file: streams.stdin, tag: tag, progress: handler)
        }
        for image in loaded { try await log("image.loaded", image, call) }
        guard let first = loaded.first else {
            throw LunetteError(.notFound, "\(displayable(path, limit: 200)) holds no image", path: "path")
        }
        return tag.map { Handle.image(id: first.id, name: familiar($0)) } ?? first.handle
    }

    func saveImages(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        guard let value = arguments.value("refs") else { throw arguments.failure("refs", "is required") }
        var names: [String] = []
        for item in value.arrayValue ?? [value] {
            guard let word = Handle.word(item) else { throw arguments.failure("refs", "expected images, got \(item.kind)") }
            names.append(word)
        }
        let streams = try Streams(&arguments, call)
        defer { streams.close() }
        let path = streams.stdout == nil ? try arguments.required("path") : "stdout"
        let format = try arguments.choice("format", SaveFormat.self) ?? .oci
        if streams.stdout != nil, format == .folder {
            throw arguments.failure("format", "a folder can't be written to a stream", hint: "name a path, or leave the format out")
        }
        let progress = arguments.value("progress") != nil
        try arguments.finish()
        // A tar of ours is both: an OCI layout, and a docker-archive by the manifest.json beside it.
        let destination = format == .folder && !path.hasSuffix("/") ? path + "/" : path
        try await withProgress(call, wanted: progress) { handler async throws(LunetteError) in
            try await images.save(names, to: destination, file: streams.stdout, progress: handler)
        }
        return .null
    }

    func pushImage(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        guard let word = arguments.value("ref").flatMap(Handle.word) else { throw arguments.failure("ref", "is required") }
        let target = try arguments.string("to")
        let options = try registryOptions(&arguments)
        let progress = arguments.value("progress") != nil
        try arguments.finish()
        try await ask("image.push", image: target ?? word, call, spec: ["ref": .string(word), "to": .string(target ?? word)])
        let image = try await withProgress(call, wanted: progress) { handler async throws(LunetteError) in
            try await images.push(word, to: target, options: options, progress: handler)
        }
        try await log("image.pushed", image, call, fields: ["to": .string(target ?? word)])
        return ["digest": .string(image.digest)]
    }

    func tagImage(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("image")
        let reference = try arguments.required("reference")
        try arguments.finish()
        let image = try await images.tag(word, as: reference)
        try await log("image.tagged", id: image.id, name: familiar(reference), call, fields: ["reference": .string(reference)])
        return Handle.image(id: image.id, name: familiar(reference))
    }

    func removeImage(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let word = try arguments.target("image")
        let force = try arguments.bool("force") ?? false
        try arguments.finish()
        let image = try await images.get(word)
        let named = (try? Reference(word))?.description  // An id is no reference.
        let isByName = named.map(image.references.contains) ?? false
        try await askForRemoval(of: image, isByName ? [named!] : image.references, as: word, call)
        try call.checkCancellation()
        // The store's index says that the image is gone before the outcome is kept: the row tells a repetition that it did that itself.
        let row = LedgerRow(.imageRemoval, call.request.id, detail: ["image": .string(word)])
        var intent = Changes()
        intent.ledger = [row]
        try await state.commit(intent)
        var done = Changes()
        done.closedLedger = [row.key]
        let removal: ImageRemoval
        do throws(LunetteError) {
            removal = try await images.remove(word, force: force, inUse: await imagesInUse())
        } catch {
            try await state.commit(done)
            throw error
        }
        try await log(
            "image.removed", id: image.id, name: isByName ? familiar(named!) : image.handle["name"]?.stringValue ?? image.id, call,
            fields: ["untagged": .array(removal.untagged.map(Value.string)), "removed": .bool(!removal.removed.isEmpty)])
        let result: Value = [
            "untagged": .array(removal.untagged.map(Value.string)), "removed": .bool(!removal.removed.isEmpty),
            "reclaimed": .int(removal.reclaimed),
        ]
        done.outcomes = [call.outcome(result)]
        try await state.commit(done)
        return result
    }

    func pruneImages(all: Bool, labels: LabelFilter = LabelFilter(), _ call: Call) async throws(LunetteError) -> Value {
        let before = try await images.list()
        var only: Set<String>?
        if await hooks.wants("image.remove") {
            let inUse = await imagesInUse()
            var allowed: Set<String> = []
            for image in before where all || image.references.isEmpty {
                guard !inUse.contains(image.id), labels.matches(image.config.config.labels) else { continue }
                do throws(LunetteError) {
                    try await askForRemoval(of: image, image.references, as: image.id, call)
                    allowed.insert(image.id)
                } catch {
                    // Kept by a hook: not prune's to decide.
                    guard error.code == .denied else { throw error }
                }
            }
            only = allowed
        }
        try call.checkCancellation()
        let removal = try await images.prune(all: all, labels: labels, inUse: await imagesInUse(), only: only)
        for image in before where removal.removed.contains(image.id) {
            try await log(
                "image.removed", image, call, fields: ["untagged": .array(image.references.map(Value.string)), "removed": true])
        }
        return ["removed": .array((removal.untagged + removal.removed).map(Value.string)), "reclaimed": .int(removal.reclaimed)]
    }

    func buildImage(_ call: Call) async throws(LunetteError) -> Value {
        var arguments = try call.arguments()
        let progress = arguments.value("progress") != nil
        let network = try arguments.string("network") ?? "none"
        guard ["none", "host"].contains(network) else {
            throw arguments.failure("network", "\"\(displayable(network, limit: 40))\" is not \"none\" or \"host\"")
        }
        var fields = call.request.arguments.mapValue ?? [:]
        fields["network"] = nil
        fields["progress"] = nil
        let spec = try BuildSpec(value: .map(fields), workingDirectory: "/")
        try await ask("image.build", image: spec.tag ?? "<build>", call, spec: fields)
        // Built by an earlier sending of this call, if the tag has moved since that began.
        let before = if let tag = spec.tag { try await images.find(tag) } else { ImageRecord?.none }
        if let earlier = try await earlierIntent(of: call, noting: .string(before?.id ?? "")), let tag = spec.tag, let before,
            earlier.stringValue != before.id
        {
            return Handle.image(id: before.id, name: familiar(tag))
        }
        let runner = ContainerBuildRunner(engine: self, call: call, network: network)
        let (lines, continuation) = AsyncStream.makeStream(of: [UInt8].self, bufferingPolicy: .bufferingOldest(4096))
        let sending = Task {
            do throws(LunetteError) {
                for await bytes in lines { try await call.emit(["phase": "run", "current": 0, "message": .text(bytes)]) }
            } catch {
                // As with progress: the session cancels the call.
            }
        }
        defer {
            continuation.finish()
            sending.cancel()
        }
        var output: (@Sendable ([UInt8]) -> Void)?
        if progress { output = { bytes in _ = continuation.yield(bytes) } }
        let image = try await withProgress(call, wanted: progress) { handler async throws(LunetteError) in
            try await images.build(spec, runner: runner, output: output, progress: handler)
        }
        continuation.finish()
        await sending.value
        try await log("image.built", image, call)
        return spec.tag.map { tag in Handle.image(id: image.id, name: familiar(tag)) } ?? image.handle
    }
}
