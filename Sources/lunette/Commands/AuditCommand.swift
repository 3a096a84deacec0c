import ArgumentParser
import LunetteAPI
import LunetteSpec

struct SystemAudit: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Show who did what: calls that changed something, and refusals.",
        discussion: "The engine keeps it in audit.log in its root folder, in the order in which calls ended.")

    @Option(help: ArgumentHelp("From this long ago (1h), or this unix time.", valueName: "when")) var since: String?
    @Flag(name: [.short, .long], help: "Go on with what is added.") var follow = false
    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = ["follow": .bool(follow)]
        // All there is, also where it goes on.
        arguments["since"] = since.map(Pairs.number) ?? 0
        var template: Template?
        if let format = format.besideTable, format != "json" { template = try Template(format, words: ["table", "json"]) }
        let (shown, asJSON) = (template, format == "json")
        _ = try await client.call("system.follow_audit", arguments) { (entry) throws(LunetteError) in
            let line = asJSON ? JSON.shown(entry) : try shown?.text(entry, of: "AuditEntry") ?? Self.line(entry)
            guard Output.write(1, Array((line + "\n").utf8)) else {
                throw LunetteError(.cancelled, "print the audit log: nobody reads it any more")
            }
        }
        return 0
    }

    private static func line(_ entry: Value) -> String {
        var words = [entry["time"]?.doubleValue.map(Quantity.timestamp) ?? ""]
        words.append("uid=\(entry["uid"]?.intValue ?? -1) pid=\(entry["pid"]?.intValue ?? 0)")
        if let socket = entry["socket"]?.stringValue { words.append("socket=\(socket)") }
        if let script = entry["script"]?.stringValue {
            words.append("by=\"\(script)\(entry["line"]?.intValue.map { ":\($0)" } ?? "")\"")
        }
        words.append(entry["call"]?.stringValue ?? "")
        if let target = entry["target"]?.stringValue { words.append(target) }
        words.append(entry["outcome"]?.stringValue ?? "")
        if let reason = entry["reason"]?.stringValue {
            words.append("(\(entry["by"]?.stringValue.map { "\($0): " } ?? "")\(reason))")
        }
        if let cause = entry["cause"]?.arrayValue?.last?.stringValue { words.append("because of \(cause)") }
        return words.map(Text.safe).joined(separator: " ")
    }
}
