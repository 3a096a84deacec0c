import ArgumentParser
import LunetteEngine
import LunetteLinux
import LunetteSpec

struct SystemCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "system", _superCommandName: "lunette", abstract: "The engine and its machine.",
        subcommands: [SystemInfo.self, SystemCheck.self, SystemPrune.self, SystemAudit.self, SystemFaultPoints.self])
}

struct SystemInfo: LunetteCommand {
    static let configuration = CommandConfiguration(commandName: "info", abstract: "Describe the engine and its machine.")

    @Option(name: .joined("f"), help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let info = try await client.call("system.info")
        if let format = format.besideTable {
            try InspectPrinter.print([("SystemInfo", info)], format: format)
        } else {
            FieldPrinter.print(info)
        }
        return 0
    }
}

/// Prints a record as `name: value` lines, nested ones further in.
enum FieldPrinter {
    static func print(_ value: Value) { for line in lines(value, indent: 0) { Output.print(line) } }

    static func lines(_ value: Value, indent: Int) -> [String] {
        guard case .map(let map) = value else { return [] }
        let names = map.keys
        let width = names.map(Text.width).max() ?? 0
        let space = String(repeating: " ", count: indent)
        var lines: [String] = []
        for (name, item) in map {
            let head = space + Text.padded(title(name) + ":", to: width + 2)
            switch item {
            case .map(let inner) where !inner.isEmpty:
                lines.append(space + title(name) + ":")
                lines += self.lines(item, indent: indent + 2)
            case .array(let items): lines.append(head + items.map { word($0, name) }.joined(separator: ", "))
            default: lines.append(head + word(item, name))
            }
        }
        return lines
    }

    private static func title(_ name: String) -> String { String(Text.safe(name).map { $0 == "_" ? " " : $0 }) }

    private static func word(_ value: Value, _ name: String) -> String {
        switch value {
        case .string(let text): Text.safe(text)
        case .int(let number) where name.hasSuffix("_at"): Quantity.timestamp(Double(number))
        case .double(let number) where name.hasSuffix("_at"): Quantity.timestamp(number)
        case .int(let number): String(number)
        case .double(let number): number == number.rounded() ? String(Int64(number)) : Quantity.decimal(number, 3)
        case .null: "-"
        case .map(let map) where map.isEmpty: "-"
        default: Text.safe(JSON.encode(value))
        }
    }
}

struct SystemCheck: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Look for what is left over, missing or broken.",
        discussion: "Exits with 1 when something was found that isn't repaired.")

    @Flag(help: "Mend what can be mended.") var repair = false
    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let result = try await client.call("system.check", ["repair": .bool(repair)])
        let problems = result["problems"]?.arrayValue ?? []
        if let format = format.besideTable {
            try InspectPrinter.print([("CheckResult", result)], format: format)
        } else {
            for problem in problems {
                let repaired = problem["repaired"]?.boolValue == true ? " (repaired)" : ""
                let what = problem["what"]?.stringValue ?? problem.stringValue ?? JSON.encode(problem)
                Output.print(Text.safe("\(problem["kind"]?.stringValue.map { "\($0): " } ?? "")\(what)") + repaired)
            }
            if problems.isEmpty {
                let checked = (result["checked"]?.arrayValue ?? []).compactMap(\.stringValue)
                Output.print("clean" + (checked.isEmpty ? "" : ": " + Text.safe(checked.joined(separator: ", "))))
            } else if !repair {
                Output.note("hint: \"lunette system check --repair\" mends what can be mended")
            }
        }
        return problems.allSatisfy { $0["repaired"]?.boolValue == true } ? 0 : 1
    }
}

struct SystemPrune: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune", abstract: "Remove stopped containers, unused images and, if asked, unused volumes.")

    @Flag(name: [.short, .long], help: "Also images that have a reference.") var all = false
    @Flag(help: "Also volumes that no container uses.") var volumes = false
    @Flag(name: [.short, .long], help: "Don't ask.") var force = false
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let what =
            "all stopped containers, \(all ? "all images that no container uses" : "images without a reference")\(volumes ? ", unused volumes" : "")"
        guard force || Question.ask("This removes \(what).") else { return 1 }
        try PruneReport.print(await client.call("system.prune", ["all": .bool(all), "volumes": .bool(volumes)]))
        return 0
    }
}

/// For the crash tests: what `LUNETTE_FAULT` may name.
struct SystemFaultPoints: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "fault-points", abstract: "List fault points.", shouldDisplay: false)

    func run() { for name in FaultPoints.all { Output.print(name) } }
}

struct VersionCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", _superCommandName: "lunette", abstract: "Tell versions.")

    @Option(name: .joined("f"), help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @Flag(help: "Don't ask the engine.") var client = false
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var record: ValueMap = ["client": ["version": .string(Version.text), "api": 1]]
        if !self.client { record["engine"] = try await client.call("system.version") }
        if let format = format.besideTable {
            try InspectPrinter.print([(kind: "", .map(record))], format: format)
        } else {
            FieldPrinter.print(.map(record))
        }
        return 0
    }
}

enum Version {
    static let text = "0.1.0"
}
