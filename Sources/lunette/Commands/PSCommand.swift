import ArgumentParser
import LunetteSpec

struct PSCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps", _superCommandName: "lunette", abstract: "List containers.")

    @Flag(name: [.short, .long], help: "Also those that don't run.") var all = false
    @Flag(name: [.short, .long], help: "Only ids.") var quiet = false
    @Flag(help: "Whole ids and commands.") var noTrunc = false
    @Option(name: .joined("n"), help: ArgumentHelp("Only so many, the youngest first.", valueName: "number")) var last: Int?
    @Flag(name: [.short, .long], help: "Only the youngest.") var latest = false
    @Option(name: .joined("f"), help: ArgumentHelp("label=NAME[=VALUE], status=WORD (also restarting) or name=PART.", valueName: "filter"))
    var filter: [String] = []
    @Option(help: ArgumentHelp("json, table or a template such as '{{.Names}}'.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = ["all": .bool(all || last != nil || latest)]
        try Filters.read(filter, into: &arguments, known: ["label", "status", "name"])
        if arguments["status"] != nil { arguments["all"] = true }
        // Docker's word for one that has stopped and is to be started again.
        let asked = arguments["status"]?.arrayValue ?? []
        let wantsRestarting = asked.contains("restarting")
        if wantsRestarting { arguments["status"] = .array(asked.map { $0 == "restarting" ? "stopped" : $0 }) }
        // Templates and JSON may name any field; the usual table needs few, and asking for no more halves its time.
        if format.besideTable == nil {
            arguments["fields"] = .array(quiet ? ["id", "created_at", "status", "restart_at"] : ContainerRow.shown)
        }
        var records = try await client.call("container.inspect_all", arguments).arrayValue ?? []
        if wantsRestarting {
            records.removeAll { $0["restart_at"]?.doubleValue == nil && !asked.contains($0["status"] ?? .null) }
        }
        records.sort { ($0["created_at"]?.doubleValue ?? 0) > ($1["created_at"]?.doubleValue ?? 0) }
        if let count = latest ? 1 : last { records = Array(records.prefix(max(0, count))) }
        if !quiet, format != "json" { records = await ContainerRow.withImages(records, client) }
        let listing = Listing(
            kind: "ContainerInfo",
            columns: [
                .init("CONTAINER ID", "ID"), .init("IMAGE", "Image"), .init("COMMAND", "Command"), .init("CREATED", "RunningFor"),
                .init("STATUS", "Status"), .init("PORTS", "Ports"), .init("NAMES", "Names"),
            ],
            rows: records.map { ContainerRow.row($0, noTrunc: noTrunc) })
        try listing.print(format: format, quiet: quiet)
        return 0
    }
}

/// Docker's `--filter`s in the contract's arguments.
enum Filters {
    static func read(_ filters: [String], into arguments: inout ValueMap, known: [String]) throws(LunetteError) {
        var labels = ValueMap()
        var statuses: [Value] = []
        for filter in filters {
            let (name, value) = try Pairs.split(filter, option: "--filter", form: "name=value")
            guard known.contains(name) else {
                throw LunetteError(
                    .invalidArgument, "read --filter \"\(filter)\"",
                    hint: nearest(to: name, in: known).map { "did you mean \"\($0)\"?" } ?? "known: " + known.joined(separator: ", "))
            }
            switch name {
            case "label":
                // A name alone: the label is there, whatever its value.
                let pair = value.cut(at: "=")
                labels[pair.map { String($0.before) } ?? value] = pair.map { .string(String($0.after)) } ?? .null
            case "status": statuses.append(.string(try status(value, filter)))
            case "dangling":
                guard let flag = ["true": true, "1": true, "false": false, "0": false][value.lowercased()] else {
                    throw LunetteError(
                        .invalidArgument, "read --filter \"\(Text.safe(filter))\": it is neither true nor false",
                        hint: "write dangling=true")
                }
                arguments[name] = .bool(flag)
            default: arguments[name] = .string(value)
            }
        }
        if !labels.isEmpty { arguments["labels"] = .map(labels) }
        if !statuses.isEmpty { arguments["status"] = .array(statuses) }
    }
}

extension Filters {
    /// The engine's words, and Docker's beside them.
    private static let statuses = ["creating", "created", "running", "paused", "stopped", "exited", "restarting"]

    private static func status(_ word: String, _ filter: String) throws(LunetteError) -> String {
        guard statuses.contains(word) else {
            throw LunetteError(
                .invalidArgument, "read --filter \"\(Text.safe(filter))\": it is not a status",
                hint: nearest(to: word, in: statuses).map { "did you mean \"\($0)\"?" } ?? "known: " + statuses.joined(separator: ", "))
        }
        return word == "exited" ? "stopped" : word
    }
}

enum ContainerRow {
    /// What the usual columns are made of.
    static let shown: [Value] = [
        "id", "name", "status", "state", "health", "exit", "created_at", "started_at", "restart_at", "image", "spec.entrypoint",
        "spec.args",
        "spec.rootfs",
        "spec.image", "spec.pod",
    ]

    static func row(_ record: Value, noTrunc: Bool) -> Listing.Row {
        let id = record["id"]?.stringValue ?? ""
        let shortID = noTrunc ? id : String(id.prefix(12))
        let name = record["name"]?.stringValue ?? ""
        let command = "\"" + words(record).joined(separator: " ") + "\""
        let labels = (record["labels"]?.mapValue ?? [:]).map { "\($0.key)=\($0.value.stringValue ?? "")" }.sorted().joined(separator: ",")
        let mounts = (record["mounts"]?.arrayValue ?? []).compactMap { $0["source"]?.stringValue ?? $0["target"]?.stringValue }
        let created = record["created_at"]?.doubleValue ?? 0
        return Listing.Row(
            cells: [
                "ID": shortID, "Image": image(record, noTrunc: noTrunc),
                "Command": noTrunc ? command : Text.cut(Text.safe(command), to: 20),
                "RunningFor": Quantity.ago(created), "CreatedAt": Quantity.timestamp(created), "Status": status(record), "Ports": "",
                "Names": name, "State": record["status"]?.stringValue ?? "", "Labels": labels, "Mounts": mounts.joined(separator: ","),
                "Networks": (record["networks"]?.arrayValue ?? []).compactMap { $0["network"]?.stringValue }.joined(separator: ","),
            ], record: record, name: shortID)
    }

    /// The records with what their images say of the command, each image asked for once; one that is gone says nothing.
    static func withImages(_ records: [Value], _ client: Client) async -> [Value] {
        var configs: [String: ValueMap] = [:]
        var result: [Value] = []
        for record in records {
            guard var map = record.mapValue, var image = map["image"]?.mapValue, let id = image["id"]?.stringValue else {
                result.append(record)
                continue
            }
            if configs[id] == nil {
                let inspected = try? await client.call("image.inspect", ["image": .string(id)])
                configs[id] = inspected?["config"]?.mapValue ?? [:]
            }
            for field in ["entrypoint", "cmd"] { image[field] = configs[id]?[field] }
            map["image"] = .map(image)
            result.append(.map(map))
        }
        return result
    }

    /// What runs: the entrypoint and its arguments, as far as the record says.
    static func words(_ record: Value) -> [String] {
        let spec = record["spec"]
        let entry = spec?["entrypoint"]?.arrayValue ?? record["image"]?["entrypoint"]?.arrayValue ?? []
        // An entrypoint of the container's own takes nothing from the image's command.
        let given = spec?["args"]?.arrayValue ?? []
        let args = given.isEmpty && spec?["entrypoint"]?.arrayValue == nil ? record["image"]?["cmd"]?.arrayValue ?? [] : given
        return (entry + args).compactMap(\.stringValue)
    }

    private static func image(_ record: Value, noTrunc: Bool) -> String {
        if let reference = record["image"]?["ref"]?.stringValue, !reference.isEmpty {
            return (try? Reference(reference))?.familiar ?? reference  // What can't be read is shown as it stands.
        }
        if let digest = record["image"]?["digest"]?.stringValue, let colon = digest.firstIndex(of: ":") {
            let hex = digest[digest.index(after: colon)...]
            return noTrunc ? String(hex) : String(hex.prefix(12))
        }
        if record["spec"]?["pod"]?.boolValue == true { return "(pod)" }
        return record["spec"]?["rootfs"]?.stringValue ?? record["spec"]?["image"]?.stringValue ?? ""
    }

    private static func status(_ record: Value) -> String {
        let status = record["status"]?.stringValue ?? ""
        let up = record["started_at"]?.doubleValue.map { Quantity.duration(Quantity.now - $0) } ?? "?"
        // A lifecycle's own state stands beside the status it belongs to.
        let own = record["state"]?.stringValue.flatMap { $0 == status || $0.isEmpty ? nil : " [\($0)]" } ?? ""
        let checked = record["health"]?["status"]?.stringValue ?? "none"
        let health = checked == "none" ? "" : checked == "starting" ? " (health: starting)" : " (\(checked))"
        switch status {
        case "running": return "Up \(up)\(health)\(own)"
        case "paused": return "Up \(up) (Paused)\(own)"
        case "stopped":
            guard let exit = record["exit"], !exit.isNull else { return "Exited" }
            let code = exit["code"]?.intValue ?? 0
            let ago = exit["finished_at"]?.doubleValue.map { " " + Quantity.ago($0) } ?? ""
            if record["restart_at"]?.doubleValue != nil { return "Restarting (\(code))\(ago)" }
            let reason = exit["reason"]?.stringValue.flatMap { ["exited", "signal", "stopped"].contains($0) ? nil : ", \($0)" } ?? ""
            return "Exited (\(code)\(reason))\(ago)"
        default: return status.isEmpty ? "" : status.prefix(1).uppercased() + status.dropFirst()
        }
    }
}
