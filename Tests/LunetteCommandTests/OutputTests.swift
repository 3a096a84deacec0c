import LunetteSpec
import Testing

@testable import lunette

@Suite struct OutputTests {
    private func row(_ name: String, _ image: String) -> Listing.Row {
        Listing.Row(
            cells: ["Names": name, "Image": image, "ID": "0123456789ab"],
            record: ["id": "0123456789abcdef", "created_at": 12, "labels": ["app": "web"], "name": .string(name), "exit": ["code": 3]],
            name: "0123456789ab")
    }

    private let columns = [Listing.Column("CONTAINER ID", "ID"), .init("IMAGE", "Image"), .init("NAMES", "Names")]

    @Test func columnsLineUpWhateverTheScript() throws {
        let listing = Listing(
            kind: "ContainerInfo", columns: columns, rows: [row("a", "数据库:1"), row("b", "e\u{301}te"), row("c", "🚀"), row("d", "plain")])
        let lines = try listing.lines(format: nil, quiet: false)
        let starts = lines.map { line in Text.width(String(line[..<line.lastIndex(of: " ")!])) }
        #expect(Set(starts.dropFirst()).count == 1, "\(lines)")
        #expect(lines[0] == "CONTAINER ID   IMAGE      NAMES")
        #expect(lines[1] == "0123456789ab   数据库:1   a")
    }

    /// Attack 19: names, labels and commands can't drive the reader's terminal.
    @Test func escapeSequencesAreShownNotSent() throws {
        let evil = "\u{1b}]0;owned\u{7}\u{9b}31m\rx\u{202e}"
        let listing = Listing(kind: "ContainerInfo", columns: columns, rows: [row(evil, evil)])
        for format in [nil, "{{.Names}}", "table {{.Names}}", "json"] {
            let text = try listing.lines(format: format, quiet: false).joined(separator: "\n")
            #expect(
                !text.unicodeScalars.contains { ($0.value < 0x20 && $0 != "\n") || (0x7f...0x9f).contains($0.value) },
                "\(format ?? "table")")
        }
        #expect(Text.safe("\u{1b}[31m") == "\\x1b[31m")
        #expect(Text.safe("a\tb\n") == "a\\tb\\n")
    }

    @Test func aContainerBetweenTwoRestartsSaysSo() {
        let exit: Value = ["code": 1, "reason": "exited"]
        #expect(ContainerRow.row(["status": "stopped", "exit": exit], noTrunc: false).cells["Status"] == "Exited (1)")
        #expect(
            ContainerRow.row(["status": "stopped", "exit": exit, "restart_at": 12], noTrunc: false).cells["Status"] == "Restarting (1)")
    }

    @Test func templatesKnowDockersAndOurNames() throws {
        let listing = Listing(kind: "ContainerInfo", columns: columns, rows: [row("web", "redis:7")])
        func text(_ format: String) throws -> [String] { try listing.lines(format: format, quiet: false) }
        #expect(try text("{{.Names}}") == ["web"])
        #expect(try text(#"{{.Names}}\t{{ .Image }}!"#) == ["web\tredis:7!"])
        #expect(try text("{{.created_at}} {{.CreatedAt}} {{.exit.code}} {{.labels.app}} {{.labels.none}}") == ["12 12 3 web "])
        #expect(try text("{{json .labels}} {{upper .name}} {{len .labels}}") == [#"{"app":"web"} WEB 1"#])
        // Docker's words in capitals, the API's in lower case; what only one of them has goes in either.
        #expect(try text("{{.ID}} {{.id}} {{.names}} {{.Name}}") == ["0123456789ab 0123456789abcdef web web"])
        #expect(try text("table {{.ID}}\t{{.Names}}") == ["CONTAINER ID   NAMES", "0123456789ab   web"])
    }

    @Test(arguments: [
        ("{{.Nmes}}", ".Names"), ("{{.Names", "not closed"), ("{{range .x}}", "not of the kinds"), ("{{}}", "names no field"),
        ("{{jsn .}}", "json"), ("xml", "\"xml\" is neither \"table\", \"json\" nor a template"), ("Names", "it has no field"),
        ("JSON", "did you mean \"json\"?"), ("tabel", "did you mean \"table\"?"), ("table Names", "\"Names\" is no template"),
        ("", "\"\" is neither"),
    ])
    func aWrongTemplateSaysWhatIsWrong(template: String, expected: String) throws {
        let listing = Listing(kind: "ContainerInfo", columns: columns, rows: [row("web", "redis:7")])
        let error = #expect(throws: LunetteError.self) { try listing.lines(format: template, quiet: false) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(expected) == true, "\(String(describing: error))")
    }

    /// `exit` comes with the first end, `restart_at` with a pending restart: asked for before, they are empty, as what a record never has is not.
    @Test func aFieldThatIsYetToComeIsEmpty() throws {
        let record: Value = ["name": "x", "labels": ["a": "b"]]
        let template = try Template("{{.exit.code}}|{{.RestartAt}}|{{.not_enforced}}|{{.labels.c}}|{{.name}}")
        #expect(try template.text(record, of: "ContainerInfo") == "||||x")
        let error = #expect(throws: LunetteError.self) { try Template("{{.exti}}").text(record, of: "ContainerInfo") }
        #expect(error?.message.contains("did you mean .exit?") == true)
        // What another kind of record may have is no field of this one.
        #expect(throws: LunetteError.self) { try Template("{{.exit}}").text(record, of: "VolumeInfo") }
    }

    @Test func aHeadOfATemplatesTableIsInWords() throws {
        let head = try Template("{{.CreatedAt}} {{.ID}} {{.created_at}} {{.RunningFor}}", words: []).head(["RunningFor": "CREATED"])
        #expect(head == "CREATED AT ID CREATED AT CREATED")
    }

    @Test func tableIsTheDefaultsName() throws {
        let listing = Listing(kind: "ContainerInfo", columns: columns, rows: [row("web", "redis:7")])
        #expect(try listing.lines(format: "table", quiet: false) == listing.lines(format: nil, quiet: false))
        // What is no table has no such name.
        #expect(throws: LunetteError.self) { try InspectPrinter.print([], format: "table") }
    }

    @Test func quantitiesReadAsDockersUsersKnowThem() {
        #expect(Quantity.size(0) == "0B")
        #expect(Quantity.size(999) == "999B")
        #expect(Quantity.size(1_030_000) == "1.03MB")
        #expect(Quantity.size(187_000_000) == "187MB")
        #expect(Quantity.binarySize(256 << 20) == "256MiB")
        #expect(Quantity.binarySize(1536) == "1.50KiB")
        #expect(Quantity.decimal(-0.004, 2) == "0.00")
        #expect(Quantity.decimal(12.345, 1) == "12.3")
        #expect(Quantity.duration(0.4) == "Less than a second")
        #expect(Quantity.duration(61) == "About a minute")
        #expect(Quantity.duration(4000) == "About an hour")
        #expect(Quantity.duration(3 * 86400) == "3 days")
        #expect(Quantity.timestamp(1_795_442_378.25) == "2026-11-23T13:59:38.250000000Z")
    }

    @Test func textIsCutByCells() {
        #expect(Text.cut("abcdef", to: 4) == "abc…")
        #expect(Text.cut("数据库", to: 4) == "数…")
        #expect(Text.cut("abc", to: 3) == "abc")
    }

    @Test func anErrorIsOneLineAndAHint() {
        let error = LunetteError(
            .notFound, "no container is called \"\u{1b}x\"", errno: 2, hint: "look", cause: LunetteError(.io, "beneath"))
        #expect(
            error.lines(isVerbose: false, hasColor: false) == ["lunette: no container is called \"\\x1bx\"", "hint: look"])
        #expect(
            error.lines(isVerbose: true, hasColor: false).suffix(3) == ["code: not_found", "errno: 2", "caused by: beneath"])
        #expect(error.commandExitCode == 125)
        #expect(LunetteError(.io, "start x", details: ["exit_code": 127]).commandExitCode == 127)
    }
}
