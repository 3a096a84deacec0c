import ArgumentParser
import LunetteSpec

/// How a container's health is checked, in Docker's words and ours.
struct HealthOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Check its health by a command in it.", valueName: "command")) var healthCmd: String?
    @Option(help: ArgumentHelp("Check its health by a GET on its loopback: PORT[/PATH].", valueName: "where")) var healthHttp: String?
    @Option(help: ArgumentHelp("Check its health by a connection on its loopback.", valueName: "port")) var healthTcp: String?
    @Option(help: ArgumentHelp("From one check to the next (10s).", valueName: "duration")) var healthInterval: String?
    @Option(help: ArgumentHelp("A check has failed after this long (5s).", valueName: "duration")) var healthTimeout: String?
    @Option(help: ArgumentHelp("Failures in a row that make it unhealthy (3).", valueName: "number")) var healthRetries: Int?
    @Option(help: ArgumentHelp("Failures don't count for this long (0s).", valueName: "duration")) var healthStartPeriod: String?
    @Option(help: ArgumentHelp("Between checks until the first success (1s).", valueName: "duration")) var healthStartInterval: String?
    @Option(
        help: ArgumentHelp("What follows when it is unhealthy: none, restart or stop.", valueName: "what"),
        completion: .list(["none", "restart", "stop"])) var onUnhealthy: String?
    @Flag(help: "No check, not the image's either.") var noHealthcheck = false

    /// The contract's `health`; nil when nothing is said of it.
    /// - Throws: `invalid_argument` for what can't stand together.
    func value() throws(LunetteError) -> Value? {
        var map = ValueMap()
        var given: [String] = []
        if let healthCmd {
            map["exec"] = ["/bin/sh", "-c", .string(healthCmd)]
            given.append("--health-cmd")
        }
        if let healthHttp {
            let at = healthHttp.firstIndex(of: "/") ?? healthHttp.endIndex
            let path = healthHttp[at...]
            map["http"] = [
                "port": .int(try port(String(healthHttp[..<at]), "--health-http", "8080/ready")),
                "path": .string(path.isEmpty ? "/" : String(path)),
            ]
            given.append("--health-http")
        }
        if let healthTcp {
            map["tcp"] = ["port": .int(try port(healthTcp, "--health-tcp", "6379"))]
            given.append("--health-tcp")
        }
        if given.count > 1 {
            throw LunetteError(
                .invalidArgument, "use \(given[1]) with \(given[0]): a container has one check", hint: "leave one of them out")
        }
        var settings = ValueMap()
        if let healthInterval { settings["period"] = Pairs.number(healthInterval) }
        if let healthTimeout { settings["timeout"] = Pairs.number(healthTimeout) }
        if let healthRetries { settings["failure_threshold"] = .int(Int64(healthRetries)) }
        if let healthStartPeriod { settings["start_period"] = Pairs.number(healthStartPeriod) }
        if let healthStartInterval { settings["start_interval"] = Pairs.number(healthStartInterval) }
        if let onUnhealthy { settings["on_unhealthy"] = .string(onUnhealthy) }
        if noHealthcheck {
            guard map.isEmpty, settings.isEmpty else {
                throw LunetteError(
                    .invalidArgument, "use --no-healthcheck with \(given.first ?? "settings of a check")", hint: "leave one of them out")
            }
            return false
        }
        if map.isEmpty {
            if settings.isEmpty { return nil }
            throw LunetteError(
                .invalidArgument, "read the settings of a health check: there is no check",
                hint: "--health-cmd, --health-http or --health-tcp says what is tried")
        }
        for (key, value) in settings { map[key] = value }
        return .map(map)
    }

    private func port(_ text: String, _ option: String, _ example: String) throws(LunetteError) -> Int64 {
        guard let port = UInt16(text), port > 0 else {
            throw LunetteError(
                .invalidArgument, "read \(option) \"\(Text.safe(text))\": it begins with no port", hint: "write \(option) \(example)")
        }
        return Int64(port)
    }
}
