import ArgumentParser
import Glibc
import LunetteSpec

/// The command. What scripts and listings wait for stays off its way: no Foundation, and no parser but the one of the command asked for.
@main enum Lunette {
    // Not async: scripts run on the main thread, which Lua and its C modules may take for theirs. Commands run as a task beside it.
    static func main() {
        // A caller that ignores it (inherited over execve): the kernel would throw away how our children end.
        signal(SIGCHLD, SIG_DFL)
        var settings = Settings()
        do throws(LunetteError) {
            let words = try settings.take(Array(CommandLine.arguments.dropFirst()))
            exit(try run(words, settings))
        } catch {
            ErrorPrinter.print(error, settings: settings)
            exit(error.commandExitCode)
        }
    }

    static func run(_ words: [String], _ settings: Settings) throws(LunetteError) -> Int32 {
        if settings.inProcess { try UserEngine.enter(settings) }
        guard let first = words.first else {
            if settings.isDryRun, Output.isTerminal(0) {
                throw LunetteError(.unsupported, "use --dry-run with the REPL: it is for scripts", hint: "lunette --dry-run FILE.lua")
            }
            return try Scripts.interactive(settings)
        }
        if first.hasPrefix("-e"), !first.hasPrefix("--") {
            let joined = String(first.dropFirst(2))
            guard !joined.isEmpty || words.count > 1 else {
                throw LunetteError(.invalidArgument, "run a chunk: -e needs its code", hint: "lunette -e 'return 1 + 1'")
            }
            return try Scripts.chunk(
                joined.isEmpty ? words[1] : joined, arguments: Array(words.dropFirst(joined.isEmpty ? 2 : 1)), settings)
        }
        if first == "-" { return try Scripts.standardInput(arguments: Array(words.dropFirst()), settings) }
        if first.hasSlash || first.hasSuffix(".lua") {
            return try Scripts.file(first, arguments: Array(words.dropFirst()), settings)
        }
        switch first {
        case "--help", "-h": return try run(["help"], settings)
        case "--version": return try command("version", ["--client"], settings)
        case "help":
            guard words.count > 1 else {
                Output.print(CommandTable.help)
                return 0
            }
            return try command(words[1], Array(words.dropFirst(2)) + ["--help"], settings)
        case _ where first.hasPrefix("-"):
            throw LunetteError(
                .invalidArgument, "read the options: unknown option \"\(first)\"",
                hint: nearest(
                    to: first, in: ["--root", "--state", "--config", "--in-process", "--verbose", "--dry-run", "--help", "--version"]
                )
                .map { "did you mean \"\($0)\"?" } ?? "see \"lunette --help\"")
        default:
            // Before all that takes time: a reload that is asked for in an engine's first moments waits for it.
            if first == "daemon" { SignalRelay.block() }
            return try command(first, Array(words.dropFirst()), settings)
        }
    }

    static func parse(_ words: [String], as type: any ParsableCommand.Type) throws -> any ParsableCommand {
        var words = JoinedValues.separated(words, for: type)
        var parsed = try type.parseAsRoot(words)
        while let command = parsed as? any PassthroughCommand,
            let separated = JoinedValues.separated(words, before: command.words, for: type)
        {
            words = separated
            parsed = try type.parseAsRoot(words)
        }
        return parsed
    }

    private static func command(_ name: String, _ words: [String], _ settings: Settings) throws(LunetteError) -> Int32 {
        guard let type = CommandTable.command(name) else { throw CommandTable.unknown(name) }
        // Its words are read by itself: on the way of every sandbox there is no parser and nothing of the engine.
        if name == "sandbox", !settings.isDryRun { return try SandboxCommand.run(words) }
        if settings.isDryRun {
            throw LunetteError(
                .unsupported, "use --dry-run with the command \(name): it is for scripts",
                hint: "lunette --dry-run FILE.lua, or lunette --dry-run -e CODE")
        }
        let parsed: any ParsableCommand
        do {
            parsed = try parse(words, as: type)
        } catch {
            return complain(error, type, words)
        }
        // Where everything from the first unknown word on is the program's, the parser leaves --help there as well.
        // -h is help too where it is no option (of run and create it is the host name).
        if let command = parsed as? any PassthroughCommand, command.words.first == "--help" || command.words.first == "-h" {
            Output.print(type.helpMessage())
            return 0
        }
        if let repl = parsed as? REPLCommand {
            let merged = repl.global.merged(into: settings)
            if merged.inProcess { try UserEngine.enter(merged) }
            return try Scripts.interactive(merged, isReadOnly: repl.readOnly, inside: repl.inside)
        }
        if let test = parsed as? TestCommand { return test.run(test.global.merged(into: settings)) }
        guard let command = parsed as? any LunetteCommand else {
            var command = parsed
            do { try command.run() } catch { return complain(error, type, words) }
            return 0
        }
        let settings = command.global.merged(into: settings)
        if command.hostsEngine || settings.inProcess { try UserEngine.enter(settings) }
        command.prepare()
        // SAFETY: handed to the one task that uses it from here on; this thread only waits.
        nonisolated(unsafe) let job = command
        return Blocking.wait { await perform(job, settings, script: "lunette \(name)") }
    }

    private static func perform(_ command: any LunetteCommand, _ settings: Settings, script: String) async -> Int32 {
        let client = Client(settings: settings, script: script)
        do throws(LunetteError) {
            let code = try await command.perform(client)
            await client.close()
            return code
        } catch {
            TerminalMode.restore()
            await client.close()
            ErrorPrinter.print(error, settings: settings)
            return error.commandExitCode
        }
    }

    /// What the parser has to say: help on stdout, complaints in our own form.
    private static func complain(_ error: any Error, _ type: any ParsableCommand.Type, _ words: [String]) -> Int32 {
        guard !type.exitCode(for: error).isSuccess else {
            Output.print(type.fullMessage(for: error))
            return 0
        }
        if let error = error as? LunetteError {
            ErrorPrinter.print(error, settings: Settings())
            return error.commandExitCode
        }
        ErrorPrinter.print(ParserComplaint.error(error, of: type, words), settings: Settings())
        // As test runners have it: 1 says that a test failed.
        return type is TestCommand.Type ? 2 : 125
    }
}
