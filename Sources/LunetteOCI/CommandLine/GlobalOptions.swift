internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// What stands before the command's name.
struct GlobalOptions: Sendable {
    enum LogFormat: String { case text, json }
    enum CgroupDriver: Sendable { case cgroupfs, systemd }

    /// Where containers' states are.
    var root: String
    var log: String?
    var logFormat = LogFormat.text
    var isDebug = false
    var driver = CgroupDriver.cgroupfs
    /// Goes on without cgroups that an ordinary user may not make (`--rootless`); nil = decided by who calls.
    var ignoresCgroupPermissions: Bool?

    static let options: [Option] = [
        Option(
            "root", nil, .value("DIR"),
            "where the state of containers is kept (default: /run/lunette-oci; an ordinary user's is below XDG_RUNTIME_DIR)"),
        Option("log", nil, .value("FILE"), "append errors and warnings to FILE; it is made"),
        Option("log-format", nil, .value("FORMAT"), "text (default) or json"),
        Option("debug", nil, .none, "log what is done, not errors alone"),
        Option("systemd-cgroup", nil, .none, "let systemd make the cgroups; cgroupsPath is SLICE:PREFIX:NAME then"),
        Option("cgroup-manager", nil, .value("DRIVER"), "cgroupfs (default) or systemd"),
        Option("rootless", nil, .value("MODE"), "true, false or auto (default): go on where an ordinary user may not make cgroups"),
        Option("criu", nil, .value("PATH"), "taken and not used: checkpoints are unsupported"),
        Option("help", "h", .none, "print this help"),
        Option("version", "v", .none, "print the version"),
    ]

    /// The log options alone, so that an error in the others is logged where the caller looks.
    init(logOf options: Options) {
        root = DefaultRoot.current
        log = options.value("log")
        logFormat = options.value("log-format").flatMap(LogFormat.init(rawValue:)) ?? .text
        isDebug = options.flag("debug")
    }

    /// - Throws: `invalid_argument` for values that mean nothing.
    init(_ options: Options) throws(LunetteError) {
        self.init(logOf: options)
        if let text = options.value("log-format"), LogFormat(rawValue: text) == nil {
            throw LunetteError(.invalidArgument, "--log-format: \"\(displayable(text, limit: 40))\" is not text or json")
        }
        if let path = options.value("root") {
            guard !path.isEmpty else { throw LunetteError(.invalidArgument, "--root is empty") }
            root = absolute(path)
        }
        switch options.value("cgroup-manager") {
        case nil, "cgroupfs"?: break
        case "systemd"?: driver = .systemd
        case let text?:
            throw LunetteError(.invalidArgument, "--cgroup-manager: \"\(displayable(text, limit: 40))\" is not cgroupfs or systemd")
        }
        if options.flag("systemd-cgroup") { driver = .systemd }
        switch options.value("rootless") {
        case nil, "auto"?: break
        case "true"?: ignoresCgroupPermissions = true
        case "false"?: ignoresCgroupPermissions = false
        case let text?: throw LunetteError(.invalidArgument, "--rootless: \"\(displayable(text, limit: 40))\" is not true, false or auto")
        }
    }

}

/// A path as the working directory's, by its text alone.
func absolute(_ path: String) -> String {
    if path.utf8.first == UInt8(ascii: "/") { return path }
    guard let folder = getcwd(nil, 0) else { return path }
    defer { free(folder) }
    let base = String(cString: folder)
    if path == "." { return base }
    return base == "/" ? "/\(path)" : "\(base)/\(path)"
}
