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
            return await call("container.start", for: container, client)
        }
        guard container.count == 1 else { throw LunetteError(.invalidArgument, "start: only one container can be attached to") }
        let info = try await client.call("container.inspect", ["container": .string(container[0])])
        let isTTY = info["spec"]?["tty"]?.boolValue ?? false
        let attachment = try Attachment(client, streams: .init(stdin: interactive, tty: isTTY), keys: detachKeys, sigProxy: true)
        let id = info["id"]?.stringValue ?? container[0]
        return try await attachment.run(container: id) { (files, stdio) throws(LunetteError) in
            _ = try await client.call("container.start", attachment.startArguments(id, stdio), files: files)
        }
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
        return await call("container.restart", for: container, with: ["grace_period": grace], client)
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
        let (force, volumes) = (force, volumes)
        return await forEach(container, client) { (name) throws(LunetteError) in
            do throws(LunetteError) {
                _ = try await client.call(
                    "container.remove", ["container": .string(name), "force": .bool(force), "volumes": .bool(volumes)])
            } catch  where force && error.code == .notFound {
                return nil
            }
            return name
        }
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
    @Option(help: ArgumentHelp("Memory and swap together; -1 is no limit.", valueName: "size")) var memorySwap: String?
    @Option(help: ArgumentHelp("What it is left under pressure.", valueName: "size")) var memoryReservation: String?
    @Option(help: ArgumentHelp("Processors' worth of time.", valueName: "number")) var cpus: Double?
    @Option(name: .joined("c"), help: ArgumentHelp("Weight against others.", valueName: "number")) var cpuShares: Int?
    @Option(help: ArgumentHelp("Processors it may use.", valueName: "list")) var cpusetCpus: String?
    @Option(help: ArgumentHelp("Processes and threads it may have.", valueName: "number")) var pidsLimit: Int?
    @Option(name: .joined("l"), help: ArgumentHelp("Set a label; NAME= empties it.", valueName: "name=value")) var label: [String] = []
    @Option(help: ArgumentHelp("no, on-failure[:N], always.", valueName: "policy")) var restart: String?
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
        var arguments = ValueMap()
        if !resources.isEmpty { arguments["resources"] = .map(resources) }
        if !label.isEmpty { arguments["labels"] = .map(try Pairs.read(label, option: "--label", valueMayMiss: true)) }
        if let restart { arguments["restart"] = try RestartOption.read(restart) }
        guard !arguments.isEmpty else {
            throw LunetteError(.invalidArgument, "update: nothing to change", hint: "see \"lunette update --help\"")
        }
        return await call("container.update", for: container, with: arguments, client)
    }
}
