internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Makes one container, up to its gate or, for `run`, beyond: what `create` and `run` share. Its shim still holds it then: who dies before the
/// shim is released takes it along.
///
/// Everything that can be refused is refused before anything exists but a lunette-shim that waits for its plan. Then: folder → the shim gets its
/// plan and makes namespaces, while record and cgroups are made here → record, pid file. A failure takes all of it apart again; after a kill, the
/// record tells `delete` what to look for.
struct Creation {
    struct Request {
        var id: String
        var bundle: String
        var consoleSocket: String?
        var pidFile: String?
        var preservedDescriptors: Int
        /// How many of them are sockets that the program is activated by.
        var listeningDescriptors: Int
        var isDetached: Bool
        var joinsNoKeyring: Bool
        /// The program runs as soon as it can, rather than when the container is recorded: until then our end is its end.
        var startsAtOnce = false

        static let options: [Option] = [
            Option("bundle", "b", .value("DIR"), "the bundle (default: the working directory)"),
            Option("console-socket", nil, .value("PATH"), "a listening unix socket that gets the terminal's master"),
            Option("pid-file", nil, .value("FILE"), "write the pid of the container's pid 1 to FILE"),
            Option("preserve-fds", nil, .value("N"), "pass N descriptors from 3 on, behind those of LISTEN_FDS (default: 0)"),
            Option("no-pivot", nil, .none, "taken for runc's sake: unsupported"),
            Option("no-new-keyring", nil, .none, "keep the caller's session keyring"),
        ]

        init(_ invocation: Invocation, isDetached: Bool) throws(LunetteError) {
            let options = invocation.options
            id = try invocation.containerID()
            bundle = options.value("bundle") ?? "."
            consoleSocket = options.value("console-socket")
            pidFile = options.value("pid-file")
            preservedDescriptors = try PreservedDescriptors.count(options)
            listeningDescriptors = PreservedDescriptors.listening
            self.isDetached = isDetached
            joinsNoKeyring = options.flag("no-new-keyring")
            if options.flag("no-pivot") {
                throw LunetteError(
                    .unsupported, "--no-pivot: unsupported: a container's root is always pivoted to",
                    hint: "only a host that runs from its initramfs needs it: let that switch to a root of its own first")
            }
        }
    }

    /// What came of it.
    struct Created {
        var container: Container
        var held: HeldFolder
        var hooks: RuntimeSpec.Hooks
        var session: ShimSession
        var handover: ShimSession.Handover
        /// By which a failure to start is told.
        var fields: LaunchFields
        /// Whether the program is on its way already.
        var isStarted: Bool
    }

    let request: Request
    let invocation: Invocation

    func create() throws(LunetteError) -> Created {
        let session = try ShimSession(id: request.id)
        var bundle = try Bundle(request.bundle)
        if request.listeningDescriptors > 0 { PreservedDescriptors.announce(request.listeningDescriptors, &bundle.spec) }
        let ahead = bundle.spec.linux.namespacesAhead
        if !ahead.isEmpty { session.make(ahead: ahead) }
        let log = invocation.log
        log.debug("read \(Bundle.configName) of bundle \(bundle.path), root file system \(bundle.rootfs)")
        let hooks = bundle.spec.hooks
        guard let process = bundle.spec.process else { throw LunetteError(.invalidArgument, "is required", path: "process") }
        let terminal = try TerminalOwner(
            terminal: process.terminal, consoleSocket: request.consoleSocket, isDetached: request.isDetached)
        let cgroup = try CgroupPlan(bundle.spec, id: request.id, invocation.global)
        var preparation = LaunchPreparation(
            id: request.id, bundle: bundle, cgroup: cgroup.record.cgroup, awaitsCgroups: cgroup.isCertain, terminal: terminal,
            preservedDescriptors: request.preservedDescriptors, keepsKeyring: request.joinsNoKeyring, store: invocation.store,
            log: invocation.log
        )
        preparation.warn()
        var planned = try preparation.plan()

        guard let creator = ProcessIdentity.of(pid: getpid()) else {
            throw LunetteError(.internal, "/proc doesn't show this process", hint: "mount proc on /proc")
        }
        let record = ContainerRecord(
            id: request.id, bundle: bundle.path, rootfs: bundle.rootfs, createdAt: SystemClock.now, creator: creator,
            cgroup: cgroup.record, uid: geteuid(), annotations: bundle.spec.annotations)
        let held = try invocation.store.make(request.id)
        faultPoint("oci.create.folder")
        log.debug("made \(held.directory.label); the launch plan has \(planned.bytes.count) bytes and \(planned.passed.count) descriptors")
        var container = Container(held.directory, record: record)
        do throws(LunetteError) {
            // The shim and what it makes end with us, so that there is no need to write it down first.
            if preparation.awaitsCgroups {
                try session.carryOut(planned.bytes, folder: held.directory, passed: planned.passed)
                faultPoint("oci.create.planned")
            }
            try container.save()
            faultPoint("oci.create.recorded")
            try atBorder(
                "keep the config of container \(request.id)",
                { () throws(SystemCallError) in
                    try held.directory.create(Bundle.configName, bundle.config)
                })
            let made = try cgroup.make(for: &container) { invocation.log.warn($0) }
            faultPoint("oci.create.cgroup")
            log.debug("cgroups: " + container.record.cgroup.cgroup.directories.map(\.path).joined(separator: " "))
            if preparation.awaitsCgroups {
                session.goOn()
            } else {
                if container.record.cgroup.cgroup != preparation.cgroup {
                    // systemd had another name for it, or there is none.
                    preparation.cgroup = container.record.cgroup.cgroup
                    planned = try preparation.plan()
                }
                try session.carryOut(planned.bytes, folder: held.directory, passed: planned.passed)
            }
            // Without a cgroup only the record tells who belongs to the container: then it is written before the program runs.
            let startsNow = request.startsAtOnce && container.record.cgroup.isTaken
            if startsNow { session.start() }
            faultPoint("oci.create.spawned")
            let handover = try session.wait { pid throws(LunetteError) in
                log.debug("namespaces are there, pid 1 is \(pid); hooks: \(hooks.prestart.count + hooks.createRuntime.count)")
                let state = container.document(.creating, pid: pid)
                try Hooks.run(hooks.prestart, "prestart", state: state, folder: bundle.folder)
                try Hooks.run(hooks.createRuntime, "createRuntime", state: state, folder: bundle.folder)
            }
            // The container's own processes keep the scope from now on.
            made.holder?.leave()
            made.claim?.release()
            faultPoint("oci.create.created")
            guard let identity = ProcessIdentity.of(pid: handover.pid) else {
                throw LunetteError(.io, "create container \(request.id): its pid 1 (\(handover.pid)) is gone already", target: request.id)
            }
            container.record.initProcess = identity
            container.record.phase = .created
            log.debug("created: pid 1 is \(handover.pid)")
            return Created(
                container: container, held: held, hooks: hooks, session: session, handover: handover, fields: planned.fields,
                isStarted: startsNow)
        } catch {
            // First: nothing of a launch that still goes on may come to what is taken apart.
            session.abandon()
            throw takeApart(container, held, hooks, after: planned.fields.naming(error))
        }
    }

    /// Writes down what there is, before the shim leaves it alone.
    func record(_ created: Created) throws(LunetteError) {
        try created.container.save()
        faultPoint("oci.create.saved")
        if let pidFile = request.pidFile { try PIDFile.write(created.handover.pid, to: pidFile) }
    }

    /// Does what comes after `create`; its failure takes the container apart.
    func orTakeApart(_ created: Created, _ body: () throws(LunetteError) -> Void) throws(LunetteError) {
        do throws(LunetteError) { try body() } catch {
            created.session.abandon()
            throw takeApart(created.container, created.held, created.hooks, after: created.fields.naming(error))
        }
    }

    private func takeApart(
        _ container: Container, _ held: HeldFolder, _ hooks: RuntimeSpec.Hooks, after error: LunetteError
    ) -> LunetteError {
        invocation.log.debug("failed, taking it apart: \(error.description)")
        var failure = error
        let report = Deletion(container: container, held: held, store: invocation.store, log: invocation.log).takeApart()
        if let leftover = report.error { failure.causes.append(leftover) }
        container.runPoststop(hooks, invocation.log)
        return failure
    }
}

extension RuntimeSpec.LinuxSection {
    /// Namespaces that are new, the host's user namespace's, and made by themselves: the shim may make them before it has a plan.
    fileprivate var namespacesAhead: NamespacePlan.Kinds {
        guard namespace(.user) == nil else { return [] }
        func isNew(_ kind: NamespaceKind) -> Bool { namespace(kind).map { $0.path == nil } ?? false }
        var kinds: NamespacePlan.Kinds = []
        if isNew(.network) { kinds.insert(.network) }
        if isNew(.ipc) { kinds.insert(.ipc) }
        if isNew(.uts) { kinds.insert(.uts) }
        return kinds
    }
}

/// `--preserve-fds` and LISTEN_FDS: descriptors from 3 on that the program gets under the same numbers.
enum PreservedDescriptors {
    static func count(_ options: Options) throws(LunetteError) -> Int {
        let activation = listening
        let count = activation + Int(try options.number("preserve-fds", in: 0...256) ?? 0)
        for fd in 3..<(3 + count) where fcntl(Int32(fd), F_GETFD) < 0 {
            throw LunetteError(.invalidArgument, "\(fd < 3 + activation ? "LISTEN_FDS" : "--preserve-fds"): descriptor \(fd) isn't open")
        }
        return count
    }

    /// Those of systemd's protocol (sd_listen_fds(3)): the variable is meant for the process it names.
    static var listening: Int { listening(Environment["LISTEN_FDS"], for: Environment["LISTEN_PID"], getpid()) }

    /// - Parameter meant: without it the variable is meant for nobody, as on runc.
    static func listening(_ count: String?, for meant: String?, _ pid: Int32) -> Int {
        guard let count, let number = Int(count), number > 0, meant == String(pid) else { return 0 }
        return min(number, 256)
    }

    /// Tells the program of them as systemd would. It is pid 1, but for a pid namespace that it shares.
    static func announce(_ number: Int, _ spec: inout RuntimeSpec) {
        let names = ["LISTEN_FDS=", "LISTEN_PID="]
        spec.process?.env.removeAll { entry in names.contains { entry.utf8.starts(with: $0.utf8) } }
        spec.process?.env += ["LISTEN_FDS=\(number)", "LISTEN_PID=1"]
    }
}
