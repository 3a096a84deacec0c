import ArgumentParser
import LunetteSandbox
import LunetteSpec
import Testing

@testable import lunette

@Suite struct CommandTableTests {
    @Test func everyCommandHasAHelpPageOfItsOwn() {
        for name in CommandTable.names {
            let help = CommandTable.command(name)!.helpMessage(columns: 120)
            #expect(help.contains("USAGE: lunette \(name)") || help.contains("lunette \(name)"), "\(help.prefix(200))")
        }
    }

    @Test(arguments: ["run --help", "run -it --help", "create --help", "exec --help", "help run", "ps --help"])
    func helpIsGivenThoughTheRestIsTheProgramsOwn(line: String) throws {
        #expect(try Lunette.run(line.split(separator: " ").map(String.init), Settings()) == 0)
    }

    @Test(arguments: [
        ("cp", "USAGE: lunette cp [OPTIONS] CONTAINER:PATH PATH|-\n       lunette cp [OPTIONS] PATH|- CONTAINER:PATH\n"),
        ("top", "<container>"), ("diff", "json, table or a template"), ("update", "always or unless-stopped"), ("run", "1 to 10000"),
    ])
    func helpSaysWhatIsTaken(_ name: String, _ words: String) {
        let help = CommandTable.command(name)!.helpMessage(columns: 120)
        #expect(help.contains(words), "\(help)")
    }

    /// Help and completion come from the parser's definitions, what is understood from the sandbox's own table.
    @Test func optionsOfSandboxAreTheSameForCompletionAndForTheCommand() {
        let completed = Set(CommandTable.options(of: "sandbox")).subtracting(["--help", "--"])
        let understood = Set(SandboxArguments.options.map { $0.names[0] }).subtracting(["--help"])
        #expect(completed == understood)
    }

    @Test func psShowsWhatTheImageRuns() {
        let image: Value = ["entrypoint": ["/entry"], "cmd": ["serve"]]
        #expect(ContainerRow.words(["image": image, "spec": ["args": []]]) == ["/entry", "serve"])
        #expect(ContainerRow.words(["image": image, "spec": ["args": ["x"]]]) == ["/entry", "x"])
        #expect(ContainerRow.words(["image": image, "spec": ["args": [], "entrypoint": ["sh"]]]) == ["sh"])
    }

    @Test func anUnknownFormatOfSaveIsNoFormat() throws {
        for format in ["oci", "oci-dir", "docker"] { try SaveCommand.check(format: format) }
        let error = #expect(throws: LunetteError.self) { try SaveCommand.check(format: "dcoker") }
        #expect(error?.message == "save: --format dcoker is not one of oci, oci-dir, docker" && error?.hint == "did you mean \"docker\"?")
    }

    @Test func aBuildStepsExitCodeIsNotTheCommands() {
        let failure = LunetteError(.io, "run[1]: build: the command \"exit 3\" ended with 3", details: ["exit_code": 3, "step": "run"])
        #expect(failure.commandExitCode == 3 && BuildCommand.own(failure).commandExitCode == 125)
        #expect(BuildCommand.own(failure).details == ["step": "run"])
    }

    @Test func helpNamesWhatIsBuiltAndNothingElse() {
        #expect(CheckCommand.helpMessage(columns: 120).contains("--resident"))
        #expect(REPLCommand.helpMessage(columns: 120).contains("--in "))
    }

    @Test func aTypoIsAnsweredWithTheNearest() {
        #expect(CommandTable.unknown("imges").hint == "did you mean \"lunette images\"?")
        #expect(CommandTable.unknown("pss").hint == "did you mean \"lunette ps\"?")
        #expect(CommandTable.unknown("rnu").hint == "did you mean \"lunette run\"?")
        #expect(nearest(to: "sl", in: CommandTable.verbs(of: VolumeCommand.self)) == "ls")
        #expect(CommandTable.unknown("compose").code == .unsupported)
    }

    @Test(arguments: [
        ("update --dns x box", "update: unknown option \"--dns\"", "see \"lunette update --help\""),
        ("update --cpu 1 box", "update: unknown option \"--cpu\"", "did you mean \"--cpus\"?"),
        ("build --bad", "build: unknown option \"--bad\"", "see \"lunette build --help\""),
        ("rm --froce", "rm: unknown option \"--froce\"", "did you mean \"--force\"?"),
        ("volume create --labl x", "volume create: unknown option \"--labl\"", "did you mean \"--label\"?"),
        ("volume creat", "volume: unexpected argument \"creat\"", "did you mean \"lunette volume create\"?"),
        ("volume rm", "volume rm: missing expected argument \"<volume> ...\"", "see \"lunette volume rm --help\""),
    ])
    func theParsersComplaintsAreOurs(_ line: String, _ message: String, _ hint: String) throws {
        var words = line.split(separator: " ").map(String.init)
        let type = try #require(CommandTable.command(words.removeFirst()))
        let refused = #expect(throws: (any Error).self) { try Lunette.parse(words, as: type) }
        let error = ParserComplaint.error(try #require(refused), of: type, words)
        #expect(error.message.hasPrefix("read the options of \(message)") && error.hint == hint, "\(error) \(error.hint ?? "")")
    }

    @Test func aLettersValueMayStandRightBehindIt() throws {
        let words = ["-it", "-m64m", "-eA=b=c", "-u1000:1", "-v/a:/b:ro", "-lx=y", "image", "sh", "-eB=c"]
        let run = try #require(try Lunette.parse(words, as: RunCommand.self) as? RunCommand)
        #expect(run.options.memory == "64m")
        #expect(run.options.user == "1000:1")
        #expect(run.options.volume == ["/a:/b:ro"])
        #expect(run.options.env == ["A=b=c"] && run.options.label == ["x=y"] && run.options.tty)
        #expect(run.words == ["image", "sh", "-eB=c"], "what follows the image is the program's")
        #expect((try Lunette.parse(["-an", "1", "-fstatus=running"], as: PSCommand.self) as? PSCommand)?.filter == ["status=running"])
        #expect((try Lunette.parse(["-n1"], as: PSCommand.self) as? PSCommand)?.last == 1)
    }

    @Test func globalOptionsAreTakenBeforeTheCommand() throws {
        var settings = Settings()
        let rest = try settings.take(["--root", "/r", "--state=/s", "--in-process", "--verbose", "ps", "--root", "/x"])
        #expect(rest == ["ps", "--root", "/x"])
        #expect(settings.root == "/r" && settings.state == "/s" && settings.inProcess && settings.isVerbose)
        let command = try #require(try PSCommand.parseAsRoot(["--root", "/x"]) as? PSCommand)
        #expect(command.global.merged(into: settings).root == "/x")
        #expect(throws: LunetteError.self) {
            var settings = Settings()
            _ = try settings.take(["--root"])
        }
    }

    @Test(arguments: [[], ["tcsh"]]) func completionNamesItsShells(_ words: [String]) throws {
        let command = try #require(try CompletionCommand.parseAsRoot(words) as? CompletionCommand)
        let error = #expect(throws: LunetteError.self) { try command.run() }
        #expect(error?.hint?.contains("bash, zsh") == true && error?.hint?.contains("fish") == true)
    }

    @Test(arguments: ["bash", "zsh", "fish"]) func completionScriptsKnowTheCommands(shell: String) throws {
        let script = CompletionCommand.script(for: try #require(CompletionShell(rawValue: shell)))
        for name in [
            "run", "ps", "volume", "dry-run", "lunette ps -a --format", "{{.Names}}:", "lunette volume ls -q", "unless-stopped",
            "missing",
        ] { #expect(script.contains(name), "\(name)") }
        #expect(shell != "zsh" || script.contains(#"names=("${list[@]//:/\\:}")"#) && script.contains("then _files"))
        let help = [
            "bash": "_lunette_help() {\n    __lunette_add_completions -W $'run\\ncreate", "zsh": "'1:command:(run ",
            "fish": "from help' -fa 'run ",
        ]
        #expect(script.contains(help[shell]!))
        #expect(shell != "fish" || script.contains("'*/*'") || script.contains("\"*/*\""))
        #expect(shell != "bash" || script.contains("-o bashdefault -o default -F _lunette lunette"))
    }
}
