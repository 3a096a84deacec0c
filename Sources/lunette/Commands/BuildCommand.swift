import ArgumentParser
import LunetteAPI
import LunetteSpec

struct BuildCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "build", _superCommandName: "lunette", abstract: "Make an image from nothing or from a base, with copy and run steps.",
        discussion: "Copies come first, in order, then the run steps. For more than that, write a Lua script with image.build.")

    @Option(name: .joined("t"), help: ArgumentHelp("The reference it gets.", valueName: "reference")) var tag: String?
    @Option(help: ArgumentHelp("Base image, or scratch.", valueName: "image")) var from = "scratch"
    @Option(help: ArgumentHelp("Copy a host file or folder: FROM:TO[:MODE].", valueName: "copy")) var copy: [String] = []
    @Option(help: ArgumentHelp("Run a command in it by /bin/sh -c.", valueName: "command")) var run: [String] = []
    @Option(name: .joined("e"), help: ArgumentHelp("Set a variable.", valueName: "name=value")) var env: [String] = []
    @Option(name: .joined("l"), help: ArgumentHelp("Mark the image.", valueName: "name=value")) var label: [String] = []
    @Option(name: .joined("w"), help: ArgumentHelp("Where containers start.", valueName: "dir")) var workdir: String?
    @Option(name: .joined("u"), help: ArgumentHelp("Who they run as.", valueName: "user")) var user: String?
    @Option(help: ArgumentHelp("The program; words apart by spaces.", valueName: "words")) var entrypoint: String?
    @Option(help: ArgumentHelp("The command; words apart by spaces.", valueName: "words")) var cmd: String?
    @Option(help: ArgumentHelp("none or host, for run steps.", valueName: "network")) var network: String?
    @Flag(name: [.short, .long], help: "No progress.") var quiet = false
    @OptionGroup var global: GlobalOptions

    /// A build that fails has failed by itself: its step's exit code is in the message, and none of ours.
    static func own(_ error: LunetteError) -> LunetteError {
        guard var details = error.details?.mapValue else { return error }
        var error = error
        details["exit_code"] = nil
        error.details = .map(details)
        return error
    }

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = ["from": .string(from)]
        if let tag { arguments["tag"] = .string(tag) }
        if !copy.isEmpty {
            var steps: [Value] = []
            for item in copy {
                let parts = item.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
                guard (2...3).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }) else {
                    throw LunetteError(.invalidArgument, "read --copy \"\(item)\"", hint: "write FROM:TO or FROM:TO:0755")
                }
                var step: ValueMap = [
                    "from": .string(APIRegistry.absolutePath(parts[0], directory: workingDirectory())), "to": .string(parts[1]),
                ]
                if parts.count == 3 { step["mode"] = .string(parts[2]) }
                steps.append(.map(step))
            }
            arguments["copy"] = .array(steps)
        }
        if !run.isEmpty { arguments["run"] = .array(run.map(Value.string)) }
        var config: ValueMap = [:]
        if !env.isEmpty { config["env"] = .map(try Pairs.read(env, option: "--env", valueMayMiss: false)) }
        if !label.isEmpty { config["labels"] = .map(try Pairs.read(label, option: "--label", valueMayMiss: true)) }
        if let workdir { config["workdir"] = .string(workdir) }
        if let user { config["user"] = .string(user) }
        func words(_ text: String) -> Value { .array(text.split(separator: " ").map { .string(String($0)) }) }
        if let entrypoint { config["entrypoint"] = words(entrypoint) }
        if let cmd { config["cmd"] = words(cmd) }
        if !config.isEmpty { arguments["config"] = .map(config) }
        if let network { arguments["network"] = .string(network) }
        let handle: Value
        do throws(LunetteError) { handle = try await ImagePull.withProgress("image.build", arguments, quiet: quiet, client) } catch {
            throw Self.own(error)
        }
        Output.print(handle["id"]?.stringValue ?? "")
        return 0
    }
}
