internal import LunetteLinux
package import LunetteSpec
internal import Synchronization

/// Makes, finds and takes apart containers of one state directory. It stores nothing itself: the engine keeps `ContainerRecord`s.
package final class ContainerRuntime: Sendable {
    package let configuration: RuntimeConfiguration
    let cgroups: Cgroups
    let shimPath: String
    let machine: MachineFacts
    /// An ordinary user's engine stands in one of its own.
    let userNamespace = UserNamespace.current
    /// Compiled filters are kept below the root by their profile's digest.
    let seccomp: SeccompCompiler
    private let shim = Mutex<FileDescriptor?>(nil)
    /// Containers that this engine is connected to, for log readers.
    let live = Mutex<[String: Container]>([:])

    private init(_ configuration: RuntimeConfiguration, cgroups: Cgroups, shimPath: String, machine: MachineFacts) {
        self.configuration = configuration
        self.cgroups = cgroups
        self.shimPath = shimPath
        self.machine = machine
        seccomp = SeccompCompiler(cacheDirectory: "\(configuration.root)/cache/seccomp")
    }

    /// Finds the shim, detects cgroups, makes the `containers` directories.
    /// - Throws: `not_found` when there is no shim; `unsupported` when the kernel lacks what a container needs, by name.
    package static func open(_ configuration: RuntimeConfiguration) async throws(LunetteError) -> ContainerRuntime {
        return try await blocking { () throws(LunetteError) in
            let namespace = UserNamespace.current
            guard let layout = namespace.isInitial ? CgroupLayout.detect() : .prepared(for: namespace) else {
                throw LunetteError(.unsupported, "find cgroups: no cgroup file system is mounted", hint: "mount cgroup2 on /sys/fs/cgroup")
            }
            let shimPath = try ShimBinary.find(configuration.shimPath)
            for path in ["\(configuration.root)/containers", "\(configuration.state)/containers"] {
                try atBorder("prepare the state directories", { () throws(SystemCallError) in _ = try Directory(making: path) })
            }
            let cgroups = Cgroups(layout: layout, scope: Cgroups.scope(ofState: configuration.state))
            return ContainerRuntime(configuration, cgroups: cgroups, shimPath: shimPath, machine: .read())
        }
    }

    /// A sealed copy of the shim, made once: what runs can't be overwritten from a container.
    func shimProgram() throws(SystemCallError) -> FileDescriptor {
        try shim.withLock { shim throws(SystemCallError) in
            if let shim { return shim }
            let made = try ShimBinary.seal(shimPath)
            shim = made
            return made
        }
    }

    /// The live container of this engine, if it holds one.
    package func container(_ id: String) -> Container? { live.withLock { $0[id] } }

    /// Reads the log.
    /// - Parameter onEntry: gets each line in order; a throw ends the reading. With `options.follow` it goes on until the container ends or the task is cancelled.
    package func readLog(
        id: String, _ options: LogOptions, onEntry: @escaping @Sendable (LogEntry) async throws(LunetteError) -> Void
    ) async throws(LunetteError) {
        try ContainerPlaces.validate(id: id)
        let path = ContainerPlaces(configuration, id: id).storage
        let directory = try await blocking { () throws(LunetteError) in
            try atBorder("read the log of \(id)", { () throws(SystemCallError) in try Directory(path) })
        }
        let ended: OneShot<Void>
        if let container = container(id) {
            ended = container.ended
        } else {
            ended = OneShot()
            ended.fulfil(())
        }
        try await LogReader(directory, options, ended: ended).read(onEntry)
    }

    /// Takes the empty cgroup parents away when this engine ends; others' containers keep them.
    package func close() async { await blocking { [cgroups] in cgroups.removeEmptyParents() } }
}
