import ArgumentParser
import LunetteSpec

/// What most of these are: one function for each container named, whose name is printed when it is done.
private func call(
    _ function: String, for containers: [String], with arguments: ValueMap = [:], _ client: Client
) async -> Int32 {
    await forEach(containers, client) { (name) throws(LunetteError) in
        var arguments = arguments
        arguments["container"] = .string(name)
        _ = try await client.call(function, arguments)
        return name
    }
}

struct StartCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", _superCommandName: "lunette", abstract: "Start containers that were created or have stopped.")

    @Flag(name: [.short, .long], help: "Show its output and pass signals on.") var attach = false
    @Flag(name: [.short, .long], help: "Connect stdin too.") var interactive = false
    @Option(help: ArgumentHelp("Keys that leave it running (ctrl-p,ctrl-q).", valueName: "keys")) var detachKeys: String?
    @Argument(help: "Names or ids.", completion: Live.containers) var container: [String]
    @OptionGroup var global: GlobalOptions

    func prepare() { if attach || interactive { SignalRelay.block() } }

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        guard attach || interactive else {
            let start = InOrder(client, "container.start", names: container)
            return await forEach(container, client) { (name) throws(LunetteError) in
                AskedLimits.tell(try await start.call(name))
                return name
            }
        }
        guard container.count == 1 else { throw LunetteError(.invalidArgument, "start: only one container can be attached to") }
        let info = try await client.call("container.inspect", ["container": .string(container[0])])
        let isTTY = info["spec"]?["tty"]?.boolValue ?? false
        let attachment = try Attachment(client, streams: .init(stdin: interactive, tty: isTTY), keys: detachKeys, sigProxy: true)
        let id = info["id"]?.stringValue ?? container[0]
        let limits = AskedLimits(info["spec"]?.mapValue ?? [:])
        let exit = try await attachment.run(container: id) { (files, stdio) throws(LunetteError) in
            AskedLimits.tell(try await client.call("container.start", attachment.startArguments(id, stdio), files: files))
        }
        limits.tell(exit, of: container[0])
        if info["spec"]?["remove_on_exit"]?.boolValue == true, !attachment.isDetached {
            await ContainerExit.removal(id, of: container[0], client)
        }
        return ContainerExit.code(exit)
    }
}

struct StopCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop", _superCommandName: "lunette", abstract: "End containers: the stop signal, then SIGKILL after the grace period."
    )

    @Option(
        name: [.customShort("t", allowingJoined: true), .customLong("time"), .customLong("timeout")],
        help: ArgumentHelp("Grace period (10, 500ms).", valueName: "seconds"))
    var time: String?
    @Argument(help: "Names or ids.", completion: Live.containers) var container: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let grace = time.map(Pairs.number) ?? .null
        return await call("container.stop", for: container, with: ["grace_period": grace], client)
    }
}

struct KillCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "kill", _superCommandName: "lunette", abstract: "Send a signal to containers' first processes.")

    @Option(name: .joined("s"), help: ArgumentHelp("TERM, SIGTERM or 15.", valueName: "signal")) var signal = "KILL"
    @Argument(help: "Names or ids.", completion: Live.containers) var container: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let signal = Pairs.number(signal)
        return await call("container.kill", for: container, with: ["signal": signal], client)
    }
}

struct RestartCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart", _superCommandName: "lunette", abstract: "Stop containers and start them again.")

    @Option(
        name: [.customShort("t", allowingJoined: true), .customLong("time"), .customLong("timeout")],
        help: ArgumentHelp("Grace period of the stop.", valueName: "seconds"))
    var time: String?
    @Argument(help: "Names or ids.", completion: Live.containers) var container: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let grace = time.map(Pairs.number) ?? .null
        return await forEach(container, client) { (name) throws(LunetteError) in
            AskedLimits.tell(try await client.call("container.restart", ["container": .string(name), "grace_period": grace]))
            return name
        }
    }
}

struct PauseCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", _superCommandName: "lunette", abstract: "Freeze containers' processes.")

    @Argument(help: "Names or ids.", completion: Live.containers) var container: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        await call("container.pause", for: container, client)
    }
}

struct ResumeCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", _superCommandName: "lunette", abstract: "Thaw paused containers.", aliases: ["unpause"])

    @Argument(help: "Names or ids.", completion: Live.containers) var container: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        await call("container.resume", for: container, client)
    }
}

struct WaitCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", _superCommandName: "lunette", abstract: "Wait until containers have stopped and print their exit codes.")

    @Option(help: ArgumentHelp("Give up after this long (30s).", valueName: "duration")) var timeout: String?
    @Argument(help: "Names or ids.", completion: Live.containers) var container: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let timeout = timeout.map(Pairs.number) ?? .null
        return await forEach(container, client, concurrently: 64) { (name) throws(LunetteError) in
            let exit = try await client.call("container.wait", ["container": .string(name), "timeout": timeout])
            return String(exit["code"]?.intValue ?? 0)
        }
    }
}

struct RemoveCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", _superCommandName: "lunette", abstract: "Remove containers.", aliases: ["remove"])

    @Flag(name: [.short, .long], help: "Kill them first when they run; what isn't there is no error.") var force = false
    @Flag(name: [.short, .long], help: "Also their anonymous volumes.") var volumes = false
    @Argument(help: "Names or ids.", completion: Live.containers) var container: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let force = force
        let removal = InOrder(client, "container.remove", ["force": .bool(force), "volumes": .bool(volumes)], names: container)
        return await forEach(container, client) { (name) throws(LunetteError) in
            do throws(LunetteError) { _ = try await removal.call(name) } catch  where force && error.code == .notFound {
                return nil
            }
            return name
        }
    }
}

/// Calls a function for containers that may need each other: one that fails because of others that are named as well is tried again after them.
/// Whoever shares another's namespaces is removed before it, and started after it, in whatever order they are named.
private actor InOrder {
    private let client: Client
    private let function: String
    private let arguments: ValueMap
    private let names: [String]
    private var tasks: [String: Task<Result<Value, LunetteError>, Never>] = [:]

    init(_ client: Client, _ function: String, _ arguments: ValueMap = [:], names: [String]) {
        self.client = client
        self.function = function
        self.arguments = arguments
        self.names = names
    }

    func call(_ name: String) async throws(LunetteError) -> Value {
        let task = tasks[name] ?? Task { await attempt(name) }
        tasks[name] = task
        return try await task.value.get()
    }

    private func attempt(_ name: String) async -> Result<Value, LunetteError> {
        do throws(LunetteError) { return .success(try await once(name)) } catch {
            var others = (error.details?["sharers"]?.arrayValue ?? []).compactMap(\.stringValue)
            if let owner = error.details?["owner"]?.stringValue { others.append(owner) }
            let first = others.filter { names.contains($0) && $0 != name }
            guard !first.isEmpty else { return .failure(error) }
            for other in first {
                // Its failure is told at its own place.
                do throws(LunetteError) { _ = try await call(other) } catch { continue }
            }
            do throws(LunetteError) { return .success(try await once(name)) } catch { return .failure(error) }
        }
    }

    private func once(_ name: String) async throws(LunetteError) -> Value {
        var arguments = arguments
        arguments["container"] = .string(name)
        return try await client.call(function, arguments)
    }
}

struct RenameCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "rename", _superCommandName: "lunette", abstract: "Give a container another name.")

    @Argument(help: "Name or id.", completion: Live.containers) var container: String
    @Argument(help: "The new name.") var name: String
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        _ = try await client.call("container.rename", ["container": .string(container), "name": .string(name)])
        return 0
    }
}

struct UpdateCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", _superCommandName: "lunette",
        abstract: "Change limits, labels or the restart policy of containers that exist.")

    @Option(name: .joined("m"), help: ArgumentHelp("Memory limit.", valueName: "size")) var memory: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Memory and swap together; -1 is no limit.", valueName: "size")) var memorySwap:
        String?
    @Option(help: ArgumentHelp("What it is left under pressure.", valueName: "size")) var memoryReservation: String?
    @Option(help: ArgumentHelp("Processors' worth of time.", valueName: "number")) var cpus: Double?
    @Option(name: .joined("c"), help: ArgumentHelp("Weight against others.", valueName: "number")) var cpuShares: Int?
    @Option(help: ArgumentHelp("Processors it may use.", valueName: "list")) var cpusetCpus: String?
    @Option(help: ArgumentHelp("Memory nodes it may use.", valueName: "list")) var cpusetMems: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("Microseconds of each period; -1 is no limit.", valueName: "number")) var cpuQuota:
        Int64?
    @Option(help: ArgumentHelp("Microseconds (100000).", valueName: "number")) var cpuPeriod: Int64?
    @Option(help: ArgumentHelp("Weight for block devices, 1 to 10000 (100).", valueName: "number")) var blkioWeight: Int?
    @Option(parsing: .unconditional, help: ArgumentHelp("Processes and threads it may have; -1 is no limit.", valueName: "number"))
    var pidsLimit: Int?
    @Option(
        help: ArgumentHelp("Who is ended when memory runs out: process or group.", valueName: "whom"),
        completion: .list(["process", "group"])) var oom: String?
    @Option(name: .joined("l"), help: ArgumentHelp("Set a label; NAME= empties it.", valueName: "name=value")) var label: [String] = []
    @Option(help: ArgumentHelp("Take a label away.", valueName: "name")) var labelRm: [String] = []
    @Option(help: ArgumentHelp("no, on-failure[:N], always or unless-stopped.", valueName: "policy"), completion: RestartOption.completion)
    var restart: String?
    @Argument(help: "Names or ids.", completion: Live.containers) var container: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var resources = ValueMap()
        if let memory { resources["memory"] = .string(memory) }
        if let memorySwap { resources["memory_swap"] = memorySwap == "-1" ? -1 : .string(memorySwap) }
        if let memoryReservation { resources["memory_reservation"] = .string(memoryReservation) }
        if let cpus { resources["cpus"] = .double(cpus) }
        if let cpuShares { resources["cpu_shares"] = .int(Int64(cpuShares)) }
        if let cpusetCpus { resources["cpuset"] = .string(cpusetCpus) }
        if let pidsLimit { resources["pids"] = .int(Int64(pidsLimit == 0 ? -1 : pidsLimit)) }
        if let cpusetMems { resources["cpuset_memory"] = .string(cpusetMems) }
        if let blkioWeight { resources["io_weight"] = .int(Int64(blkioWeight)) }
        if let oom { resources["oom"] = .string(oom) }
        if let quota = try CPUQuota.cpus(quota: cpuQuota, period: cpuPeriod, beside: cpus) { resources["cpus"] = quota }
        var arguments = ValueMap()
        if !resources.isEmpty { arguments["resources"] = .map(resources) }
        var labels = label.isEmpty ? [:] : try Pairs.read(label, option: "--label", valueMayMiss: true)
        for name in labelRm { labels[name] = .null }
        if !labels.isEmpty { arguments["labels"] = .map(labels) }
        if let restart { arguments["restart"] = try RestartOption.read(restart) }
        guard !arguments.isEmpty else {
            throw LunetteError(.invalidArgument, "update: nothing to change", hint: "see \"lunette update --help\"")
        }
        let changes = arguments
        return await forEach(container, client) { (name) throws(LunetteError) in
            var call = changes
            call["container"] = .string(name)
            let answer: Value
            do throws(LunetteError) { answer = try await client.call("container.update", call) } catch { throw OptionNames.named(error) }
            AskedLimits.tell(answer)
            return name
        }
    }
}

/// Docker's older way to say how much processor time: a quota of each period.
enum CPUQuota {
    /// - Returns: processors' worth of time; null for no limit; nil when nothing was given.
    static func cpus(quota: Int64?, period: Int64?, beside cpus: Double?) throws(LunetteError) -> Value? {
        guard quota != nil || period != nil else { return nil }
        guard cpus == nil else {
            throw LunetteError(
                .invalidArgument, "use --cpus with --cpu-quota or --cpu-period: they say the same",
                hint: "leave --cpus, or both others, out")
        }
        guard let quota else {
            throw LunetteError(
                .invalidArgument, "use --cpu-period without --cpu-quota: a period alone limits nothing", hint: "give --cpus or --cpu-quota")
        }
        let period = period ?? 100_000
        guard (1000...1_000_000).contains(period), quota == -1 || quota >= 1000 else {
            throw LunetteError(
                .invalidArgument, "use --cpu-quota \(quota) --cpu-period \(period): the kernel takes 1000 to 1000000, and quotas from 1000",
                hint: "--cpus 1.5 says it in processors")
        }
        return quota == -1 ? .null : .double(Double(quota) / Double(period))
    }
}
