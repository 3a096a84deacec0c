extension RuntimeSpec.ProcessSection {
    /// Merges what the spec and the image say about the program, by Docker's rules.
    init(container: ContainerSpec, image: ImageProcessConfig?, facts: HostFacts, hostname: String?) throws(LunetteError) {
        self.init(args: try Self.arguments(container, image), cwd: try Self.workingDirectory(container, image))
        terminal = container.hasTerminal
        env = Self.environment(container, image, hostname: hostname)
        user = try Self.user(container, image)
        capabilities = Capabilities(container.isPod ? [] : container.security.capabilities)
        noNewPrivileges = container.security.hasNoNewPrivileges
        rlimits = Self.limits(container, facts)
    }

    /// An entrypoint of the spec's own drops the image's arguments as well; without one, the spec's arguments replace the image's.
    private static func arguments(_ container: ContainerSpec, _ image: ImageProcessConfig?) throws(LunetteError) -> [String] {
        if container.isPod { return [] }
        let result: [String]
        if let entrypoint = container.entrypoint {
            result = entrypoint + container.args
        } else {
            result = (image?.entrypoint ?? []) + (container.args.isEmpty ? image?.cmd ?? [] : container.args)
        }
        guard let program = result.first else {
            if container.oci != nil { return [] }
            throw LunetteError(.invalidArgument, "there is no program to run: the image has neither entrypoint nor cmd", path: "args")
        }
        guard !program.isEmpty else { throw LunetteError(.invalidArgument, "the program's name is empty", path: "args[1]") }
        // The image's own words are as hostile as the user's.
        try Names.validateArguments(result, path: "args")
        return result
    }

    private static func workingDirectory(_ container: ContainerSpec, _ image: ImageProcessConfig?) throws(LunetteError) -> String {
        if let workdir = container.workdir { return workdir }
        guard let text = image?.workingDir, !text.isEmpty else { return "/" }
        return try ContainerPath.normaliseWorkingDirectory(
            text.utf8.first == UInt8(ascii: "/") ? text : "/" + text, path: "image.config.WorkingDir")
    }

    /// The image's variables in its order, then the spec's; a later one of the same name replaces the earlier.
    private static func environment(_ container: ContainerSpec, _ image: ImageProcessConfig?, hostname: String?) -> [String] {
        var names: [String] = []
        var values: [String: String] = [:]
        func set(_ name: String, _ value: String) {
            if values.updateValue(value, forKey: name) == nil { names.append(name) }
        }
        set("PATH", RuntimeDefaults.path)
        if let hostname { set("HOSTNAME", hostname) }
        if container.hasTerminal { set("TERM", "xterm") }
        for entry in image?.env ?? [] {
            guard let (name, value) = entry.cut(at: "="), !name.isEmpty, !entry.utf8.contains(0) else { continue }
            set(String(name), String(value))
        }
        for name in container.env.keys.sorted() { set(name, container.env[name]!) }
        return names.map { "\($0)=\(values[$0]!)" }
    }

    private static func user(_ container: ContainerSpec, _ image: ImageProcessConfig?) throws(LunetteError) -> User {
        var user = container.user
        if user == nil, let text = image?.user, !text.isEmpty {
            do { user = try UserString(text) } catch {
                throw LunetteError(error.code, error.message, path: "image.config.User", hint: error.hint)
            }
            if container.security.hasUserNamespace, user!.largestID >= 65536 {
                throw LunetteError(
                    .invalidArgument, "the image's user \(user!) is outside the container's 65536 ids", path: "image.config.User")
            }
        }
        return User(user ?? .init(user: .id(0), group: nil))
    }

    private static func limits(_ container: ContainerSpec, _ facts: HostFacts) -> [Rlimit] {
        var result = container.rlimits
        if !result.contains(where: { $0.resource == RuntimeDefaults.openFiles.resource }) {
            var limit = RuntimeDefaults.openFiles
            limit.hard = min(limit.hard, facts.hardLimits[limit.resource] ?? limit.hard)
            limit.soft = min(limit.soft, limit.hard)
            result.append(limit)
        }
        return result.sorted { $0.resource < $1.resource }
    }
}

extension RuntimeSpec.ProcessSection.User {
    /// Both parts as numbers, or the text for the shim to look up.
    package init(_ user: UserString) {
        if case .id(let uid) = user.user, case .id(let gid)? = user.group {
            self.init(uid: uid, gid: gid)
        } else {
            let uid = if case .id(let uid) = user.user { uid } else { Self.nobody }
            self.init(uid: uid, gid: Self.nobody, username: user.description)
        }
    }

    /// What the shim gets: `uid:gid`, or the text to look up.
    package var text: String { username ?? "\(uid):\(gid)" }
}

extension ContainerSpec {
    /// The signal that asks the container's program to end: the spec's, else the image's, else SIGTERM.
    /// - Throws: `invalid_argument` when the image's isn't one.
    package func stopSignal(image: ImageProcessConfig?) throws(LunetteError) -> Signal {
        if let signal = stop.signal { return signal }
        guard let text = image?.stopSignal else { return .term }
        do { return try Signal(text) } catch {
            throw LunetteError(error.code, error.message, path: "image.config.StopSignal", hint: error.hint)
        }
    }

    /// What of the spec's protection the kernel won't hold against this container, for `inspect`.
    package var notEnforced: [NotEnforced] {
        var lacking: [NotEnforced] = []
        func add(_ field: String, _ why: String) { lacking.append(NotEnforced("security.\(field)", why)) }
        if !security.hasUserNamespace { add("user_namespace", "no user namespace: the container's root is the host's root") }
        if security.isPrivileged { add("privileged", "privileged: all capabilities, no seccomp profile, nothing masked") }
        if security.capabilities.contains(.sysAdmin), !security.isPrivileged {
            add("capabilities", "masked and read-only paths: CAP_SYS_ADMIN can undo them within the container's own mount namespace")
        }
        if security.seccomp == .unconfined, !security.isPrivileged { add("seccomp", "seccomp is off") }
        return lacking
    }
}
