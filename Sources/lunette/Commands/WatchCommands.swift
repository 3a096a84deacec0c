import ArgumentParser
import LunetteAPI
import LunetteSpec
import Synchronization

struct EventsCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", _superCommandName: "lunette", abstract: "Show what happens, as it is committed.")

    @Option(help: ArgumentHelp("From this sequence number on, or this long ago (10m).", valueName: "when")) var since: String?
    @Option(help: ArgumentHelp("Up to this sequence number; 0s: up to now.", valueName: "when")) var until: String?
    @Option(
        name: .joined("f"), help: ArgumentHelp("name=container.*, target=NAME, kind=NOUN or label=NAME=VALUE.", valueName: "filter"))
    var filter: [String] = []
    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = [:]
        if let since { arguments["since"] = Pairs.number(since) }
        if let until { arguments["until"] = Pairs.number(until) }
        var match: ValueMap = [:]
        try Filters.read(filter, into: &match, known: ["name", "target", "kind", "label"])
        if !match.isEmpty { arguments["match"] = .map(match) }
        var template: Template?
        if let format = format.besideTable, format != "json" { template = try Template(format, words: ["table", "json"]) }
        let (shown, asJSON) = (template, format == "json")
        _ = try await client.call("events.follow", arguments) { (event) throws(LunetteError) in
            let line = asJSON ? JSON.shown(event) : try shown?.text(event, of: "Event") ?? Self.line(event)
            guard Output.write(1, Array((line + "\n").utf8)) else {
                throw LunetteError(.cancelled, "print events: nobody reads them any more")
            }
        }
        return 0
    }

    private static func line(_ event: Value) -> String {
        let time = event["time"]?.doubleValue.map(Quantity.timestamp) ?? ""
        let target = event["target"]
        var words = [time, String(event["sequence"]?.intValue ?? 0), event["name"]?.stringValue ?? ""]
        words.append(target?["name"]?.stringValue ?? String((target?["id"]?.stringValue ?? "").prefix(12)))
        if let exit = event["exit"], let code = exit["code"]?.intValue {
            words.append("code=\(code) reason=\(exit["reason"]?.stringValue ?? "")")
        }
        if let hook = event["hook"]?.stringValue {
            words.append("hook=\"\(hook)\" event=\(event["event"]?.stringValue ?? "") reason=\"\(event["reason"]?.stringValue ?? "")\"")
        }
        // What the engine does by itself (an exit seen, a restart due) has no user.
        if let actor = event["actor"], let uid = actor["uid"]?.intValue, uid >= 0 {
            words.append("uid=\(uid)" + (actor["script"]?.stringValue.map { " by=\"\($0)\"" } ?? ""))
        }
        return words.map(Text.safe).joined(separator: " ")
    }
}

struct StatsCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats", _superCommandName: "lunette", abstract: "Show what running containers use.")

    @Flag(help: "Once, then end.") var noStream = false
    @Flag(name: [.short, .long], help: .hidden) var all = false
    @Flag(help: "Whole ids.") var noTrunc = false
    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @Argument(help: "Names or ids; none: all that run.", completion: Live.containers) var container: [String] = []
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let isLive = !noStream && Output.isTerminal(1) && format == nil
        var before = try await read(client)
        while true {
            // Use of processor time is a difference.
            do { try await Task.sleep(for: .milliseconds(isLive ? 1000 : 200)) } catch { return 0 }
            let now = try await read(client)
            let rows = now.map { row($0, before: before[$0.key]) }.sorted { $0.cells["Name"]! < $1.cells["Name"]! }
            let listing = Listing(
                kind: "Stats",
                columns: [
                    .init("CONTAINER ID", "ID"), .init("NAME", "Name"), .init("CPU %", "CPUPerc"), .init("MEM USAGE / LIMIT", "MemUsage"),
                    .init("MEM %", "MemPerc"), .init("NET I/O", "NetIO"), .init("BLOCK I/O", "BlockIO"), .init("PIDS", "PIDs"),
                ], rows: rows)
            if isLive {
                var text = "\u{1b}[H\u{1b}[2J"
                for line in try listing.lines(format: nil, quiet: false) { text += line + "\n" }
                guard Output.write(1, Array(text.utf8)) else { return 0 }
            } else {
                try listing.print(format: format, quiet: false)
                if noStream || !Output.isTerminal(1) { return 0 }
            }
            before = now
        }
    }

    private func read(_ client: Client) async throws(LunetteError) -> [String: Value] {
        var targets: [(id: String, name: String)] = []
        if container.isEmpty {
            for handle in try await client.call("container.list", ["status": "running"]).arrayValue ?? [] {
                targets.append((handle["id"]?.stringValue ?? "", handle["name"]?.stringValue ?? ""))
            }
        } else {
            for name in container {
                let handle = try await client.call("container.get", ["container": .string(name)])
                targets.append((handle["id"]?.stringValue ?? "", handle["name"]?.stringValue ?? ""))
            }
        }
        var result: [String: Value] = [:]
        for target in targets {
            do throws(LunetteError) {
                guard case .map(var record) = try await client.call("container.stats", ["container": .string(target.id)]) else { continue }
                record["id"] = .string(target.id)
                record["name"] = .string(target.name)
                result[target.id] = .map(record)
            } catch  where container.isEmpty && [ErrorCode.notFound, .invalidState].contains(error.code) {
                continue  // It ended meanwhile.
            }
        }
        return result
    }

    private func row(_ entry: (key: String, value: Value), before: Value?) -> Listing.Row {
        let record = entry.value
        let memory = record["memory"]
        let (used, limit) = (memory?["used"]?.doubleValue ?? 0, memory?["limit"]?.doubleValue)
        var percent = 0.0
        if let before, let from = before["time"]?.doubleValue, let to = record["time"]?.doubleValue, to > from,
            let first = before["cpu"]?["used"]?.doubleValue, let last = record["cpu"]?["used"]?.doubleValue
        {
            percent = max(0, (last - first) / (to - from) * 100)
        }
        let id = noTrunc ? entry.key : String(entry.key.prefix(12))
        func size(_ value: Value?) -> String { Quantity.size(value?.doubleValue.flatMap { Int64(exactly: $0.rounded()) } ?? 0) }
        return Listing.Row(
            cells: [
                "ID": id, "Name": record["name"]?.stringValue ?? "", "Container": id, "CPUPerc": Quantity.decimal(percent, 2) + "%",
                "MemUsage": Quantity.binarySize(Int64(used)) + " / " + (limit.map { Quantity.binarySize(Int64(min($0, 9e18))) } ?? "-"),
                "MemPerc": limit.map { $0 > 0 ? Quantity.decimal(used / $0 * 100, 2) + "%" : "-" } ?? "-",
                // No network of one's own is counted yet.
                "NetIO": "-", "BlockIO": size(record["io"]?["read"]) + " / " + size(record["io"]?["written"]),
                "PIDs": String(Int64(record["pids"]?["current"]?.doubleValue ?? 0)),
            ], record: record, name: id)
    }
}

struct TopCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", _superCommandName: "lunette", abstract: "List a container's processes.")

    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @Argument(help: ArgumentHelp("Name or id.", valueName: "container"), completion: Live.containers) var words: [String] = []
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        guard let container = words.first else {
            throw LunetteError(
                .unsupported, "show the live screen: not built yet",
                hint: "\"lunette stats\" shows all containers, \"lunette top NAME\" one's processes")
        }
        guard words.count == 1 else {
            throw LunetteError(
                .invalidArgument, "top \(Text.safe(words.joined(separator: " "))): one container, and no options of ps",
                hint: "nothing is run to look into a container; \"--format\" chooses the columns")
        }
        let records = try await client.call("container.processes", ["container": .string(container)]).arrayValue ?? []
        let rows = records.map { record in
            let pid = record["pid"]?.intValue.map(String.init) ?? "-"
            return Listing.Row(
                cells: [
                    "User": record["user"]?.stringValue ?? "-", "PID": pid,
                    "Inside": record["container_pid"]?.intValue.map(String.init) ?? "-",
                    "PPID": record["parent_pid"]?.intValue.map(String.init) ?? "-", "State": record["state"]?.stringValue ?? "-",
                    "Threads": record["threads"]?.intValue.map(String.init) ?? "-",
                    "Started": record["started_at"]?.doubleValue.map(Quantity.ago) ?? "-",
                    "Memory": record["memory"]?.intValue.map(Quantity.binarySize) ?? "-",
                    "Time": record["cpu"]?.doubleValue.map { Quantity.decimal($0, 2) + "s" } ?? "-",
                    "Command": record["command"]?.stringValue ?? "",
                ], record: record, name: pid)
        }
        try Listing(
            kind: "ProcessInfo",
            columns: [
                .init("USER", "User"), .init("PID", "PID"), .init("PPID", "PPID"), .init("INSIDE", "Inside"), .init("S", "State"),
                .init("STARTED", "Started"),
                .init("MEMORY", "Memory"),
                .init("TIME", "Time"), .init("COMMAND", "Command"),
            ], rows: rows
        ).print(format: format, quiet: false)
        return 0
    }
}

struct PluginCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugin", _superCommandName: "lunette", abstract: "Plugins.", subcommands: [PluginList.self, PluginInspect.self])
}

struct PluginList: LunetteCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List plugins.", aliases: ["ls"])

    @Flag(name: [.short, .long], help: "Only names.") var quiet = false
    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let records = try await client.call("plugin.list").arrayValue ?? []
        let rows = records.map { record in
            let name = record["name"]?.stringValue ?? ""
            let provides = (record["provides"]?.mapValue ?? [:]).map { point, names in
                "\(point): " + (names.arrayValue ?? []).compactMap(\.stringValue).joined(separator: " ")
            }
            return Listing.Row(
                cells: [
                    "Name": name, "Version": record["version"]?.stringValue ?? "", "Status": record["status"]?.stringValue ?? "",
                    "Provides": provides.joined(separator: "; "),
                    "Summary": record["error"]?.stringValue ?? record["summary"]?.stringValue ?? "",
                ], record: record, name: name)
        }
        try Listing(
            kind: "PluginInfo",
            columns: [
                .init("NAME", "Name"), .init("VERSION", "Version"), .init("STATUS", "Status"), .init("PROVIDES", "Provides"),
                .init("SUMMARY", "Summary"),
            ], rows: rows
        ).print(format: format, quiet: quiet)
        return 0
    }
}

struct PluginInspect: LunetteCommand {
    static let configuration = CommandConfiguration(commandName: "inspect", abstract: "Describe plugins.")

    @Option(name: .joined("f"), help: ArgumentHelp("json or a template.", valueName: "format")) var format: String?
    @Argument(help: "Names.", completion: Live.plugins) var plugin: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var records: [Value] = []
        for name in plugin { records.append(try await client.call("plugin.inspect", ["plugin": .string(name)])) }
        try InspectPrinter.print(records.map { ("PluginInfo", $0) }, format: format)
        return 0
    }
}

struct HookCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hook", _superCommandName: "lunette", abstract: "Handlers of events.", subcommands: [HookList.self])
}

extension HookList {
    /// What a handler is for, in a word each: `labels.tier=prod kind=container`.
    fileprivate static func match(_ match: Value?) -> String {
        var words: [String] = []
        for (key, value) in match?.mapValue ?? [:] {
            switch value {
            case .map(let labels):
                for (name, wanted) in labels { words.append("\(key).\(name)" + (wanted.isNull ? "" : "=\(wanted.stringValue ?? "")")) }
            case .array(let names): words.append("\(key)=\(names.compactMap(\.stringValue).joined(separator: ","))")
            default: words.append("\(key)=\(value.stringValue ?? "")")
            }
        }
        return words.isEmpty ? "-" : words.joined(separator: " ")
    }
}

struct HookList: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the handlers of resident scripts, plugins and sessions, in the order in which they are asked.",
        aliases: ["ls"])

    @Flag(name: [.short, .long], help: "Only ids.") var quiet = false
    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        try Self.listing(try await client.call("hook.list").arrayValue ?? []).print(format: format, quiet: quiet)
        return 0
    }
}

extension HookList {
    /// As lines for people.
    static func table(_ records: [Value]) -> String {
        // A table takes no format that could be wrong.
        ((try? listing(records).lines(format: nil, quiet: false)) ?? []).joined(separator: "\n")
    }

    private static func listing(_ records: [Value]) -> Listing {
        let rows = records.map { record in
            let id = record["subscription"]?.stringValue ?? ""
            return Listing.Row(
                cells: [
                    "Kind": record["kind"]?.stringValue ?? "", "Event": record["event"]?.stringValue ?? "",
                    "Name": record["name"]?.stringValue ?? "-", "Source": record["source"]?.stringValue ?? "-",
                    "Status": record["suspended"]?.boolValue == true ? "suspended" : "active", "ID": id,
                    "Place": record["place"]?.stringValue ?? "-", "Match": Self.match(record["match"]),
                    "Priority": record["kind"] == "before" ? String(record["priority"]?.intValue ?? 0) : "-",
                    "Timeout": record["kind"] == "before" ? Quantity.decimal(record["timeout"]?.doubleValue ?? 0, 1) + "s" : "-",
                    "OnFailure": record["kind"] == "before" ? record["on_failure"]?.stringValue ?? "" : "-",
                ], record: record, name: id)
        }
        return Listing(
            kind: "Subscription",
            columns: [
                .init("KIND", "Kind"), .init("EVENT", "Event"), .init("NAME", "Name"), .init("PRIORITY", "Priority"),
                .init("MATCH", "Match"),
                .init("TIMEOUT", "Timeout"), .init("ON FAILURE", "OnFailure"), .init("SOURCE", "Source"), .init("STATUS", "Status"),
                .init("PLACE", "Place"),
            ], rows: rows
        )
    }
}
