import ArgumentParser
import LunetteSpec

struct InspectCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", _superCommandName: "lunette", abstract: "Describe containers, images or volumes.")

    @Option(help: ArgumentHelp("container, image or volume only.", valueName: "noun"), completion: .list(["container", "image", "volume"]))
    var type: String?
    @Option(name: .joined("f"), help: ArgumentHelp("json or a template such as '{{.status}}'.", valueName: "format")) var format: String?
    @Flag(help: "Print a container's launch plan instead.") var launchPlan = false
    @Argument(help: "Names or ids.", completion: Live.everything) var name: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var records: [(kind: String, value: Value)] = []
        var code: Int32 = 0
        for name in name {
            do throws(LunetteError) { records.append(try await record(name, client)) } catch {
                ErrorPrinter.print(error, settings: client.settings)
                code = error.commandExitCode
            }
        }
        if launchPlan {
            for record in records { Output.print(record.value["launch_plan"]?.stringValue ?? "") }
        } else {
            try InspectPrinter.print(records, format: format)
        }
        return code
    }

    private func record(_ name: String, _ client: Client) async throws(LunetteError) -> (kind: String, value: Value) {
        let kinds = ["container": "ContainerInfo", "image": "ImageInfo", "volume": "VolumeInfo"]
        let nouns = type.map { [$0] } ?? (launchPlan ? ["container"] : ["container", "image", "volume"])
        guard kinds[nouns[0]] != nil else {
            throw LunetteError(.invalidArgument, "inspect a \(nouns[0])", hint: "known: container, image, volume")
        }
        for noun in nouns {
            var arguments: ValueMap = [noun: .string(name)]
            if launchPlan, noun == "container" { arguments["launch_plan"] = true }
            do throws(LunetteError) {
                return (kinds[noun]!, try await client.call("\(noun).inspect", arguments))
            } catch  where nouns.count > 1 && (error.code == .notFound || error.code == .invalidArgument) {
                continue  // Perhaps it is one of the next noun.
            }
        }
        throw LunetteError(.notFound, "inspect \(name): there is no such \(nouns.count > 1 ? "container, image or volume" : nouns[0])")
    }
}

enum InspectPrinter {
    /// One JSON list of all, or a line a record.
    static func print(_ records: [(kind: String, value: Value)], format: String?) throws(LunetteError) {
        switch format {
        case nil: Output.print(JSON.shown(.array(records.map(\.value)), pretty: true))
        case "json": for record in records { Output.print(JSON.shown(record.value)) }
        case let text?:
            let template = try Template(text)
            for record in records { Output.print(try template.text(record.value, of: record.kind)) }
        }
    }
}
