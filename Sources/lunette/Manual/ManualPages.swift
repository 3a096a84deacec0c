import ArgumentParser
import LunetteAPI
import LunetteEngine
import LunetteLua
import LunetteSpec

/// The manual pages, made from the commands' own definitions and the API registry: `lunette(1)`, one page a command, `lunette-api(3)`.
enum ManualPages {
    /// File name → page.
    static func all() throws(LunetteError) -> [(name: String, text: String)] {
        var pages = [("lunette.1", try overview())]
        for type in CommandTable.groups.flatMap(\.commands) {
            let command = try description(of: type)
            pages.append(("lunette-\(command.name).1", page(of: command)))
        }
        pages.append(("lunette-api.3", api()))
        return pages
    }

    // MARK: lunette(1)

    private static func overview() throws(LunetteError) -> String {
        let root = try description(of: LunetteRoot.self)
        var page = Roff(title: "lunette", section: 1)
        page.name("lunette", "containers that you program")
        page.section("SYNOPSIS")
        page.synopsis([
            ["lunette", ""], ["lunette", "FILE.lua [ARG ...]"], ["lunette", "-e CODE [ARG ...]"], ["lunette", "[OPTION ...] COMMAND ..."],
        ])
        page.section("DESCRIPTION")
        page.paragraph(
            "One program runs Lua scripts, is the command line, and is the engine that both talk to. Without arguments it is a prompt on a terminal and runs a script from anything else. A first word with a slash, or that ends in .lua, is a script."
        )
        page.paragraph(
            "A command finds the engine's socket, or starts an engine that leaves again when nothing needs it. Containers have monitors of their own and outlive it."
        )
        for group in CommandTable.groups {
            page.section(group.title.uppercased())
            for type in group.commands {
                let name = type.configuration.commandName ?? ""
                page.item("lunette-\(name)(1)", type.configuration.abstract)
            }
        }
        page.section("OPTIONS")
        page.options(root.arguments)
        page.section("EXIT STATUS")
        page.item("0", "Done.")
        page.item("1", "A script failed, or a check found something.")
        page.item("125", "Lunette could not do what was asked; the error says why, and a hint what to do.")
        page.item("126, 127", "The container's program can't be run, or isn't there.")
        page.item("128 + n", "Signal n ended the program.")
        page.section("ENVIRONMENT")
        page.item("LUNETTE_ROOT, LUNETTE_STATE, LUNETTE_CONFIG", "As --root, --state and --config.")
        page.item("LUNETTE_VERBOSE", "1: as --verbose.")
        page.item("LUNETTE_PASSWORD", "A registry's password for pull and push.")
        page.item("LUNETTE_PLUGINS", "Folders of plugins, with colons between.")
        page.item("NO_COLOR", "No colours.")
        page.section("FILES")
        page.item("/var/lib/lunette", "Lasting state: images, volumes, containers' storage. Of an ordinary user: $XDG_DATA_HOME/lunette.")
        page.item("/run/lunette", "Passing state and the socket. Of an ordinary user: $XDG_RUNTIME_DIR/lunette.")
        page.item("/etc/lunette/init.lua, /etc/lunette/conf.d/*.lua", "Resident scripts, which are loaded into the engine.")
        page.item("/etc/lunette/registries.json", "Mirrors and settings of registries.")
        page.item("~/.local/state/lunette/history", "What was typed at the prompt.")
        page.section("EXAMPLES")
        page.example(
            """
            lunette run -it --rm alpine sh
            lunette -e 'return container.list { all = true }'
            lunette sandbox --allow-write . -- make
            """)
        page.section("SEE ALSO")
        page.references(["lunette-api(3)"] + CommandTable.names.map { "lunette-\($0)(1)" })
        return page.text
    }

    // MARK: commands

    private static func page(of command: CommandDescription) -> String {
        let title = "lunette-\(command.name)"
        var page = Roff(title: title, section: 1)
        page.name(title, Roff.phrase(command.abstract))
        page.section("SYNOPSIS")
        let head = "lunette \(command.name)"
        page.synopsis(
            command.verbs.isEmpty ? command.usages(head) : command.verbs.flatMap { $0.usages("\(head) \($0.name)") })
        page.section("DESCRIPTION")
        page.paragraph(command.abstract)
        page.text(command.discussion)
        for verb in command.verbs {
            page.subsection("\(command.name) \(verb.name)")
            page.paragraph(verb.abstract)
            if !verb.aliases.isEmpty { page.paragraph("Also: \(verb.aliases.joined(separator: ", ")).") }
            page.text(verb.discussion)
            page.options(verb.arguments.filter { !global.contains($0.label) })
        }
        let own = command.arguments.filter { !global.contains($0.label) }
        if !own.isEmpty {
            page.section("OPTIONS")
            page.options(own)
        }
        page.paragraph("The options of every command are in lunette(1).")
        page.section("SEE ALSO")
        page.references(["lunette(1)", "lunette-api(3)"])
        return page.text
    }

    /// What lunette(1) says once for all.
    private static let global: Set<String> = ["--root", "--state", "--config", "--in-process", "--verbose", "-h, --help"]

    private static func description(of type: any ParsableCommand.Type) throws(LunetteError) -> CommandDescription {
        let value = try JSON.decode(Array(type._dumpHelp().utf8), source: "the parser's description")
        return CommandDescription(value["command"] ?? .null, usage: type.configuration.usage, types: type.configuration.subcommands)
    }

    // MARK: lunette-api(3)

    private static func api() -> String {
        var page = Roff(title: "lunette-api", section: 3)
        page.name("lunette-api", "the Lua API of Lunette")
        page.section("SYNOPSIS")
        page.example("local lunette = require \"lunette\"\nlocal c = lunette.container.run { image = \"hello:1\" }")
        page.section("DESCRIPTION")
        page.paragraph(
            "A function is written lunette.NOUN.VERB(target, { options }); what works on one object is a method of its handle as well. At the prompt and in -e the nouns are globals. Sizes and durations are texts with units (\"256MiB\", \"500ms\") or numbers of bytes and seconds. A failure raises an object with code, message, path, operation, target, errno, hint, details and cause."
        )
        for noun in APIRegistry.nouns {
            let functions = APIRegistry.functions(of: noun).filter { !$0.lua.isHidden }
            guard !functions.isEmpty else { continue }
            page.section(noun.uppercased())
            for function in functions { describe(function, &page) }
        }
        page.section("TABLES")
        for record in APIRegistry.allRecords {
            page.subsection(record.name)
            page.paragraph(Roff.sentence(record.summary))
            for field in record.fields {
                page.item("\(field.name): \(APIHelp.typeName(field.type))", Roff.sentence(field.summary + APIHelp.defaultText(field)))
            }
        }
        page.section("SEE ALSO")
        page.references(["lunette(1)", "lunette-repl(1)"])
        return page.text
    }

    private static func describe(_ function: APIFunction, _ page: inout Roff) {
        page.subsection(APIHelp.signature(function))
        page.paragraph(Roff.sentence(function.summary))
        for field in function.arguments where field.name != "stdio" {
            page.item("\(field.name): \(APIHelp.typeName(field.type))", Roff.sentence(field.summary + APIHelp.defaultText(field)))
        }
        var facts: [String] = []
        if function.result != .nothing { facts.append("Returns \(APIHelp.typeName(function.result)).") }
        if let chunk = function.chunk { facts.append("Streams \(APIHelp.typeName(chunk)).") }
        if !function.errors.isEmpty { facts.append("Errors: \(function.errors.map(\.rawValue).joined(separator: ", ")).") }
        if !facts.isEmpty { page.paragraph(facts.joined(separator: " ")) }
        page.example(function.example)
    }
}
