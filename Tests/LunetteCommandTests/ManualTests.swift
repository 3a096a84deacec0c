import ArgumentParser
import Foundation
import LunetteAPI
import LunetteTesting
import Testing

@testable import lunette

@Suite struct ManualTests {
    @Test func everyCommandAndEveryFunctionHasItsPlace() throws {
        let pages = Dictionary(uniqueKeysWithValues: try ManualPages.all().map { ($0.name, $0.text) })
        #expect(Set(pages.keys) == Set(CommandTable.names.map { "lunette-\($0).1" } + ["lunette.1", "lunette-api.3"]))
        for name in CommandTable.names {
            let page = try #require(pages["lunette-\(name).1"])
            for option in CommandTable.options(of: name) where !["--help", "--"].contains(option) {
                // Those of every command are in lunette(1).
                let place =
                    ["--root", "--state", "--config", "--in-process", "--verbose"].contains(option) ? pages["lunette.1"] ?? "" : page
                #expect(place.contains(Roff.escaped(option)), "\(option) in \(place)")
            }
            #expect(pages["lunette.1"]?.contains(Roff.escaped("lunette-\(name)(1)")) == true)
        }
        for function in APIRegistry.all where !function.lua.isHidden {
            #expect(
                pages["lunette-api.3"]?.contains(Roff.escaped(function.example.split(separator: "\n")[0].description)) == true,
                "\(function.name)")
        }
        for verb in VolumeCommand.configuration.subcommands.compactMap({ $0.configuration.commandName }) {
            #expect(pages["lunette-volume.1"]?.contains(".SS \"volume \(Roff.escaped(verb))\"") == true, "\(verb)")
        }
    }

    @Test func whatARoffReaderWouldTakeForItsOwnIsEscaped() {
        #expect(Roff.escaped("a\\b -x 'y' `z`") == "a\\eb \\-x \\(aqy\\(aq \\(gaz\\(ga")
        var page = Roff(title: "x", section: 1)
        page.paragraph(".hidden\n'quoted")
        #expect(page.text.hasSuffix("\n\\&.hidden\n\\(aqquoted\n"), "\(page.text)")
        #expect(Roff.argument("a \"b\"") == "\"a \\(dqb\\(dq\"")
    }

    /// Both readers take every page without a word.
    @Test(.requires(.command("man"), .command("groff"), .command("mandoc")))
    func pagesAreReadWithoutAWarning() async throws {
        let folder = NSTemporaryDirectory() + "lunette-manual-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try ManualCommand.parse([folder]).run()
        let pages = try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map { "\(folder)/\($0)" }
        #expect(pages.count > 30)
        let environment: [String: String?] = ["MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"]
        let shown = try await Command(["man", "--warnings", "-E", "UTF-8", "-l"] + pages, environment: environment).run()
        #expect(shown.errorText == "")
        #expect(shown.text.contains("--pids-limit") && shown.text.contains("lunette.container.run { image = \"hello:1\" }"))
        // Its complaint about a date: pages are made from the source and have the version instead.
        let checked = try await Command(["mandoc", "-T", "lint", "-W", "warning"] + pages).run(expecting: nil)
        #expect(checked.text.split(separator: "\n").filter { !$0.contains("missing date") } == [], "\(checked.text)")
    }
}
