import LunetteSpec
import Testing

@testable import LunetteOCI

/// Go's rules for options: engines were written against them.
@Suite struct OptionsTests {
    private let known = [
        Option("bundle", "b", .value("DIR"), ""), Option("force", "f", .none, ""), Option("env", "e", .list("NAME=VALUE"), ""),
    ]

    private func read(_ words: String..., order: Options.Order = .anywhere) throws -> Options {
        try Options(words[...], known, order: order)
    }

    @Test func socketsAreThoseOfTheProcessThatIsNamed() {
        #expect(PreservedDescriptors.listening("2", for: "7", 7) == 2)
        #expect(PreservedDescriptors.listening("2", for: "8", 7) == 0)
        #expect(PreservedDescriptors.listening("2", for: nil, 7) == 0)
        #expect(PreservedDescriptors.listening(nil, for: "7", 7) == 0 && PreservedDescriptors.listening("x", for: "7", 7) == 0)
        #expect(PreservedDescriptors.listening("9999", for: "7", 7) == 256)
    }

    @Test func valuesStandBehindOrAreAttached() throws {
        for words in [["--bundle", "/b"], ["--bundle=/b"], ["-b", "/b"], ["-b=/b"], ["-bundle", "/b"]] {
            #expect(try Options(words[...], known, order: .anywhere).value("bundle") == "/b")
        }
        #expect(try read("--bundle", "/a", "--bundle", "/b").value("bundle") == "/b")
        #expect(try read("-e", "A=1", "--env=B=2=3").list("env") == ["A=1", "B=2=3"])
        #expect(try read("--bundle", "--force").value("bundle") == "--force")
    }

    @Test func optionsAreTakenApartByBytes() throws {
        #expect(try read("--bundle=\u{301}b").value("bundle").map { Array($0.utf8) } == Array("\u{301}b".utf8))
        #expect(throws: LunetteError.self) { try read("-\u{301}x") }
    }

    @Test func flagsMayBeSwitchedOff() throws {
        #expect(try read("--force").flag("force"))
        #expect(try !read("--force", "--force=false").flag("force"))
        #expect(throws: LunetteError.self) { try read("--force=maybe") }
    }

    @Test func optionsStandAnywhereUnlessTheCommandKeepsTheOrder() throws {
        let anywhere = try read("id", "--force", "KILL")
        #expect(anywhere.arguments == ["id", "KILL"] && anywhere.flag("force"))
        let first = try read("--force", "id", "ls", "-l", "--bundle", order: .beforeArguments)
        #expect(first.arguments == ["id", "ls", "-l", "--bundle"] && first.flag("force"))
        #expect(try read("--", "--force").arguments == ["--force"])
        #expect(try read("-").arguments == ["-"])
    }

    @Test func whatIsUnknownOrIncompleteIsNamed() {
        #expect(throws: LunetteError(.invalidArgument, "unknown option --forc", hint: "did you mean --force?")) { try read("--forc") }
        #expect(throws: LunetteError(.invalidArgument, "--bundle needs a value")) { try read("--bundle") }
        #expect(throws: LunetteError.self) { try read("---force") }
        #expect(throws: LunetteError.self) { try read("-bf") }
    }

    @Test func numbersAreWholeAndInTheirRange() throws {
        #expect(try read("--bundle", "-1").number("bundle") == -1)
        for text in ["", "1.5", "0x10", "9223372036854775808", "1k"] {
            #expect(throws: LunetteError.self) { try read("--bundle", text).number("bundle") }
        }
        #expect(throws: LunetteError.self) { try read("--bundle", "300").number("bundle", in: 0...256) }
    }

    @Test func globalOptionsAreRead() throws {
        func global(_ words: String...) throws -> GlobalOptions {
            try GlobalOptions(try Options(words[...], GlobalOptions.options, order: .beforeArguments))
        }
        let read = try global("--root", "/r", "--log", "/l", "--log-format=json", "--systemd-cgroup", "--debug", "state", "--root")
        #expect(read.root == "/r" && read.log == "/l" && read.logFormat == .json && read.isDebug)
        if case .systemd = read.driver {} else { Issue.record("--systemd-cgroup was not taken") }
        #expect(throws: LunetteError.self) { try global("--log-format", "yaml") }
        #expect(throws: LunetteError.self) { try global("--rootless", "perhaps") }
        #expect(throws: LunetteError.self) { try global("--cgroup-manager", "mine") }
        #expect(throws: LunetteError.self) { try global("--root", "") }
    }

    @Test func everyCommandHasHelpAndNoOptionTwice() {
        for command in Command.all {
            #expect(Help.text(command).contains(command.summary))
            let names = command.options.map(\.name) + command.options.compactMap { $0.short.map(String.init) }
            #expect(Set(names).count == names.count, "\(command.name)")
            #expect(Help.text.contains("  \(command.name) "))
        }
    }
}
