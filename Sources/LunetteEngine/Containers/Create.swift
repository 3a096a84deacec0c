import LunetteAPI
import LunetteImages
import LunetteLinux
import LunetteSpec
import Synchronization

extension Engine {
    func createContainer(_ call: Call, _ session: Session) async throws(LunetteError) -> ContainerRecord {
        if let made = await madeBefore(by: call) { return made }
        var arguments = try call.arguments()
        let spec = try decodeSpec(arguments.value("spec"))
        try arguments.finish()
        return try await create(spec, call, session)
    }

    /// Creates and starts; a start that fails takes the container back, so that the call is done wholly or not at all.
    func runContainer(_ call: Call, _ session: Session) async throws(LunetteError) -> ContainerRecord {
        let begin = monotonicNanoseconds()
        var arguments = try call.arguments()
        let value = arguments.value("spec")
        let streams = try Streams(&arguments, call)
        defer { streams.close() }
        try arguments.finish()
        let record: ContainerRecord
        let isNew: Bool
        if let made = await madeBefore(by: call) {
            // An engine died in this call. What it made is there; whether it had started is in its state.
            guard made.state.status == .created else { return made }
            (record, isNew) = (made, false)
        } else {
            (record, isNew) = (try await create(try decodeSpec(value), call, session, startsNow: true), true)
        }
        do throws(LunetteError) {
            return try await targets.withTarget("container/\(record.id)", for: call) { () async throws(LunetteError) in
                // Somebody may have removed it since: launched all the same, its files would be nobody's.
                try await start(
                    try await state.container(record.id), call, streams: streams, isFirst: true, hasRow: isNew, since: begin)
            }
        } catch {
            await takeBack(record.id, call)
            throw error
        }
    }

    /// Makes a container as described; equal: nothing; what may change is changed; else `conflict`.
    func applyContainer(_ call: Call, _ session: Session) async throws(LunetteError) -> ContainerRecord {
        if let made = await madeBefore(by: call) { return made }
        var arguments = try call.arguments()
        let name = try arguments.required("name")
        guard var map = arguments.value("spec")?.mapValue else { throw arguments.failure("spec", "is required") }
        try arguments.finish()
        map["name"] = .string(name)
        let spec = try decodeSpec(.map(map))
        return try await targets.withTarget("container-name/\(name)", for: call) { () async throws(LunetteError) in
            let found = try state.findContainer(name).flatMap { $0.name == name ? $0 : nil }
            try call.checkJudged(name, about: found?.id)
            guard let record = found else {
                let record = try await create(spec, call, session, startsNow: true)
                return try await targets.withTarget("container/\(record.id)", for: call) { () async throws(LunetteError) in
                    do throws(LunetteError) {
                        return try await start(
                            try await state.container(record.id), call, streams: Streams(), isFirst: true, hasRow: true,
                            since: monotonicNanoseconds())
                    } catch {
                        await takeBack(record.id, call)
                        throw error
                    }
                }
            }
            let comparison = record.comparison(with: spec)
            if comparison.isSame { return record }
            if let conflict = comparison.conflict("container", name, path: "spec") { throw conflict }
            return try await targets.withTarget("container/\(record.id)", for: call) { () async throws(LunetteError) in
                let present = try await state.container(record.id)
                let change = try await asked(present.comparison(with: spec).change, of: present, call)
                return try await update(present, by: change, requested: spec.value, call) { $0.handle }
            }
        }
    }

    /// The container that an earlier sending of the same request made.
    private func madeBefore(by call: Call) async -> ContainerRecord? {
        guard state.knownRequests.withLock({ $0.contains(call.request.id) }) else { return nil }
        return await state.containerMade(by: call.request.id)
    }

    /// Decodes a spec as clients write it: handles stand for names, a command line may be one string.
    /// - Parameter path: where it stands in the call, for errors.
    func decodeSpec(_ value: Value?, path: String = "") throws(LunetteError) -> ContainerSpec {
        guard var map = value?.mapValue else { throw LunetteError(.invalidArgument, "is required", path: "spec") }
        if let image = map["image"], let word = Handle.word(image) { map["image"] = .string(word) }
        for key in ["args", "entrypoint"] {
            if let line = map[key]?.stringValue { map[key] = ["/bin/sh", "-c", .string(line)] }
        }
        if let mounts = map["mounts"]?.arrayValue {
            map["mounts"] = .array(
                mounts.map { mount in
                    guard var fields = mount.mapValue, let source = fields["source"], source.mapValue != nil, let name = source["name"]
                    else { return mount }
                    fields["source"] = name
                    return .map(fields)
                })
        }
        return try ContainerSpec(.map(map), path: path)
    }

    // MARK: The way of a creation

    /// Hooks, image, volumes, name and ids; then one commit. Until it nothing is left behind; after it the container stands.
    /// - Parameter startsNow: also writes the ledger's row of the run that follows, which saves that a commit of its own.
    private func create(
        _ asked: ContainerSpec, _ call: Call, _ session: Session, startsNow: Bool = false
    ) async throws(LunetteError) -> ContainerRecord {
        try await drafted(call) { draft async throws(LunetteError) in
            let wanted = try await askForContainer(asked, call, &draft)
            try await draftContainer(wanted, call, session, requestID: call.request.id, &draft)
            if startsNow { draft.runs = draft.containers.map { LedgerRow(run: $0, call) } }
            try await make(&draft, call)
            try call.checkCancellation()
            faultPoint("create.before-commit")
            try await commit(&draft, call)
            call.markOutcomeStored()
            faultPoint("create.committed")
            return draft.containers[0]
        }
    }

    /// A container whose making the hooks have let pass.
    struct WantedContainer: Sendable {
        let id: String
        /// As it was asked for, and as it came out.
        let asked: ContainerSpec
        var spec: ContainerSpec
        let image: ImageRecord?
        /// What hooks have changed.
        let notes: [String]
    }

    /// Asks the hooks, keeps the name and looks for what the spec names; nothing is made yet.
    func askForContainer(_ asked: ContainerSpec, _ call: Call, _ draft: inout Draft) async throws(LunetteError) -> WantedContainer {
        let id = Identifier.container()
        var spec = try await promiseName(asked, instead: nil, &draft)
        var notes: [String] = []
        if await hooks.wants("container.create") {
            let first = spec.name
            let question = Hooks.Question(
                event: "container.create", target: .init(kind: "container", id: id, name: spec.name!), spec: spec.value,
                labels: labels(of: spec), lifecycle: spec.lifecycle, isAmendable: true, isOfNew: true)
            let amended = try await hooks.amended(question, for: call) { value throws(LunetteError) in try ContainerSpec(value).value }
            spec = try ContainerSpec(amended.spec)
            notes = amended.notes
            spec = try await promiseName(spec, instead: first, &draft)
        }
        try call.checkCancellation()

        if spec.security.seccomp != .standard, spec.security.seccomp != .unconfined {
            let named = spec
            spec = try await blocking { () throws(LunetteError) in try named.withSeccompProfileRead() }
        }
        try await checkLifecycle(spec)
        let image = try await image(of: spec)
        if let image { try addImageVolumes(image, to: &spec) }
        if spec.isPod, spec.hostname == nil, let name = spec.name, Names.isHostname(name) { spec.hostname = name }
        try checkBinds(spec)
        return WantedContainer(id: id, asked: asked, spec: spec, image: image, notes: notes)
    }

    /// Keeps ids and volumes for it; nothing is made yet.
    /// - Parameter requestID: a repetition of that request gets it.
    func draftContainer(
        _ wanted: WantedContainer, _ call: Call, _ session: Session, requestID: String, _ draft: inout Draft
    ) async throws(LunetteError) {
        var (spec, image) = (wanted.spec, wanted.image)
        var record = ContainerRecord(
            id: wanted.id, name: spec.name!, spec: spec.value, image: image.map { self.identity(of: $0, as: spec) }, createdAt: clock.now(),
            requestID: requestID, actor: call.request.actor)
        record.requested = wanted.asked.value
        record.stopSignal = try stopSignal(spec, image)
        try await chooseIDs(&record, spec, &draft)
        record.volumes = try await volumes(for: &spec, call, requestID: requestID, &draft)
        record.spec = spec.value
        record.state.policy = RestartPolicy(spec.restart)
        if !spec.hasNoHealth, !spec.isPod { record.use(health: spec.health ?? HealthSpec(image: image?.config.config.healthcheck)) }
        record.state.removesOnExit = spec.removesOnExit
        record.state.hasTimeLimit = spec.timeLimit != nil
        if spec.endsWithScript {
            record.sessionID = session.id
            record.owner = ProcessIdentity.of(pid: call.request.actor.pid)
        }
        _ = try record.state.apply(.created, now: clock.now())
        record.remember("created", at: clock.now())
        for note in wanted.notes { record.remember("amended", note, at: clock.now()) }
        try call.checkCancellation()
        draft.containers.append(record)
    }

    /// - Parameter earlier: the name that was kept for it before its spec was amended.
    private func promiseName(
        _ spec: ContainerSpec, instead earlier: String?, _ draft: inout Draft
    ) async throws(LunetteError) -> ContainerSpec {
        var spec = spec
        if let name = spec.name {
            if name == earlier { return spec }
            try await promise(name, kind: "container", &draft)
        } else {
            spec.name = await state.promiseMadeUpName()
            draft.names.insert(.init(kind: "container", name: spec.name!))
        }
        if let earlier {
            draft.names.remove(.init(kind: "container", name: earlier))
            await state.withdraw(name: earlier, kind: "container")
        }
        return spec
    }

    private func labels(of spec: ContainerSpec) -> ValueMap { spec.value["labels"]?.mapValue ?? [:] }

    func image(of spec: ContainerSpec) async throws(LunetteError) -> ImageRecord? {
        guard case .image(let name) = spec.root else { return nil }
        if let image = try await images.find(name) { return image }
        let known = try await images.list().flatMap(\.references)
        throw LunetteError(
            .notFound, "there is no image \"\(displayable(name, limit: 200))\" here", path: "spec.image", target: name,
            hint: nearest(to: name, in: known).map { "did you mean \"\($0)\"?" }
                ?? "`lunette pull \(displayable(name, limit: 200))` brings it")
    }

    private func identity(of image: ImageRecord, as spec: ContainerSpec) -> ContainerRecord.ImageIdentity {
        guard case .image(let name) = spec.root else { return .init(reference: image.id, digest: image.digest, id: image.id) }
        let full = (try? Reference(name))?.description  // An id is no reference; it then stands for itself.
        return .init(
            reference: full.flatMap { image.references.contains($0) ? $0 : nil } ?? image.references.first ?? image.id,
            digest: image.digest, id: image.id)
    }

    /// An image's `volumes` become volumes without a name, as with Docker, unless something is mounted there already.
    private func addImageVolumes(_ image: ImageRecord, to spec: inout ContainerSpec) throws(LunetteError) {
        for path in image.config.config.volumes.sorted() {
            // As hostile as a user's mount: a volume on /proc would stand where the runtime's own file system belongs.
            let target = try ContainerPath.normalise(path, path: "image.config.Volumes")
            try MountSpec.validateTarget(target, path: "image.config.Volumes")
            if !spec.mounts.contains(where: { $0.target == target }) { spec.mounts.append(MountSpec(.volume, target: target)) }
        }
    }

    /// A typo shall not wait for the container's end to be found.
    func checkLifecycle(_ spec: ContainerSpec) async throws(LunetteError) {
        guard let name = spec.lifecycle, await hooks.lifecycle(name) == nil else { return }
        throw LunetteError(
            .notFound, "no lifecycle \"\(name)\" is loaded", path: "spec.lifecycle", target: name,
            hint: nearest(to: name, in: await hooks.lifecycles.keys.sorted()).map { "did you mean \"\($0)\"?" }
                ?? "lunette.lifecycle(\"\(name)\", { … }) in a resident script makes it, see docs/lua/lifecycles.md")
    }

    func checkBinds(_ spec: ContainerSpec) throws(LunetteError) {
        for (index, mount) in spec.mounts.enumerated() where mount.kind == .bind {
            guard host.hasPath(mount.source) else {
                throw LunetteError(
                    .notFound, "the host path \"\(displayable(mount.source, limit: 200))\" does not exist",
                    path: "spec.mounts[\(index + 1)].source",
                    hint: "make it first: a bind mount never makes host folders")
            }
        }
        if case .rootfs(let path) = spec.root, !host.hasPath(path) {
            throw LunetteError(.notFound, "the folder \"\(displayable(path, limit: 200))\" does not exist", path: "spec.rootfs")
        }
    }

    private func stopSignal(_ spec: ContainerSpec, _ image: ImageRecord?) throws(LunetteError) -> Int32 {
        if let signal = spec.stop.signal { return signal.number }
        // An image's odd signal is not the user's fault.
        if let text = image?.config.config.stopSignal, let signal = try? Signal(text) { return signal.number }
        return Signal.term.number
    }

    /// An id range of its own, or that of the containers whose namespaces it shares (the kernel ties namespaces to their user namespace).
    private func chooseIDs(_ record: inout ContainerRecord, _ spec: ContainerSpec, _ draft: inout Draft) async throws(LunetteError) {
        if let shared = try await state.promiseSharing(spec, among: draft.containers) {
            record.shares = shared.containers
            record.sharesRangeOf = shared.root
            record.idRange = shared.range
            if let range = shared.range { draft.ranges.append(range) }
            return
        }
        if IDRangeAllocator.shared != nil, !spec.security.hasUserNamespace {
            throw LunetteError(
                .unsupported, "without a user namespace of its own a container would have an ordinary user's engine in its hands",
                path: "spec.security.user_namespace", hint: "leave it out, or run the engine as root")
        }
        guard spec.security.hasUserNamespace else { return }
        // Nothing to lease: it is everyone's.
        if IDRangeAllocator.shared != nil { return }
        let range = try await state.promiseRange(reserved: reservedRanges)
        draft.ranges.append(range)
        record.idRange = range
    }

    /// Of the volumes that specs name those that aren't there: two calls that name the same new one are one after the other until the first
    /// is committed, and the second finds it.
    func holdMissingVolumes(of specs: [ContainerSpec], _ call: Call, _ draft: inout Draft) async throws(LunetteError) {
        var missing: [String] = []
        for mount in specs.flatMap(\.mounts) where mount.kind == .volume && !mount.source.isEmpty {
            if draft.volumes.contains(where: { $0.name == mount.source }) { continue }
            if try await state.findVolume(mount.source) == nil { missing.append("volume-name/\(mount.source)") }
        }
        try await hold(missing, for: call, &draft)
    }

    /// Finds or drafts the volumes that the spec mounts; those without a name get one.
    private func volumes(
        for spec: inout ContainerSpec, _ call: Call, requestID: String, _ draft: inout Draft
    ) async throws(LunetteError) -> [String] {
        try await holdMissingVolumes(of: [spec], call, &draft)
        var ids: [String] = []
        for (index, mount) in spec.mounts.enumerated() where mount.kind == .volume {
            let isAnonymous = mount.source.isEmpty
            let wanted = VolumeSpec(name: isAnonymous ? "anonymous-" + Identifier.short() : mount.source)
            var volume: VolumeRecord?
            if !isAnonymous {
                volume = draft.volumes.first { $0.name == wanted.name }
                if volume == nil { volume = try await state.findVolume(wanted.name) }
            }
            let found: VolumeRecord
            if let volume {
                found = volume
            } else {
                found = try await draftVolume(
                    wanted, call, requestID: "\(requestID)/volume/\(index)", isAnonymous: isAnonymous, &draft)
            }
            spec.mounts[index].source = found.name
            ids.append(found.id)
        }
        return ids
    }

    /// Undoes a creation whose start failed.
    private func takeBack(_ id: String, _ call: Call) async {
        guard let record = await state.containers[id] else { return }
        do throws(LunetteError) { try await erase(record, removesVolumes: true, call.part()) } catch {
            await state.note(degraded: "it couldn't be taken back after its start failed: \(error.message)", id)
        }
    }
}

extension RestartPolicy {
    init(_ spec: RestartSpec) {
        let kind: Kind =
            switch spec.policy {
            case .never: .never
            case .onFailure: .onFailure
            case .always: .always
            }
        self.init(
            kind: kind, initialBackoff: spec.initialDelay, maximumBackoff: spec.maximumDelay,
            maximumAttempts: spec.maximumAttempts.map { Int($0) })
    }
}

extension State {
    func promiseMadeUpName() -> String {
        let name = NameGenerator.next { isFree(containerName: $0) }
        promiseFree(name)
        return name
    }
}
