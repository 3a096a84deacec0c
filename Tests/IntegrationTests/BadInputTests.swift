import Foundation
import LunetteTesting
import Testing

/// Whatever is wrong: one clear error on one line, a hint where there is one, the documented exit code, and nothing half done.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct BadInputTests {
    /// Expects `lunette: …why` and the exit code, and that the next command works.
    private func expect(_ home: LunetteHome, _ arguments: [String], code: Int32 = 125, says words: String...) async throws {
        let finished = try await home.command(arguments).run(expecting: nil)
        let message = finished.errorText
        #expect(finished.code == code, "\(arguments): \(message)")
        // A pull's progress may stand before it, as plain lines.
        let lines = message.components(separatedBy: "\n")
        let error = lines.drop { !$0.hasPrefix("lunette: ") }
        #expect(!error.isEmpty && error.count <= 2 && error.dropFirst().allSatisfy { $0.hasPrefix("hint: ") }, "\(arguments): \(message)")
        for word in words { #expect(message.contains(word), "\(arguments): \(message)") }
    }

    @Test func typosAreNamedWithTheNearestRightWord() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let script = try await home.script(
                """
                local lunette = require "lunette"

                lunette.container.create {
                  image = "\(image)", resorces = { memory = "1GiB" },
                }
                """, expecting: nil)
            #expect(script.code == 1, "\(script.errorText)")
            #expect(script.errorText.contains("resorces") && script.errorText.contains("resources"), "\(script.errorText)")
            #expect(
                script.errorText.contains(".lua:3") || script.errorText.contains(".lua:4"), "the line that wrote it: \(script.errorText)")
            let unit = try await home.lunette(
                "-e", "return container.create { image = '\(image)', resources = { memory = '1GX' } }", expecting: nil)
            #expect(unit.errorText.contains("resources.memory") && unit.errorText.contains("1GX"), "\(unit.errorText)")
            let verb = try await home.lunette("-e", "return lunette.container.creat {}", expecting: nil)
            #expect(verb.code != 0 && verb.errorText.contains("create"), "\(verb.errorText)")
            let checked = try await home.command([
                "check", try Self.file(home, "typo.lua", "local lunette = require 'lunette'\nlunette.container.run { imag = 'x' }\n"),
            ])
            .run(expecting: nil)
            #expect(
                checked.code != 0 && checked.errorText.contains("imag") || checked.text.contains("imag"),
                "\(checked.text)\(checked.errorText)")
            try await expect(home, ["run", "--memory", "lots", image], says: "lots")
            try await expect(home, ["start", "no-such-container"], says: "no-such-container")
        }
    }

    private static func file(_ home: LunetteHome, _ name: String, _ text: String) throws -> String {
        let path = "\(home.folder)/\(name)"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test(.requires(.dockerRegistry, .skopeo, .command("jq")))
    func missingImagesAndDeadRegistriesAndWrongDigests() async throws {
        try await withLunette { home in
            let registry = try await RegistryFixture(folder: "\(home.folder)/registry")
            let reference = try await registry.push(layout: try await TestImage.busybox.layout(), as: "busybox:1")
            try await expect(home, ["run", "\(registry.host)/no-such-image:1", "true"], says: "no-such-image")
            try await expect(home, ["run", "--pull", "never", "local-only:1", "true"], says: "local-only")

            // A blob whose bytes aren't its digest's.
            let spoil = """
                cd \(home.folder)/registry/storage/docker/registry/v2
                layer=$(jq -r '.layers[0].digest' blobs/sha256/*/$(cut -d: -f2 repositories/busybox/_manifests/tags/1/current/link)/data | cut -d: -f2)
                printf spoiled >blobs/sha256/${layer:0:2}/$layer/data
                """
            try await Command.shell(spoil).run()
            let wrong = try await home.lunette("pull", reference, expecting: 125)
            #expect(wrong.errorText.contains("sha256:") || wrong.errorText.contains("size"), "\(wrong.errorText)")
            #expect(try await home.lunette("images", "-q").text == "")
            try await home.expectClean()

            try await registry.stop()
            let dead = try await home.lunette("pull", reference, expecting: 125, timeout: .seconds(90))
            #expect(dead.errorText.contains(registry.host), "\(dead.errorText)")
        }
    }

    @Test func aFullDiskIsOneErrorAndLeavesNothingHalfMade() async throws {
        try await withLunette { home in
            try FileManager.default.createDirectory(atPath: home.root, withIntermediateDirectories: true)
            try await Command("mount", "-t", "tmpfs", "-o", "size=3m", "lunette-test", home.root).run()
            home.cleanUp.add("unmount the small root") {
                try await home.stopEngine()
                try await Command("umount", home.root).run()
            }
            let folder = try await TestImage.busybox.folder()
            var loaded = 0
            var failure = ""
            for number in 0..<8 {
                let tag = "full:\(number)"
                let build = "return image.build { tag = '\(tag)', copy = { { from = '/bin/busybox', to = '/b\(number)' } } }"
                let finished = try await home.lunette(
                    "-e", number == 0 ? "return image.load('\(folder)', { tag = '\(tag)' })" : build, expecting: nil)
                if finished.code == 0 {
                    loaded += 1
                } else {
                    failure = finished.errorText
                    break
                }
            }
            #expect(failure.lowercased().contains("no space"), "after \(loaded): \(failure)")
            #expect(failure.hasPrefix("lunette: "))
            #expect(try await home.lunette("images", "-q").lines.count == loaded)
            let check = try await home.lunette("system", "check", expecting: nil)
            #expect(check.code == 0, "\(check.text)\(check.errorText)")
        }
    }

    @Test func aReadOnlyRootIsNamed() async throws {
        try await withLunette { home in
            try FileManager.default.createDirectory(atPath: home.root, withIntermediateDirectories: true)
            try await Command("mount", "-t", "tmpfs", "-o", "ro", "lunette-test", home.root).run()
            home.cleanUp.add("unmount the read-only root") { try await Command("umount", home.root).run() }
            let finished = try await home.lunette("ps", expecting: 125)
            #expect(finished.errorText.hasPrefix("lunette: "), "\(finished.errorText)")
            #expect(finished.errorText.lowercased().contains("read-only"), "\(finished.errorText)")
            #expect(finished.errorText.contains(home.root), "\(finished.errorText)")
        }
    }

    @Test func aCorruptDatabaseIsNamedAndNotOverwritten() async throws {
        try await withLunette { home in
            try FileManager.default.createDirectory(atPath: home.root, withIntermediateDirectories: true)
            let garbage = Data(String(repeating: "this is not a database. ", count: 400).utf8)
            try garbage.write(to: URL(fileURLWithPath: "\(home.root)/state.sqlite"))
            let finished = try await home.lunette("ps", expecting: 125)
            #expect(finished.errorText.hasPrefix("lunette: "), "\(finished.errorText)")
            #expect(finished.errorText.contains("state.sqlite"), "\(finished.errorText)")
            #expect(FileManager.default.contents(atPath: "\(home.root)/state.sqlite") == garbage)
            try FileManager.default.removeItem(atPath: "\(home.root)/state.sqlite")
        }
    }

    @Test(.requires(.command("python3")))
    func aStateFolderOfANewerVersionIsLeftAlone() async throws {
        try await withLunette { home in
            try await home.lunette("ps")
            try await home.stopEngine()
            let database = "\(home.root)/state.sqlite"
            try await Command(
                "python3", "-c",
                "import sqlite3; c = sqlite3.connect('\(database)'); c.execute(\"insert into grdb_migrations values ('9999-from-the-future')\"); c.commit()"
            ).run()
            let finished = try await home.lunette("ps", expecting: 125)
            #expect(finished.errorText.hasPrefix("lunette: "), "\(finished.errorText)")
            #expect(finished.errorText.contains("newer"), "\(finished.errorText)")
            // So that the fixture can take its own home down.
            try FileManager.default.removeItem(atPath: database)
        }
    }

    @Test func aScriptsOwnErrorIsItsOwn() async throws {
        try await withLunette { home in
            let syntax = try await home.script("local x = = 1", expecting: 1)
            #expect(syntax.errorText.contains(".lua:1:"), "\(syntax.errorText)")
            let raised = try await home.script("error('mine')", expecting: 1)
            #expect(raised.errorText.contains("mine"))
            try await home.script("os.exit(9)", expecting: 9)
            #expect(try await home.lunette("-e", "return 1 + 1").text == "2")
            #expect(try await home.lunette(input: "print(6 * 7)").text == "42")
        }
    }
}
