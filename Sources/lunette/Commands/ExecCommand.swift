import ArgumentParser
import LunetteAPI
import LunetteSpec

struct ExecCommand: PassthroughCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec", _superCommandName: "lunette", abstract: "Run a command in a running container.",
        usage: "lunette exec [OPTIONS] CONTAINER COMMAND…", helpNames: .long)

    @Flag(name: [.short, .long], help: "Connect stdin.") var interactive = false
    @Flag(name: [.short, .long], help: "Give it a terminal.") var tty = false
    @Flag(name: [.short, .long], help: "Start it and return.") var detach = false
    @Option(name: .joined("e"), help: ArgumentHelp("Set a variable; NAME alone takes it from here.", valueName: "name=value")) var env:
        [String] = []
    @Option(help: ArgumentHelp("Read variables from a file.", valueName: "file")) var envFile: [String] = []
    @Option(name: .joined("u"), help: ArgumentHelp("Run as NAME|UID[:GROUP|GID].", valueName: "user")) var user: String?
    @Option(name: .joined("w"), help: ArgumentHelp("Where it starts.", valueName: "dir")) var workdir: String?
    @Option(help: ArgumentHelp("Kill it after this long.", valueName: "duration")) var timeout: String?
    @Option(help: ArgumentHelp("Keys that leave (ctrl-p,ctrl-q).", valueName: "keys")) var detachKeys: String?
    @Argument(
        parsing: .captureForPassthrough, help: ArgumentHelp("Container, then program and arguments.", valueName: "container"),
        completion: Live.containers)
    var words: [String] = []
    @OptionGroup var global: GlobalOptions

    func prepare() { if !detach { SignalRelay.block() } }

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let words = try Words.check(words, command: "exec", what: "a container")
        guard words.count > 1 else {
            throw LunetteError(.invalidArgument, "exec: a command is missing", hint: "see \"lunette exec --help\"")
        }
        var arguments: ValueMap = ["container": .string(words[0]), "args": .array(words.dropFirst().map(Value.string))]
        var variables = ValueMap()
        for file in envFile {
            try Pairs.set(from: file, in: &variables)
        }
        for item in env { try Pairs.set(item, in: &variables, option: "--env") }
        if !variables.isEmpty { arguments["env"] = .map(variables) }
        if let user { arguments["user"] = .string(user) }
        if let workdir { arguments["workdir"] = .string(workdir) }
        if tty { arguments["tty"] = true }
        if let timeout { arguments["timeout"] = Pairs.number(timeout) }
        if detach {
            guard !interactive else {
                throw LunetteError(
                    .invalidArgument, "exec: -d leaves the command alone, -i connects it to here", hint: "leave one of them out")
            }
            arguments["detach"] = true
            _ = try await client.call("container.exec", arguments)
            return 0
        }
        let attachment = try Attachment(client, streams: .init(stdin: interactive, tty: tty), keys: detachKeys, sigProxy: true)
        let id = RequestID.fresh()
        return try await attachment.run(
            function: "container.exec", id: id, arguments, resize: ["container": .string(words[0]), "exec": .string(id)])
    }
}

struct AttachCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "attach", _superCommandName: "lunette", abstract: "Connect to a running container's streams.")

    @Flag(help: "Don't connect stdin.") var noStdin = false
    @Flag(help: "First show what the log holds.") var logs = false
    @Flag(inversion: .prefixedNo, help: "Send signals on to the program.") var sigProxy = true
    @Option(help: ArgumentHelp("Keys that leave it running (ctrl-p,ctrl-q).", valueName: "keys")) var detachKeys: String?
    @Argument(help: "Name or id.", completion: Live.containers) var container: String
    @OptionGroup var global: GlobalOptions

    func prepare() { SignalRelay.block() }

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let info = try await client.call("container.inspect", ["container": .string(container)])
        guard let id = info["id"]?.stringValue, ["running", "paused"].contains(info["status"]?.stringValue ?? "") else {
            throw LunetteError(
                .invalidState, "attach to \(container): it is \(info["status"]?.stringValue ?? "unknown")",
                hint: "start it with \"lunette start -a \(container)\"")
        }
        let isTTY = info["spec"]?["tty"]?.boolValue ?? false
        let takesStdin = !noStdin && (info["spec"]?["stdin"]?.boolValue ?? false)
        let attachment = try Attachment(client, streams: .init(stdin: takesStdin, tty: isTTY), keys: detachKeys, sigProxy: sigProxy)
        return try await attachment.run(
            function: "container.attach", id: RequestID.fresh(), ["container": .string(id), "logs": .bool(logs)],
            resize: ["container": .string(id)])
    }
}
