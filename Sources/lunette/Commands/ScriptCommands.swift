import ArgumentParser
import LunetteSpec

struct ScriptCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "script", _superCommandName: "lunette", abstract: "Resident scripts.",
        subcommands: [ScriptList.self, ScriptRemove.self, ScriptSource.self])
}

struct ScriptList: LunetteCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List resident scripts.", aliases: ["ls"])

    @Flag(name: [.short, .long], help: "Only names.") var quiet = false
    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let records = try await client.call("script.list").arrayValue ?? []
        let rows = records.map { record in
            let name = record["name"]?.stringValue ?? ""
            return Listing.Row(
                cells: [
                    "Name": name, "Status": record["status"]?.stringValue ?? "", "Path": record["path"]?.stringValue ?? "",
                    "Origin": record["origin"]?.stringValue ?? "", "Handlers": String(record["handlers"]?.intValue ?? 0),
                ], record: record, name: name)
        }
        try Listing(
            kind: "ScriptInfo",
            columns: [
                .init("NAME", "Name"), .init("STATUS", "Status"), .init("ORIGIN", "Origin"), .init("HANDLERS", "Handlers"),
                .init("PATH", "Path"),
            ], rows: rows
        ).print(format: format, quiet: quiet)
        guard !quiet, format.besideTable == nil else { return 0 }
        // One problem for all of them: they are loaded together.
        if let problem = records.lazy.filter({ $0["status"] == "last_good" }).compactMap({ $0["error"]?.stringValue }).first {
            Output.note("what is on the disk is broken: \(Text.safe(problem))")
        }
        for record in records where record["status"] == "not_started" {
            Output.note("\(Text.safe(record["name"]?.stringValue ?? "")): \(Text.safe(record["error"]?.stringValue ?? ""))")
        }
        return 0
    }
}

struct ReloadCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload", _superCommandName: "lunette",
        abstract: "Put resident code as it is on the disk now in the place of what runs.",
        discussion: "All of it or nothing: where one file is broken, what ran before goes on.")

    @Option(help: ArgumentHelp("json or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let change = try await Waiting.told("waiting for handlers of resident code that are under way (ten seconds at most)") {
            () async throws(LunetteError) in
            try await client.call("script.reload")
        }
        if let format = format.besideTable {
            try InspectPrinter.print([("ScriptChange", change)], format: format)
            return 0
        }
        return ScriptReport.print(change: change)
    }
}

struct ScriptRemove: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Take away scripts that were applied.", aliases: ["rm"])

    @Flag(help: "Take away what they wanted there to be, too.") var prune = false
    @Argument(help: "Their names.", completion: Live.scripts) var name: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var code: Int32 = 0
        for name in name {
            let change = try await client.call("script.remove", ["name": .string(name), "prune": .bool(prune)])
            code = max(code, ScriptReport.print(change: change))
        }
        return code
    }
}

struct ScriptSource: LunetteCommand {
    static let configuration = CommandConfiguration(commandName: "source", abstract: "Print a resident script as it runs.")

    @Argument(help: "Its name.", completion: Live.scripts) var name: String
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        Output.write(1, try await client.call("script.source", ["name": .string(name)]).byteString ?? [])
        return 0
    }
}
