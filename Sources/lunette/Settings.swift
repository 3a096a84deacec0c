import ArgumentParser
import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec

/// Where the state is and how the engine is reached: from the environment, then from options.
struct Settings: Sendable {
    var root: String
    var state: String
    /// Folder of registries.json and certs.d; nil: the engine's default.
    var configuration: String?
    /// A socket to reach an engine at, in place of its own: one that a resident script has declared for others.
    var socket: String?
    /// By the caller, rather than by who the caller is.
    var isRootNamed: Bool
    /// Likewise.
    var isConfigurationNamed: Bool
    /// Whether what is printed is read by people, as far as the words of the command tell.
    let isForPeople = !CommandLine.arguments.contains { $0 == "--format" || $0.hasPrefix("--format=") }
    var inProcess = false
    var isVerbose = false
    var isDryRun = false

    init() {
        let places = EnginePlaces(uid: geteuid(), home: Environment["HOME"] ?? "/")
        (root, state) = (places.root, places.state)
        isRootNamed = Environment["LUNETTE_ROOT"] != nil
        isConfigurationNamed = Environment["LUNETTE_CONFIG"] != nil
        // A user without one has the machine's.
        let isDirectory = (try? Directory(places.configuration)) != nil
        configuration = Environment["LUNETTE_CONFIG"] ?? (geteuid() != 0 && isDirectory ? places.configuration : nil)
        isVerbose = Environment["LUNETTE_VERBOSE"] == "1"
        socket = Environment["LUNETTE_SOCKET"]
        makeAbsolute()
    }

    /// The engine has another working directory than its caller.
    mutating func makeAbsolute() {
        let directory = workingDirectory()
        root = APIRegistry.absolutePath(root, directory: directory)
        state = APIRegistry.absolutePath(state, directory: directory)
        configuration = configuration.map { APIRegistry.absolutePath($0, directory: directory) }
        socket = socket.map { APIRegistry.absolutePath($0, directory: directory) }
    }

    /// The way to the engine of these places, which is started when there is none.
    var client: any EngineConnector {
        if let socket { return EngineClient(socket: socket) }
        let client = EngineClient(state: state, start: EngineStart(arguments: arguments))
        return isRootNamed || isConfigurationNamed ? RootedConnector(connector: client, settings: self) : client
    }

    /// The options that give an engine started by us the same places.
    var arguments: [String] {
        ["--root", root, "--state", state] + (configuration.map { ["--config", $0] } ?? [])
    }

    /// Takes the global options that stand before the command.
    /// - Returns: what is left.
    /// - Throws: `invalid_argument` for an option without its value.
    mutating func take(_ arguments: [String]) throws(LunetteError) -> [String] {
        var rest = arguments[...]
        while let first = rest.first {
            let (name, joined) = first.splitOption()
            switch name {
            case "--in-process": inProcess = true
            case "--verbose": isVerbose = true
            case "--dry-run": isDryRun = true
            case "--root", "--state", "--config", "--socket":
                var value = joined
                if value == nil, rest.count > 1 {
                    rest = rest.dropFirst()
                    value = rest.first
                }
                guard let value, !value.isEmpty else {
                    throw LunetteError(.invalidArgument, "read the options: \(name) needs a \(name == "--socket" ? "path" : "directory")")
                }
                switch name {
                case "--root": (root, isRootNamed) = (value, true)
                case "--state": state = value
                case "--socket": socket = value
                default: (configuration, isConfigurationNamed) = (value, true)
                }
            default:
                makeAbsolute()
                return Array(rest)
            }
            rest = rest.dropFirst()
        }
        makeAbsolute()
        return []
    }
}

extension String {
    /// `--name=value` in two.
    fileprivate func splitOption() -> (String, String?) {
        guard hasPrefix("--"), let equals = firstIndex(of: "=") else { return (self, nil) }
        return (String(self[..<equals]), String(self[index(after: equals)...]))
    }
}

/// The same options behind the command's name.
struct GlobalOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Directory of lasting state (LUNETTE_ROOT).", valueName: "dir")) var root: String?
    @Option(help: ArgumentHelp("Directory of passing state (LUNETTE_STATE).", valueName: "dir")) var state: String?
    @Option(help: ArgumentHelp("Settings: init.lua, conf.d, lua, registries.json, certs.d (LUNETTE_CONFIG).", valueName: "dir")) var config:
        String?
    @Option(
        help: ArgumentHelp("Reach the engine at this socket; none is started (LUNETTE_SOCKET).", valueName: "path"), completion: .file())
    var socket: String?
    @Flag(help: "Host the engine in this process instead of talking to it.") var inProcess = false
    @Flag(help: "Print the chain of causes with an error.") var verbose = false

    func merged(into settings: Settings) -> Settings {
        var settings = settings
        if let root { (settings.root, settings.isRootNamed) = (root, true) }
        if let state { settings.state = state }
        if let config { (settings.configuration, settings.isConfigurationNamed) = (config, true) }
        if let socket { settings.socket = socket }
        if inProcess { settings.inProcess = true }
        if verbose { settings.isVerbose = true }
        settings.makeAbsolute()
        return settings
    }
}

func workingDirectory() -> String {
    guard let path = getcwd(nil, 0) else { return "/" }
    defer { free(path) }
    return String(cString: path)
}
