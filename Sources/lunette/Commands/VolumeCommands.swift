import ArgumentParser
import LunetteSpec

struct VolumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "volume", _superCommandName: "lunette", abstract: "Volumes.",
        subcommands: [VolumeCreate.self, VolumeList.self, VolumeInspect.self, VolumeRemove.self, VolumePrune.self])
}

struct VolumeCreate: LunetteCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Make a volume.")

    @Option(name: .joined("d"), help: ArgumentHelp("The volume driver.", valueName: "name")) var driver: String?
    @Option(help: ArgumentHelp("How much it may hold.", valueName: "size")) var size: String?
    @Option(name: .joined("l"), help: ArgumentHelp("Mark it.", valueName: "name=value")) var label: [String] = []
    @Option(name: [.customShort("o"), .customLong("opt")], help: ArgumentHelp("The driver's own option.", valueName: "name=value"))
    var option: [String] = []
    @Argument(help: "Its name.") var name: String
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = ["name": .string(name)]
        if let driver { arguments["driver"] = .string(driver) }
        if let size { arguments["size"] = .string(size) }
        if !label.isEmpty { arguments["labels"] = .map(try Pairs.read(label, option: "--label", valueMayMiss: true)) }
        if !option.isEmpty { arguments["options"] = .map(try Pairs.read(option, option: "--opt", valueMayMiss: true)) }
        let handle = try await client.call("volume.create", arguments)
        Output.print(Text.safe(handle["name"]?.stringValue ?? name))
        return 0
    }
}

struct VolumeList: LunetteCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: "List volumes.", aliases: ["list"])

    @Flag(name: [.short, .long], help: "Only names.") var quiet = false
    @Option(name: .joined("f"), help: ArgumentHelp("label=NAME[=VALUE] or driver=NAME.", valueName: "filter")) var filter: [String] = []
    @Option(help: ArgumentHelp("json, table or a template such as '{{.Name}}'.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = [:]
        try Filters.read(filter, into: &arguments, known: ["label", "driver"])
        let records = try await client.call("volume.inspect_all", arguments).arrayValue ?? []
        let rows = records.map { record in
            let name = record["name"]?.stringValue ?? ""
            return Listing.Row(cells: ["Driver": record["driver"]?.stringValue ?? "", "Name": name], record: record, name: name)
        }
        try Listing(
            kind: "VolumeInfo", columns: [.init("DRIVER", "Driver"), .init("VOLUME NAME", "Name")], rows: rows.sorted { $0.name < $1.name }
        )
        .print(format: format, quiet: quiet)
        return 0
    }
}

struct VolumeInspect: LunetteCommand {
    static let configuration = CommandConfiguration(commandName: "inspect", abstract: "Describe volumes.")

    @Option(name: .joined("f"), help: ArgumentHelp("json or a template.", valueName: "format")) var format: String?
    @Argument(help: "Names.", completion: Live.volumes) var volume: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var records: [Value] = []
        for name in volume { records.append(try await client.call("volume.inspect", ["volume": .string(name)])) }
        try InspectPrinter.print(records.map { ("VolumeInfo", $0) }, format: format)
        return 0
    }
}

struct VolumeRemove: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Remove volumes and what is in them.", aliases: ["remove"])

    @Flag(name: [.short, .long], help: "Also when its driver fails; what isn't there is no error.") var force = false
    @Argument(help: "Names.", completion: Live.volumes) var volume: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let force = force
        return await forEach(volume, client) { (name) throws(LunetteError) in
            do throws(LunetteError) {
                _ = try await client.call("volume.remove", ["volume": .string(name), "force": .bool(force)])
            } catch  where force && error.code == .notFound {
                return nil
            }
            return name
        }
    }
}

struct VolumePrune: LunetteCommand {
    static let configuration = CommandConfiguration(commandName: "prune", abstract: "Remove volumes that no container uses.")

    @Flag(name: [.short, .long], help: "Don't ask.") var force = false
    @Option(help: ArgumentHelp("label=NAME[=VALUE].", valueName: "filter")) var filter: [String] = []
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var arguments: ValueMap = [:]
        try Filters.read(filter, into: &arguments, known: ["label"])
        guard force || Question.ask("This removes all volumes that no container uses, with what is in them.") else { return 1 }
        try PruneReport.print(await client.call("volume.prune", arguments))
        return 0
    }
}

enum PruneReport {
    static func print(_ result: Value) throws(LunetteError) {
        for name in result["removed"]?.arrayValue ?? [] {
            // Plain names, or tables that say of which kind.
            Output.print(Text.safe(name.stringValue ?? name["name"]?.stringValue ?? JSON.encode(name)))
        }
        Output.print("Reclaimed: \(Quantity.size(result["reclaimed"]?.intValue ?? 0))")
    }
}

/// Asks before what can't be undone; scripts have no terminal and say --force.
enum Question {
    static func ask(_ warning: String) -> Bool {
        guard Output.isTerminal(0) else {
            Output.note("lunette: ask before pruning: the input is not a terminal\nhint: use --force")
            return false
        }
        Output.write(2, Array("\(warning) Go on? [y/N] ".utf8))
        return ["y", "yes"].contains((readLine() ?? "").lowercased())
    }
}
