import ArgumentParser
import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec

struct PlanCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", _superCommandName: "lunette", abstract: "Show what installing a resident script would change.")

    @OptionGroup var given: ApplyOptions
    @Option(help: ArgumentHelp("json or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let plan = try await given.send("script.plan", client)
        if let format = format.besideTable {
            try InspectPrinter.print([("ScriptPlan", plan)], format: format)
        } else {
            ScriptReport.print(plan: plan)
        }
        // As with a conflict in `apply`: nothing would be done.
        return (plan["objects"]?.arrayValue ?? []).contains { $0["action"] == "conflict" } ? 1 : 0
    }
}

struct ApplyCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", _superCommandName: "lunette",
        abstract: "Install a resident script, which lives in the engine until it is removed.",
        discussion: """
            Its source and what it requires are stored; the file isn't looked at again. It may call what --grant names, and nothing else.
            Objects that it wants (container.apply …) are brought about.
            """)

    @OptionGroup var given: ApplyOptions
    @Flag(name: [.short, .long], help: "Without a question.") var yes = false
    @Option(help: ArgumentHelp("json or a template.", valueName: "format")) var format: String?
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var grants = given.grant
        if !yes {
            let plan = try await given.send("script.plan", client)
            ScriptReport.print(plan: plan)
            if let conflict = (plan["objects"]?.arrayValue ?? []).first(where: { $0["action"] == "conflict" }) {
                throw LunetteError(
                    .conflict,
                    "apply \(given.file): the \(conflict["kind"]?.stringValue ?? "") \(Text.safe(conflict["name"]?.stringValue ?? "")) can't be changed so",
                    hint: "what can't change needs another name, or the old one removed first")
            }
            guard Output.isTerminal(0) else {
                throw LunetteError(
                    .invalidState, "apply \(given.file): nobody is here to be asked", hint: "--yes applies it without a question")
            }
            let lacking = (plan["lacking"]?.arrayValue ?? []).compactMap(\.stringValue)
            if !lacking.isEmpty, ask("grant \(lacking.joined(separator: ", "))?") { grants += lacking }
            guard ask("apply it?") else { return 1 }
        }
        let done = try await given.send("script.apply", client, grants: grants)
        if let format = format.besideTable {
            try InspectPrinter.print([("ScriptPlan", done)], format: format)
        } else if yes {
            ScriptReport.print(plan: done)
        }
        return ScriptReport.noteErrors(done)
    }

    private func ask(_ question: String) -> Bool {
        Output.write(1, Array("\(question) [y/N] ".utf8))
        return ["y", "Y", "yes"].contains(readLine() ?? "")
    }
}

/// What `plan` and `apply` are given.
struct ApplyOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Its name in the engine (the file's).", valueName: "name")) var name: String?
    @Option(help: ArgumentHelp("What it may call: container.exec, volume.*, *.", valueName: "function")) var grant: [String] = []
    @Flag(help: "Take away what it no longer wants there to be.") var prune = false
    @Argument(help: "The script.", completion: .file(extensions: ["lua"])) var file: String

    /// Sends the script, and what it requires when the engine asks for it.
    func send(_ function: String, _ client: Client, grants: [String]? = nil) async throws(LunetteError) -> Value {
        let path = APIRegistry.absolutePath(file, directory: workingDirectory())
        let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        let base = String(path[path.index(after: path.lastIndex(of: "/") ?? path.startIndex)...])
        let source = try HostFile.read(path, what: "the script")
        var modules = ValueMap()
        // Each answer names one module at most; a script that needs more is no script.
        for _ in 0..<200 {
            do throws(LunetteError) {
                let arguments: ValueMap = [
                    "name": .string(name ?? (base.hasSuffix(".lua") ? String(base.dropLast(4)) : base)), "file": .string(base),
                    "source": .text(source), "modules": .map(modules), "grants": .array((grants ?? grant).map(Value.string)),
                    "prune": .bool(prune),
                ]
                return try await Waiting.told("waiting for handlers of resident code that are under way (ten seconds at most)") {
                    () async throws(LunetteError) in
                    try await client.call(function, arguments)
                }
            } catch {
                var error = error
                if error.path?.hasPrefix("grants[") == true { error.path = "--grant" }
                if error.path == "name" { error.path = "--name" }
                guard error.code == .notFound, let module = error.details?["module"]?.stringValue, modules[module] == nil,
                    let found = try Self.module(module, in: folder)
                else { throw error }
                modules[module] = .text(found)
            }
        }
        throw LunetteError(.resourceExhausted, "apply \(file): it requires more than 200 modules")
    }

    private static func module(_ name: String, in folder: String) throws(LunetteError) -> [UInt8]? {
        for candidate in try ModuleName.candidates(name) where access("\(folder)/\(candidate)", F_OK) == 0 {
            return try HostFile.read("\(folder)/\(candidate)", what: "module \(name)")
        }
        return nil
    }
}

/// How changes of resident code are shown.
enum ScriptReport {
    private static let marks = ["create": "+", "update": "~", "same": "=", "conflict": "!", "remove": "-", "leave": "?"]

    static func print(plan: Value) {
        func line(_ action: String, _ what: String, _ name: String, _ rest: String) {
            let words = [Text.padded(what, to: 9), Text.padded(Text.safe(name), to: 24), Text.safe(rest)].joined(separator: " ")
            Output.print("\(marks[action] ?? " ") \(words.trimmed)")
        }
        line(plan["action"]?.stringValue ?? "", "script", plan["script"]?.stringValue ?? "", "")
        for handler in plan["handlers"]?.arrayValue ?? [] {
            let event = "\(handler["kind"]?.stringValue ?? "") \(handler["event"]?.stringValue ?? "")"
            line(
                "", "handler", handler["name"]?.stringValue ?? "", Text.padded(event, to: 26) + " " + (handler["place"]?.stringValue ?? ""))
        }
        for lifecycle in plan["lifecycles"]?.arrayValue ?? [] {
            line("", "lifecycle", lifecycle["name"]?.stringValue ?? "", lifecycle["place"]?.stringValue ?? "")
        }
        for socket in plan["sockets"]?.arrayValue ?? [] { line("", "socket", socket["name"]?.stringValue ?? "", users(of: socket)) }
        objects(plan)
        let grants = (plan["grants"]?.arrayValue ?? []).compactMap(\.stringValue)
        Output.print("may call: \(grants.isEmpty ? "nothing" : Text.safe(grants.joined(separator: ", ")))")
        let lacking = (plan["lacking"]?.arrayValue ?? []).compactMap(\.stringValue)
        if !lacking.isEmpty { Output.print("calls, and may not: \(Text.safe(lacking.joined(separator: ", ")))") }
    }

    /// Where a socket is, whose it is and who judges them: `/run/ci.sock, owner 1000, mode 660; its users may do everything`.
    private static func users(of socket: Value) -> String {
        var words = [socket["path"]?.stringValue ?? "from systemd"]
        for key in ["owner", "group"] { if let id = socket[key]?.intValue { words.append("\(key) \(id)") } }
        words.append("mode \(socket["mode"]?.stringValue ?? "")")
        let filter = socket["filter"]?.stringValue ?? ""
        return words.joined(separator: ", ") + (filter == "all" ? "; its users may do everything" : "; judged by \(filter)")
    }

    /// - Returns: the exit code.
    static func print(change: Value) -> Int32 {
        var isSame = true
        for (key, mark) in [("added", "+"), ("changed", "~"), ("removed", "-")] {
            for name in change[key]?.arrayValue ?? [] {
                Output.print("\(mark) \(Text.safe(name.stringValue ?? ""))")
                isSame = false
            }
        }
        if isSame { Output.print("nothing has changed") }
        objects(change, allOfThem: false)
        return noteErrors(change)
    }

    private static func objects(_ report: Value, allOfThem: Bool = true) {
        for object in report["objects"]?.arrayValue ?? [] {
            let action = object["action"]?.stringValue ?? ""
            if !allOfThem, action == "same" { continue }
            let fields = (object["fields"]?.arrayValue ?? []).compactMap(\.stringValue).joined(separator: ", ")
            let why =
                switch action {
                case "conflict": "can't change while it is there: \(fields)"
                case "leave": "no longer wanted, left where it is (--prune takes it away)"
                case "remove": "no longer wanted"
                default: fields
                }
            let words = [
                Text.padded(object["kind"]?.stringValue ?? "", to: 9), Text.padded(Text.safe(object["name"]?.stringValue ?? ""), to: 24),
                Text.safe(why),
            ].joined(separator: " ")
            Output.print("\(marks[action] ?? " ") \(words.trimmed)")
            for word in object["reaches"]?.arrayValue ?? [] where allOfThem && action != "same" {
                Output.print("  \(Text.padded("", to: 9)) has \(Text.safe(word.stringValue ?? ""))")
            }
        }
    }

    /// - Returns: the exit code: 1 when something didn't come about.
    static func noteErrors(_ report: Value) -> Int32 {
        var code: Int32 = 0
        for object in report["objects"]?.arrayValue ?? [] {
            guard let error = object["error"]?.stringValue else { continue }
            let (kind, name) = (object["kind"]?.stringValue ?? "", object["name"]?.stringValue ?? "")
            // Most errors name what they are about.
            Output.note("lunette: " + Text.safe(error.contains("\(kind) \(name)") ? error : "\(kind) \(name): \(error)"))
            code = 1
        }
        return code
    }
}
