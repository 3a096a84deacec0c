import ArgumentParser
import LunetteLua
import LunetteSandbox
import LunetteSpec

/// Stands in the table for help and completion; what it does is `LunetteSandbox`'s, which reads its own words (`Lunette.run`).
struct SandboxCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sandbox", _superCommandName: "lunette", abstract: "Run one command that sees and changes only what it is allowed.",
        usage: "lunette sandbox [POLICY.lua --] [OPTIONS] [--] COMMAND…", helpNames: .long)

    @Option(help: "See and execute a file or folder.", completion: .file()) var allowRead: [String] = []
    @Option(help: "Change it as well.", completion: .file()) var allowWrite: [String] = []
    @Option(help: "Change a folder for this run only.", completion: .directory) var `private`: [String] = []
    @Option(help: "Leave something out of what is allowed.", completion: .file()) var hide: [String] = []
    @Option(help: "An empty folder in memory.") var tmpfs: [String] = []
    @Option(help: "What each folder in memory may hold.") var scratch: String?
    @Option(help: "A device node.", completion: .file()) var dev: [String] = []
    @Flag(help: "Without the preset of programs and libraries.") var noSystem = false
    @Flag(help: "Only read the working folder.") var readOnly = false
    @Option(help: "The network it sees.", completion: .list(["none", "host"])) var network: String?
    @Option(help: "TCP ports it may connect to.") var allowConnect: [String] = []
    @Option(help: "TCP ports it may listen on.") var allowBind: [String] = []
    @Option(name: [.customShort("e"), .long], help: "Set a variable.") var env: [String] = []
    @Flag(help: "Hand all variables on.") var keepEnv = false
    @Option(name: [.customShort("w"), .long], help: "Where it starts.", completion: .directory) var workdir: String?
    @Option(help: "Its host name.") var hostname: String?
    @Option(name: [.customShort("m"), .long], help: "Memory limit.") var memory: String?
    @Option(help: "Processors' worth of time.") var cpus: String?
    @Option(help: "Processors it may use.") var cpusetCpus: String?
    @Option(help: "Processes and threads.") var pidsLimit: String?
    @Option(help: "Kill everything after this long.") var timeout: String?
    @Option(help: "Which system calls pass.", completion: .list(["default", "unconfined"])) var seccomp: String?
    @Flag(help: "Without Landlock.") var noLandlock = false
    @Flag(help: "Name what was asked for outside the rules.") var report = false
    @Flag(help: "Run it also where a limit can't be held.") var bestEffort = false
    @Flag(help: "No terminal of its own.") var noTty = false
    @Option(help: "How results are written.", completion: .list(["text", "json"])) var format: String?
    @Flag(help: "Say which layer holds what.") var explain = false
    @Argument(parsing: .captureForPassthrough, help: "Policy file, then the program and its arguments.", completion: .file())
    var words: [String] = []

    /// Runs it on the calling thread.
    static func run(_ words: [String]) throws(LunetteError) -> Int32 {
        try SandboxCommandLine.run(words, directory: workingDirectory()) { (path) throws(LunetteError) in
            try PolicyFile.table(path)
        }
    }
}
