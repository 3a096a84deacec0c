extension ContainerSpec {
    /// Decodes and validates a spec.
    ///
    /// - Parameter path: where the spec stands in what the user wrote (empty, or `template`).
    /// - Throws: `invalid_argument` with the field's path and the nearest known name; `unsupported` for what is known but not built.
    public init(_ value: Value, path: String = "") throws(LunetteError) {
        var reader = try FieldReader(value, path: path)
        let pod = reader.value("pod")
        self.init(try Self.root(&reader, isPod: pod?.boolValue == true))
        try readProcess(&reader)
        try readFileSystems(&reader)
        try readNamespaces(&reader)
        try readLimits(&reader)
        try readLife(&reader)
        if let oci = reader.value("oci") {
            _ = try FieldReader(oci, path: reader.path(of: "oci"))
            self.oci = oci
        }
        try joinPod(pod, reader)
        try reader.finish()
        try validateTogether(reader)
    }

    /// `pod = true` makes a pod, `pod = "NAME"` shares the pod's network and ipc.
    private mutating func joinPod(_ pod: Value?, _ reader: FieldReader) throws(LunetteError) {
        switch pod {
        case nil, .null?, .bool(false)?: return
        case .bool(true)?: try refuseProgram(reader)
        case .string(let name)?:
            if !Digest.isHex(name) { try Names.validate(name, kind: "container", path: reader.path(of: "pod")) }
            for (field, mode) in [("network", network), ("ipc", ipc)] where mode != .own && mode != .container(name) {
                throw reader.failure("pod", "can't stand beside \(field): the pod's is shared", hint: "leave \(field) out")
            }
            (network, ipc) = (.container(name), .container(name))
        case let value?: throw reader.failure("pod", "expected true or a pod's name, got \(value.kind)")
        }
    }

    /// What a pod has no use for, because it runs nothing.
    private mutating func refuseProgram(_ reader: FieldReader) throws(LunetteError) {
        let meant = [
            ("entrypoint", entrypoint != nil), ("args", !args.isEmpty), ("env", !env.isEmpty), ("workdir", workdir != nil),
            ("user", user != nil), ("tty", hasTerminal), ("stdin", hasStdin), ("mounts", !mounts.isEmpty), ("devices", !devices.isEmpty),
            ("rlimits", !rlimits.isEmpty), ("health", health != nil), ("oci", oci != nil),
        ]
        if let (field, _) = meant.first(where: \.1) {
            throw reader.failure(field, "a pod runs no program", hint: "give it to the containers that share the pod's namespaces")
        }
        for (field, mode) in [("network", network), ("pid", pid), ("ipc", ipc)] {
            if case .container = mode { throw reader.failure(field, "a pod has namespaces of its own, for others to share") }
        }
        (hasInit, isRootReadonly) = (false, true)
    }

    private static func root(_ reader: inout FieldReader, isPod: Bool) throws(LunetteError) -> Root {
        let image = try reader.string("image")
        let rootfs = try reader.string("rootfs")
        if isPod {
            if image != nil { throw reader.failure("image", "a pod runs no program, so it has no image") }
            if rootfs != nil { throw reader.failure("rootfs", "a pod runs no program, so it has no files") }
            return .none
        }
        switch (image, rootfs) {
        case (let image?, nil):
            // An id, or the start of one, names an image too; anything else must be a reference.
            let isID = image.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) } && (4...64).contains(image.utf8.count)
            if !isID {
                do { _ = try Reference(image) } catch { throw reader.failure("image", error.message, hint: error.hint) }
            }
            return .image(image)
        case (nil, let rootfs?):
            return .rootfs(try ContainerPath.normalise(rootfs, path: reader.path(of: "rootfs")))
        case (nil, nil): throw reader.failure("image", "is required", hint: "give an image, or a rootfs folder")
        default: throw reader.failure("rootfs", "can't stand beside image")
        }
    }

    private mutating func readProcess(_ reader: inout FieldReader) throws(LunetteError) {
        if let name = try reader.string("name") {
            try Names.validate(name, kind: "container", path: reader.path(of: "name"))
            self.name = name
        }
        entrypoint = try reader.strings("entrypoint")
        try Names.validateArguments(entrypoint ?? [], path: reader.path(of: "entrypoint"))
        args = try reader.strings("args") ?? []
        try Names.validateArguments(args, path: reader.path(of: "args"))
        env = try reader.environment("env")
        if let workdir = try reader.string("workdir") {
            self.workdir = try ContainerPath.normaliseWorkingDirectory(workdir, path: reader.path(of: "workdir"))
        }
        user = try reader.user("user")
        if let hostname = try reader.string("hostname") {
            try Names.validateHostname(hostname, path: reader.path(of: "hostname"))
            self.hostname = hostname
        }
        labels = try reader.dictionary("labels")
        for key in labels.keys.sorted() {
            try Names.validateLabel(key, labels[key]!, path: reader.path(of: "labels.\(displayable(key, limit: 64))"))
        }
        hasTerminal = try reader.bool("tty") ?? false
        hasStdin = try reader.bool("stdin") ?? false
        hasInit = try reader.bool("init") ?? true
    }

    /// The most mounts that a spec may name.
    private static let mountLimit = 1000

    private mutating func readFileSystems(_ reader: inout FieldReader) throws(LunetteError) {
        let tables = try reader.tables("mounts")
        // Each is work for the engine at every start; no container has needed a tenth of this (attack 15).
        guard tables.count <= Self.mountLimit else {
            throw LunetteError(
                .resourceExhausted, "\(tables.count) mounts, more than \(Self.mountLimit)", path: reader.path(of: "mounts"),
                hint: "mount a folder that holds them all")
        }
        var targets: Set<String> = []
        for var table in tables {
            let mount = try MountSpec(reading: &table)
            guard targets.insert(mount.target).inserted else {
                throw table.failure("target", "\"\(displayable(mount.target))\" is mounted twice")
            }
            mounts.append(mount)
        }
        isRootReadonly = try reader.bool("readonly_rootfs") ?? false
        for (index, item) in (try reader.list("devices") ?? []).enumerated() {
            devices.append(try DeviceSpec(item, path: reader.path(of: "devices[\(index + 1)]")))
        }
    }

    private mutating func readNamespaces(_ reader: inout FieldReader) throws(LunetteError) {
        network = try reader.networkMode("network")
        pid = try reader.namespaceMode("pid")
        ipc = try reader.namespaceMode("ipc")
        dns = try reader.strings("dns") ?? []
        for (index, address) in dns.enumerated() where !InternetAddress.isAddress(address) {
            throw reader.failure(
                "dns[\(index + 1)]", "\"\(displayable(address, limit: 64))\" is not an address",
                hint: "give a name server's own, such as 9.9.9.9 or 2620:fe::fe")
        }
        if reader.value("publish") != nil {
            throw reader.unsupported("publish", "published ports need a network, and those aren't built yet")
        }
    }

    private mutating func readLimits(_ reader: inout FieldReader) throws(LunetteError) {
        if var table = try reader.table("resources") { resources = try ResourceSpec(reading: &table) }
        rlimits = try reader.rlimits("rlimits")
        sysctls = try reader.dictionary("sysctls")
        if var table = try reader.table("security") { security = try SecuritySpec(reading: &table) }
    }

    private mutating func readLife(_ reader: inout FieldReader) throws(LunetteError) {
        restart = try RestartSpec(reading: &reader, key: "restart")
        if var table = try reader.table("stop") { stop = try StopSpec(reading: &table) }
        if var table = try reader.table("log") { log = try LogSpec(reading: &table) }
        removesOnExit = try reader.bool("remove_on_exit") ?? false
        timeLimit = try reader.seconds("time_limit")
        if let timeLimit, timeLimit == 0 { throw reader.failure("time_limit", "must be longer than nothing") }
        if reader.value("health") == .bool(false) {
            hasNoHealth = true
        } else if var table = try reader.table("health") {
            health = try HealthSpec(reading: &table)
        }
        if let name = try reader.string("lifecycle") {
            try Names.validate(name, kind: "lifecycle", path: reader.path(of: "lifecycle"))
            lifecycle = name
        }
        if let lifetime = try reader.string("lifetime") {
            guard lifetime == "script" else {
                throw reader.failure("lifetime", "\"\(displayable(lifetime, limit: 32))\" is not \"script\"")
            }
            endsWithScript = true
        }
    }

    private func validateTogether(_ reader: FieldReader) throws(LunetteError) {
        for name in sysctls.keys.sorted() {
            try Sysctls.validate(
                name, sysctls[name]!, ownsNetwork: network == .own, ownsIPC: ipc == .own,
                path: reader.path(of: "sysctls.\(displayable(name, limit: 64))")
            )
        }
        if restart.policy != .never, removesOnExit {
            throw reader.failure(
                "remove_on_exit", "can't stand beside a restart policy",
                hint: "what is removed can't be started again: leave one of them out")
        }
        if health?.onUnhealthy == .restart, removesOnExit {
            throw reader.failure(
                "remove_on_exit", "can't stand beside on_unhealthy = \"restart\"",
                hint: "what is removed can't be started again: leave one of them out")
        }
        if case .rootfs = root, entrypoint == nil, args.isEmpty, oci == nil {
            throw reader.failure("args", "a rootfs has no program of its own: args are required")
        }
        if entrypoint == [], args.isEmpty, oci == nil { throw reader.failure("args", "an empty entrypoint leaves nothing to run") }
        if security.hasUserNamespace, let user, user.largestID >= 65536 {
            throw reader.failure("user", "\(user) is outside the container's 65536 ids")
        }
    }
}

extension FieldReader {
    /// `env = { NAME = value }`.
    mutating func environment(_ key: String) throws(LunetteError) -> [String: String] {
        let result = try dictionary(key)
        for name in result.keys.sorted() {
            try Names.validateEnvironment(name, result[name]!, path: path(of: "\(key).\(displayable(name, limit: 64))"))
        }
        return result
    }

    /// A user, as text or a plain number.
    mutating func user(_ key: String) throws(LunetteError) -> UserString? {
        guard let value = value(key) else { return nil }
        let text: String
        switch value {
        case .string(let string): text = string
        case .int(let number): text = String(number)
        default:
            guard let number = value.intValue else { throw failure(key, "expected a user's name or number, got \(value.kind)") }
            text = String(number)
        }
        do { return try UserString(text) } catch { throw failure(key, error.message, hint: error.hint) }
    }
}
