import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// What scripts/dev/install puts below a prefix finds its parts there.
@Suite(.requires(.root, .userNamespaces, .seccomp, .command("install"), .command("strip")))
struct InstallTests {
    @Test func whatIsInstalledRunsFromItsPrefix() async throws {
        try await withLunette(.root) { home in
            let prefix = "\(home.folder)/usr"
            let built = (LunetteHome.binary as NSString).deletingLastPathComponent
            let environment: [String: String?] = ["LUNETTE_BUILT": built, "DESTDIR": nil, "LUNETTE_SHIM": nil, "LUNETTE_PLUGINS": nil]
            try await Command(["\(LunetteHome.package)/scripts/dev/install", prefix], environment: environment).run()

            func run(_ words: String...) async throws -> Finished {
                try await Command(
                    ["\(prefix)/bin/\(words[0])"] + words.dropFirst(), environment: home.environment.merging(environment) { $1 },
                    workdir: home.folder
                ).run()
            }
            // The front runs sandboxes by itself and hands the rest to the program in lib.
            #expect(try await run("lunette", "sandbox", "--", "echo", "seen").text == "seen")
            #expect(try await run("lunette", "--version").text.contains("version:"))
            let features = try JSON.decode(Array(try await run("lunette-oci", "features").stdout), source: "features")
            #expect(features["ociVersionMax"]?.stringValue?.hasPrefix("1.") == true)
            #expect(try await run("lunette", "plugin", "list").text.contains("volume-local"))

            for file in [
                "lib/lunette/lunette-shim", "share/doc/lunette/README.md", "share/doc/lunette/docs/cli.md",
                "share/doc/lunette/docs/examples/client.py", "lib/systemd/system/lunette.socket", "share/lunette/types/lunette.lua",
                "share/bash-completion/completions/lunette", "share/zsh/site-functions/_lunette",
                "share/fish/vendor_completions.d/lunette.fish", "share/man/man1/lunette.1", "share/man/man1/lunette-run.1",
                "share/man/man3/lunette-api.3",
            ] {
                let size = try FileManager.default.attributesOfItem(atPath: "\(prefix)/\(file)")[.size] as? Int
                #expect(size ?? 0 > 0, "\(file)")
            }
            let unit = try String(contentsOfFile: "\(prefix)/lib/systemd/system/lunette.service", encoding: .utf8)
            #expect(unit.contains("ExecStart=\(prefix)/bin/lunette daemon"))
            // Tests of a plugin stay in the source.
            #expect(!FileManager.default.fileExists(atPath: "\(prefix)/lib/lunette/plugins/volume-local/test.lua"))
        }
    }
}
