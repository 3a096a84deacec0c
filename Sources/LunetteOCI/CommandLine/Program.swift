internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// `lunette-oci`: reads the command line, runs one command, says how it went.
package enum OCIProgram {
    package static let version = "0.1.0"
    /// The runtime-spec version that state and hooks carry.
    static let specification = RuntimeSpec.version

    /// - Parameter arguments: without the program's own name.
    /// - Returns: the exit code: 0, 1 for a failure of ours, the program's own for `run` and `exec`.
    package static func main(_ arguments: [String]) -> Int32 {
        openStandardDescriptors()
        signal(SIGPIPE, SIG_IGN)
        // A caller that ignores it (inherited over execve): the kernel would throw away how our children end.
        signal(SIGCHLD, SIG_DFL)
        var log = ErrorLog(GlobalOptions(logOf: Options.none))
        var reportsProgram = false
        do throws(LunetteError) {
            let (options, rest) = try globalOptions(arguments)
            log = ErrorLog(GlobalOptions(logOf: options))
            let global = try GlobalOptions(options)
            if options.flag("version") {
                try printOut(versionText)
                return 0
            }
            guard let name = rest.first, name != "help", name != "h" else {
                if options.flag("help") || rest.first != nil, let topic = rest.dropFirst().first {
                    try printOut(Help.text(try command(topic)))
                } else {
                    try printOut(Help.text)
                }
                return 0
            }
            if options.flag("help") {
                try printOut(Help.text(try command(name)))
                return 0
            }
            try log.prepare()
            reportsProgram = name == "run" || name == "exec"
            return try run(try command(name), rest.dropFirst(), global, log)
        } catch {
            log.fail(error)
            // A program that isn't there, as a shell would say it: conmon hands these two on.
            let code = error.details?["exit_code"]?.intValue
            return reportsProgram && code == 126 ? 126 : reportsProgram && code == 127 ? 127 : 1
        }
    }

    private static func run(
        _ command: Command, _ words: ArraySlice<String>, _ global: GlobalOptions, _ log: ErrorLog
    ) throws(LunetteError) -> Int32 {
        let known = command.options + [Option("help", "h", .none, "print this help")]
        let options = try Options(words, known, order: command.order)
        if options.flag("help") {
            try printOut(Help.text(command))
            return 0
        }
        guard command.count.contains(options.arguments.count) else {
            let what = options.arguments.count < command.count.lowerBound ? "too few arguments" : "too many arguments"
            throw LunetteError(.invalidArgument, "\(command.name): \(what)", hint: "lunette-oci \(command.name) \(command.arguments)")
        }
        if command.usesState { try DefaultRoot.prepare(global.root) }
        // The container, not what an exec runs in it: its arguments may be secrets.
        log.debug("\(command.name) \(displayable(options.arguments.first ?? "", limit: 200)) (pid \(getpid()), state in \(global.root))")
        return try command.run(Invocation(global: global, options: options, log: log))
    }

    /// Global options end at the command's name.
    private static func globalOptions(_ arguments: [String]) throws(LunetteError) -> (Options, ArraySlice<String>) {
        let options = try Options(arguments[...], GlobalOptions.options, order: .beforeArguments)
        return (options, options.arguments[...])
    }

    private static func command(_ name: String) throws(LunetteError) -> Command {
        guard let command = Command.named(name) else {
            let names = Command.names
            throw LunetteError(
                .invalidArgument, "unknown command \"\(displayable(name, limit: 40))\"",
                hint: nearest(to: name, in: names).map { "did you mean \"\($0)\"?" } ?? "commands: " + names.joined(separator: ", "))
        }
        return command
    }

    /// What Podman, containerd and CRI-O read: the first line's name and version, and the specification's.
    static var versionText: String { "lunette-oci version \(version)\nspec: \(specification)\n" }

    /// A caller that closed 0, 1 or 2 would have our own files there, and the container's program would get them.
    private static func openStandardDescriptors() {
        for fd: Int32 in 0...2 where fcntl(fd, F_GETFD) < 0 { _ = open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) }
    }
}

extension Options {
    /// Nothing was given.
    static let none: Options = {
        do throws(LunetteError) { return try Options([], [], order: .anywhere) } catch { fatalError("no words can't be wrong") }
    }()
}
