internal import CLinux
internal import Glibc
package import LunetteSpec

/// `lunette sandbox`: from words to an exit code.
package enum SandboxCommandLine {
    /// - Parameters:
    ///   - words: behind `sandbox`.
    ///   - policy: reads a policy file: the table that it returns.
    /// - Returns: the program's exit code; 128+n by signal; 124 when the time ran out.
    /// - Throws: what kept it from running; the caller prints it and leaves with 125, or `details.exit_code` (126, 127).
    package static func run(
        _ words: [String], directory: String, policy: (String) throws(LunetteError) -> Value
    ) throws(LunetteError) -> Int32 {
        let arguments = try SandboxArguments(words)
        if arguments.wantsHelp {
            write(1, help)
            return 0
        }
        let table = try arguments.policy.map(policy)
        do throws(LunetteError) { return try run(arguments, table, directory: directory) } catch {
            throw arguments.named(error, policy: table)
        }
    }

    private static func run(_ arguments: SandboxArguments, _ table: Value?, directory: String) throws(LunetteError) -> Int32 {
        let home = SandboxFactsReader.homeFolder()
        let spec = try arguments.spec(
            policy: table, directory: directory, home: home, isShared: SandboxFactsReader.isShared(directory))
        let terminal = arguments.sharesTerminal || spec.args.isEmpty ? nil : SandboxFactsReader.terminal()
        let sandbox = try SandboxRun(spec, directory: directory, terminal: terminal)
        if arguments.explains {
            let entries = try sandbox.explanation()
            let text =
                arguments.wantsJSON
                ? JSON.shown(.array(entries.map(\.value))) + "\n" : entries.map { $0.line + "\n" }.joined()
            write(spec.args.isEmpty ? 1 : 2, text)
            if spec.args.isEmpty { return 0 }
        }
        if !arguments.explains, !arguments.wantsJSON, let words = try arguments.warning(spec, sandbox.facts) {
            write(2, "lunette: warning: \(words)\n")
        }
        if !arguments.wantsJSON { for words in arguments.idleHides(sandbox.facts) { write(2, "lunette: warning: \(words)\n") } }
        var streams = try SandboxRun.Streams.inherited()
        // What is typed is for whoever has the terminal; the kernel stops readers in the background only where it is their own.
        if SandboxFactsReader.isInBackground() { streams.input = nil }
        // Blocked before anything runs: a Ctrl-C in between is passed on, not lost and not ours.
        let signals = lnt_signalfd_all()
        if signals < 0 { throw LunetteError(.io, "listen for signals", errno: -signals) }
        let exit = try sandbox.run(streams, signals: signals)
        report(exit, spec, isJSON: arguments.wantsJSON)
        return exit.code
    }

    private static func report(_ exit: SandboxExit, _ spec: SandboxSpec, isJSON: Bool) {
        if isJSON { return write(2, JSON.shown(exit.value) + "\n") }
        for words in exit.notEnforced { write(2, "lunette: warning: \(words)\n") }
        if exit.isTimedOut { write(2, "lunette: the sandbox was killed after \(spec.timeout ?? 0) s: its time ran out (--timeout)\n") }
        if exit.isOutOfMemory {
            let limit = spec.resources.memory.map { ": its limit is \(Units.text(bytes: $0))" } ?? ""
            write(2, "lunette: the sandbox ran out of memory\(limit) (--memory)\n")
        }
        for access in exit.denied { write(2, access.line + "\n") }
    }

    package static var help: String {
        var text = """
            Run one command that sees and changes only what it is allowed. No image, no engine; ordinary users may.

            USAGE: lunette sandbox [OPTIONS] [--] COMMAND [ARGUMENTS…]
                   lunette sandbox POLICY.lua [OPTIONS] -- [COMMAND [ARGUMENTS…]]

            Without a rule for paths the working folder may be written and nothing else of the user's is seen. /tmp and the home folder are
            empty and in memory; the network is none; variables are a clean set. A policy is a Lua file that returns the table of sandbox.run;
            flags add to it, and "--" stands behind it.

            OPTIONS:

            """
        for option in SandboxArguments.options {
            let head = option.names.joined(separator: ", ") + (option.value.map { " \($0)" } ?? "")
            text += "  " + head + String(repeating: " ", count: max(1, 34 - head.count)) + option.help + "\n"
        }
        return text
            + "\nEXIT CODES: the command's; 128+n by signal n; 124 time ran out; 125 no sandbox; 126 not executable; 127 not found.\n"
    }

    private static func write(_ fd: Int32, _ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                return
            }
            rest = rest.dropFirst(count)
        }
    }
}
