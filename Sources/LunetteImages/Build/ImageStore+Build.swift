internal import LunetteLinux
package import LunetteSpec

extension ImageStore {
    /// Makes an image: the base's layers, one layer of everything copied, one for each command, and the merged config.
    ///
    /// The same inputs give the same layers; with `spec.timestamp` the whole image has the same digest each time.
    /// - Parameters:
    ///   - runner: runs the commands; needed only when there are any.
    ///   - output: receives what the commands print.
    ///   - progress: the base's pull, then `copy`, `run`, `commit`.
    /// - Throws: what `pull` throws for the base; `invalid_argument` with the step; `exit_status` when a command fails; `unsupported` without a runner.
    package func build(
        _ spec: BuildSpec, runner: (any BuildRunner)?, output: (@Sendable ([UInt8]) -> Void)? = nil, progress: ImageProgressHandler? = nil
    ) async throws(LunetteError) -> ImageRecord {
        let tag: String? = if let tag = spec.tag { try Reference(tag).description } else { nil }
        let platform: Platform = if let platform = spec.platform { try Platform(platform) } else { .native }
        guard spec.run.isEmpty || runner != nil else {
            throw LunetteError(.unsupported, "build: this engine can't run commands", path: "run")
        }
        let reporter = ProgressReporter(progress)
        var state = BuildState(platform: platform)
        if let from = spec.from {
            let base = try await pull(from, options: RegistryOptions(platform: spec.platform), progress: progress)
            let image = try stored(base)
            state.config = image.config
            // Docker's names for the same things have no place in an OCI manifest.
            state.layers = image.manifest.layers.map { layer in
                var layer = layer
                switch layer.mediaType.layerCompression {
                case .gzip?: layer.mediaType = .layerTarGzip
                case .zstd?: layer.mediaType = .layerTarZstd
                default: layer.mediaType = .layerTar
                }
                return layer
            }
        }
        let cancel = CancelFlag()
        let start = state
        return try await cancellable(cancel) { () async throws(LunetteError) in
            var state = start
            // What is made here belongs to no image until the end.
            defer { release(state.leases) }
            state.lease(start.layers.map(\.digest.hex) + start.config.diffIDs.map(\.hex), in: self)
            if !spec.copy.isEmpty { try await copy(spec, &state, cancel, reporter) }
            state.merge(spec.config)
            for (index, command) in spec.run.enumerated() {
                try await run(command, index, spec, &state, runner!, output, cancel, reporter)
            }
            state.seal(spec)
            let image = try await finish(state)
            reporter.report("commit")
            return try await commit(image, pending: [], reference: tag)
        }
    }

    fileprivate func release(_ names: [String]) {
        withState { state in
            for name in names { if let count = state.leases[name] { state.leases[name] = count > 1 ? count - 1 : nil } }
        }
    }

    /// The lower folders of what is built so far, top first.
    private func lower(_ state: BuildState) -> [String] { state.config.diffIDs.reversed().map { snapshots.path(of: $0.hex) } }

    private func copy(
        _ spec: BuildSpec, _ state: inout BuildState, _ cancel: CancelFlag, _ reporter: ProgressReporter
    ) async throws(LunetteError) {
        reporter.report("copy", nil, 0, of: Int64(spec.copy.count))
        let paths = lower(state)
        let made = try await onStageThread { [content] () throws(LunetteError) in
            let writer = try LayerWriter(content, what: "build: copy", cancel: cancel)
            do throws(LunetteError) {
                var step = CopyStep(spec, view: try MergedView(paths), writer: writer)
                try step.run()
                return try writer.finish()
            } catch {
                writer.discard()
                throw error
            }
        }
        let items = spec.copy.map { "\($0.from) \($0.to)" }.joined(separator: ", ")
        try await add(made, "copy " + items, spec, &state, cancel)
        reporter.report("copy", made.layer.digest.description, Int64(spec.copy.count), of: Int64(spec.copy.count))
    }

    private func run(
        _ command: BuildSpec.Command, _ index: Int, _ spec: BuildSpec, _ state: inout BuildState, _ runner: any BuildRunner,
        _ output: (@Sendable ([UInt8]) -> Void)?, _ cancel: CancelFlag, _ reporter: ProgressReporter
    ) async throws(LunetteError) {
        reporter.report("run", nil, Int64(index), of: Int64(spec.run.count))
        let name = "\(UInt64.random(in: 0...UInt64.max))"
        let folder = try await onStageThread { [rootDirectory] () throws(LunetteError) in
            try atBorder("build: make a folder for the command") { () throws(SystemCallError) in
                let folder = try rootDirectory.makeDirectory("builds").makeDirectory(name)
                _ = try folder.makeDirectory("upper", mode: 0o755)
                _ = try folder.makeDirectory("work")
                return folder
            }
        }
        let path = "\(root)/builds/\(name)"
        let args =
            switch command {
            case .shell(let line): (state.config.config.shell.isEmpty ? ["/bin/sh", "-c"] : state.config.config.shell) + [line]
            case .exec(let args): args
            }
        let process = state.config.config
        let step = BuildRun(
            lower: lower(state), upper: "\(path)/upper", work: "\(path)/work", args: args, env: process.env,
            workdir: process.workingDir.isEmpty ? "/" : process.workingDir, user: process.user)
        do throws(LunetteError) {
            let code = try await runner.run(step, output: output ?? { _ in })
            guard code == 0 else {
                throw LunetteError(
                    .exitStatus, "build: the command \"\(displayable(command.text, limit: 120))\" ended with \(code)",
                    path: "run[\(index + 1)]",
                    details: ["exit_code": .int(Int64(code))])
            }
            let timestamp = spec.timestamp
            let made = try await onStageThread { [content] () throws(LunetteError) in
                let writer = try LayerWriter(content, what: "build: run", cancel: cancel)
                do throws(LunetteError) {
                    let upper = try atBorder("build: read what the command changed") { () throws(SystemCallError) in
                        try folder.openDirectory("upper")
                    }
                    try UpperDiff(writer: writer, timestamp: timestamp).write(upper)
                    return try writer.finish()
                } catch {
                    writer.discard()
                    throw error
                }
            }
            try await removeBuild(name)
            try await add(made, "run " + command.text, spec, &state, cancel)
        } catch {
            // Best effort: what stays is swept when the store is opened, and the first failure is what counts.
            try? await removeBuild(name)
            throw error
        }
    }

    private func removeBuild(_ name: String) async throws(LunetteError) {
        try await onStageThread { [rootDirectory] () throws(LunetteError) in
            try atBorder("build: remove the command's folder") { () throws(SystemCallError) in
                try rootDirectory.openDirectory("builds").removeTree(name)
            }
        }
    }

    /// Takes a new layer into the image and unpacks it: the next step stands on it.
    private func add(
        _ made: (layer: Descriptor, diffID: Digest), _ by: String, _ spec: BuildSpec, _ state: inout BuildState, _ cancel: CancelFlag
    ) async throws(LunetteError) {
        state.lease([made.layer.digest.hex, made.diffID.hex], in: self)
        state.layers.append(made.layer)
        state.config.diffIDs.append(made.diffID)
        state.config.history.append(.init(created: state.created(spec), createdBy: "lunette build: \(by)"))
        try await onStageThread { [self] () throws(LunetteError) in
            guard let pending = try unpack(made.layer, diffID: made.diffID, cancel: cancel, progress: nil) else { return }
            faultPoint("image.unpacked")
            try snapshots.synchronize()
            try snapshots.publish(pending)
        }
    }

    private func finish(_ state: BuildState) async throws(LunetteError) -> StoredImage {
        try await onStageThread { [content] () throws(LunetteError) in
            let config = try content.write(Array(JSON.encode(state.config.value).utf8), mediaType: .imageConfig)
            let manifest = Manifest(config: config, layers: state.layers)
            return try StoredImage(try content.write(Array(JSON.encode(manifest.value).utf8), mediaType: .imageManifest), from: content)
        }
    }
}

/// An image on its way.
private struct BuildState: Sendable {
    var config: ImageConfig
    var layers: [Descriptor] = []
    var leases: [String] = []

    init(platform: Platform) { config = ImageConfig(platform: platform) }

    mutating func lease(_ names: [String], in store: ImageStore) {
        leases += names
        store.withState { state in for name in names { state.leases[name, default: 0] += 1 } }
    }

    func created(_ spec: BuildSpec) -> String { Timestamp.text(wholeSeconds: spec.timestamp ?? Int64(SystemClock.now)) }

    mutating func merge(_ new: BuildSpec.Config) {
        if let entrypoint = new.entrypoint {
            config.config.entrypoint = entrypoint
            // As with Docker: arguments of the base were for the base's entrypoint.
            if new.args == nil { config.config.cmd = [] }
        }
        if let args = new.args { config.config.cmd = args }
        if let workdir = new.workdir { config.config.workingDir = workdir }
        if let user = new.user { config.config.user = user }
        for (key, value) in new.env {
            let line = "\(key)=\(value)"
            if let known = config.config.env.firstIndex(where: { $0.hasPrefix(key + "=") }) {
                config.config.env[known] = line
            } else {
                config.config.env.append(line)
            }
        }
        for (key, value) in new.labels { config.config.labels[key] = value }
        config.config.exposedPorts = Set(config.config.exposedPorts).union(new.exposedPorts).sorted()
        config.config.volumes = Set(config.config.volumes).union(new.volumes).sorted()
    }

    mutating func seal(_ spec: BuildSpec) {
        config.created = created(spec)
        config.author = nil
        config.history.append(.init(created: config.created, createdBy: "lunette build: config", emptyLayer: true))
    }
}
