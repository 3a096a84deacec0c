internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Runs one more program in a container.
struct Execution {
    private let invocation: Invocation
    private let container: Container
    private let spec: RuntimeSpec
    private let process: RuntimeSpec.ProcessSection

    init(_ invocation: Invocation) throws(LunetteError) {
        self.invocation = invocation
        let id = try invocation.containerID()
        container = try invocation.store.findSettled(id)
        let status = container.status()
        switch status {
        case .created where Caller.current.isOrdinary:
            // The process at the gate can't be looked into before it runs the program, and only root may all the same.
            throw LunetteError(
                .unsupported, "exec in container \(id): an ordinary user can't before it is started", target: id,
                hint: "lunette-oci start \(id)")
        case .running, .created: break
        case .paused where invocation.options.flag("ignore-paused"): break
        case .paused:
            throw LunetteError(
                .invalidState, "exec in container \(id): cannot exec in a paused container", target: id,
                hint: "resume it, or --ignore-paused: the program runs when it is resumed")
        case .creating, .stopped:
            throw LunetteError(
                .invalidState, "exec in container \(id): cannot exec in a \(status.rawValue) container: container not running", target: id)
        }
        spec = try container.spec()
        process = try ExecProcess.section(invocation.options, spec) { invocation.log.warn($0) }
    }

    func run() throws(LunetteError) -> Int32 {
        let session = try ShimSession(id: container.id)
        let options = invocation.options
        let isDetached = options.flag("detach")
        let terminal = try TerminalOwner(
            terminal: process.terminal, consoleSocket: options.value("console-socket"), isDetached: isDetached,
            field: options.flag("tty") ? "--tty" : "process.terminal")
        let preserved = try PreservedDescriptors.count(options)
        let foreground = isDetached ? nil : try Foreground()
        guard let initProcess = container.initProcess() else {
            throw LunetteError(.invalidState, "exec in container \(container.id): container not running", target: container.id)
        }
        let seccomp = try SeccompCompiler(cacheDirectory: "\(invocation.store.root)/\(ContainerStore.seccompFolder)").program(for: spec)
        let cgroup = try ExecCgroup.choose(options.list("cgroup"), container.record.cgroup.cgroup)
        // A cgroup that was named is joined or an error.
        let cgroupV2 = options.list("cgroup").isEmpty ? cgroupBeside(initProcess, cgroup) : cgroup.joinPathV2
        // The shim's fd 7: whom to join.
        var passed = [initProcess.descriptor]
        let handover = try HandoverPlan(terminal, preserved, newKeyring: true, passed: &passed)
        let grantable = Privileges.grantable
        Privileges.warn(process, in: spec, grantable: grantable, invocation.log)
        var fields = LaunchFields(process: process)
        for (option, field) in [("user", "process.user"), ("cwd", "process.cwd"), ("cgroup", "linux.cgroupsPath")]
        where !options.list(option).isEmpty {
            fields.options[field] = "--\(option)"
        }
        let plan = try LaunchPlanner.exec(
            process, in: spec, seccompProgram: seccomp.bytes, seccompFlags: seccomp.flags, cgroupsV1: cgroup.joinPathsV1,
            cgroupV2: cgroupV2, grantable: grantable,
            seccompListener: SeccompListenerPlan(
                spec, containerID: container.id, bundle: container.record.bundle, status: .running,
                containerPID: container.record.initProcess?.pid),
            rootless: try Caller.current.rootless(spec), handover: handover)
        try session.carryOut(try plan.encoded(), folder: container.folder, passed: passed)
        let started: ShimSession.Handover
        do throws(LunetteError) { started = try session.wait { _ in } } catch {
            // It ended while we were on the way in, and whatever step met that says so in its own words.
            guard container.initProcess() != nil else {
                throw LunetteError(
                    .invalidState, "exec in container \(container.id): container not running: it has just ended", target: container.id,
                    cause: error)
            }
            throw fields.naming(error)
        }
        session.finish()
        invocation.log.debug("the program runs as pid \(started.pid)")
        if let pidFile = options.value("pid-file") { try PIDFile.write(started.pid, to: pidFile) }
        guard let foreground else { return 0 }
        let code = try foreground.wait(for: started.pid, terminal: started.terminal) { () throws(LunetteError) in }
        invocation.log.debug("the program ended with exit code \(code)")
        return code
    }
}

extension Execution {
    /// The v2 cgroup of the program; nil where there is none that an ordinary user may enter from here, as on runc.
    private func cgroupBeside(_ initProcess: ProcessDescriptor, _ cgroup: ContainerCgroup) -> String? {
        guard let path = cgroup.joinPathV2(beside: initProcess.pid) else { return nil }
        guard Caller.current.isOrdinary, let root = CgroupLayout.detect()?.hierarchies.first?.path,
            !ContainerCgroup.mayEnter(path, root: root, own: readSmallFile("/proc/self/cgroup") ?? "")
        else { return path }
        invocation.log.warn(
            "exec in container \(container.id): its cgroup can't be entered from this process's: the program runs outside of it, where its limits don't hold"
        )
        return nil
    }
}

/// What `exec` runs: the container's own process section with the options on top, or a file's.
enum ExecProcess {
    /// - Parameter warn: gets what is ignored.
    static func section(
        _ options: Options, _ spec: RuntimeSpec, warn: (String) -> Void = { _ in }
    ) throws(LunetteError) -> RuntimeSpec.ProcessSection {
        let arguments = Array(options.arguments.dropFirst())
        var section: RuntimeSpec.ProcessSection
        if let file = options.value("process") {
            section = try read(file, warn)
        } else {
            guard let own = spec.process else { throw LunetteError(.invalidArgument, "is required", path: "process") }
            guard !arguments.isEmpty else {
                throw LunetteError(.invalidArgument, "exec: too few arguments", hint: "name a command behind the id, or give --process")
            }
            section = own
            section.args = arguments
            section.terminal = options.flag("tty")
            section.consoleSize = nil
        }
        if options.value("process") != nil, options.flag("tty") { section.terminal = true }
        // An empty one is none, as with runc.
        if let cwd = options.value("cwd"), !cwd.isEmpty {
            guard cwd.utf8.first == UInt8(ascii: "/") else {
                throw LunetteError(
                    .invalidArgument, "--cwd: \"\(displayable(cwd, limit: 80))\" is not an absolute path",
                    hint: "it counts from the container's root")
            }
            section.cwd = cwd
        }
        for entry in options.list("env") {
            // By bytes: of characters, one with a mark behind it is another.
            guard let equals = entry.utf8.firstIndex(of: UInt8(ascii: "=")), equals != entry.utf8.startIndex else {
                throw LunetteError(.invalidArgument, "--env: \"\(displayable(entry, limit: 80))\" is not NAME=VALUE")
            }
            // The last one counts, wherever the program looks.
            let name = entry.utf8[...equals]
            section.env.removeAll { $0.utf8.starts(with: name) }
            section.env.append(entry)
        }
        try user(options, &section)
        var unknown: [String] = []
        for text in options.list("cap") {
            guard let capability = try? Capability(text) else {
                unknown.append(text)
                continue
            }
            var sets = section.capabilities ?? .init([])
            // Not inheritable and not ambient (CVE-2022-29162).
            if !sets.bounding.contains(capability) { sets.bounding.append(capability) }
            if !sets.effective.contains(capability) { sets.effective.append(capability) }
            if !sets.permitted.contains(capability) { sets.permitted.append(capability) }
            section.capabilities = sets
        }
        // As with a config's, and as runc: a caller may know more of them than this version.
        if !unknown.isEmpty { warn(Privileges.unknown(unknown, "--cap")) }
        if options.flag("no-new-privs") { section.noNewPrivileges = true }
        if let profile = options.value("apparmor") { section.apparmorProfile = profile }
        if let label = options.value("process-label") { section.selinuxLabel = label }
        if let profile = section.apparmorProfile, !profile.isEmpty {
            let field = options.value("apparmor") == nil ? "process.apparmorProfile" : "--apparmor"
            throw LunetteError(.unsupported, "AppArmor profiles aren't built", path: field, hint: "leave it out")
        }
        if let label = section.selinuxLabel, !label.isEmpty {
            let field = options.value("process-label") == nil ? "process.selinuxLabel" : "--process-label"
            throw LunetteError(.unsupported, "SELinux labels aren't built", path: field, hint: "leave it out")
        }
        return section
    }

    /// `USER[:GROUP]`: one reading of numbers, for every command (attack 12). A bare number keeps the container's group, as runc does.
    private static func user(_ options: Options, _ section: inout RuntimeSpec.ProcessSection) throws(LunetteError) {
        let before = section.user
        if let text = options.value("user") {
            let user: UserString
            do { user = try UserString(text) } catch { throw LunetteError(.invalidArgument, "--user: \(error.message)", hint: error.hint) }
            if user.group == nil, case .id(let uid) = user.user {
                section.user.uid = uid
                section.user.username = nil
            } else {
                section.user = .init(user)
            }
            section.user.umask = before.umask
            section.user.additionalGids = before.additionalGids
        }
        for text in options.list("additional-gids") {
            guard text == "0" || text.first != "0", let gid = UInt32(text), gid <= 0x7fff_ffff,
                text.utf8.allSatisfy({ (48...57).contains($0) })
            else {
                throw LunetteError(.invalidArgument, "--additional-gids: \"\(displayable(text, limit: 40))\" is not a group id")
            }
            section.user.additionalGids.append(gid)
        }
    }

    private static func read(_ path: String, _ warn: (String) -> Void) throws(LunetteError) -> RuntimeSpec.ProcessSection {
        let bytes = try atBorder(
            "read \(displayable(path, limit: 200))",
            { () throws(SystemCallError) in
                try FileDescriptor.opening(path).readAll(limit: Bundle.configLimit)
            })
        let inventory = FieldInventory()
        let section = try RuntimeSpec.ProcessSection(try JSON.decode(bytes, source: displayable(path, limit: 200)), inventory: inventory)
        for warning in inventory.warnings { warn(warning) }
        return section
    }
}

/// `exec --cgroup`: a cgroup below the container's own, which must exist.
enum ExecCgroup {
    static func choose(_ wanted: [String], _ cgroup: ContainerCgroup) throws(LunetteError) -> ContainerCgroup {
        var chosen = cgroup
        for text in wanted {
            let parts = text.utf8.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false).map(Substring.init)
            let controllers = parts.count == 2 ? Set(parts[0].split(separator: ",").map(String.init)) : nil
            let names = parts[parts.count - 1].pathParts
            guard !names.contains(".."), !text.utf8.contains(0) else {
                throw LunetteError(.invalidArgument, "--cgroup: \"\(displayable(text, limit: 80))\" leads out of the container's cgroup")
            }
            guard controllers == nil || cgroup.version == .v1 else {
                throw LunetteError(.invalidArgument, "--cgroup: controllers have one hierarchy on cgroup v2: give the path alone")
            }
            var isFound = false
            for index in chosen.directories.indices
            where controllers.map({ !$0.isDisjoint(with: chosen.directories[index].controllers) }) ?? true {
                chosen.directories[index].path = ([cgroup.directories[index].path] + names.filter { $0 != "." }.map(String.init)).joined(
                    separator: "/")
                isFound = true
                guard chosen.directories[index].has("cgroup.procs") else {
                    throw LunetteError(.notFound, "--cgroup: \(displayable(chosen.directories[index].path)) does not exist")
                }
            }
            guard isFound else { throw LunetteError(.notFound, "--cgroup: no hierarchy has \(displayable(String(parts[0]), limit: 80))") }
        }
        return chosen
    }
}

extension FileDescriptor {
    /// Opens a file of the caller's for reading, by path; `-` is stdin.
    static func opening(_ path: String) throws(SystemCallError) -> FileDescriptor {
        if path == "-" { return try .duplicate(of: 0) }
        let opened = open(path, O_RDONLY | O_CLOEXEC)
        guard opened >= 0 else { throw SystemCallError("open", path, errno: errno) }
        return FileDescriptor(owning: opened)
    }
}
