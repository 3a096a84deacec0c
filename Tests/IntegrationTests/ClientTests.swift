import Foundation
import LunetteTesting
import Testing

/// docs/examples/client.py, which speaks the protocol as docs/protocol.md has it, against a real engine.
@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/lib/python3/dist-packages/msgpack")))
struct ClientTests {
    private func client(_ home: LunetteHome, _ words: String...) -> Command {
        Command(
            ["/usr/bin/python3", "\(LunetteHome.package)/docs/examples/client.py"] + words,
            environment: home.environment.merging(["LUNETTE_SOCKET": "\(home.state)/engine.sock"]) { $1 }, workdir: home.folder)
    }

    @Test func aPythonClientListsRunsWatchesAndDenies() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let watcher = try client(home, "watch").start()
            try await eventually("the watcher follows") {
                try await home.lunette("system", "info", "--format", "{{.sessions}}").text == "2"
            }

            let run = try await client(home, "run", image, "sh", "-c", "echo out; echo err >&2; exit 3").run(expecting: 3)
            #expect(run.text == "out" && run.errorText == "err", "\(run)")
            try await home.lunette("create", "--name", "kept", image)
            #expect(try await client(home, "list").run().text == "kept created")
            for event in ["container.created", "container.started", "container.exited", "container.removed", "container.created kept"] {
                try await watcher.says(event)
            }

            let guardian = try client(home, "deny", image).start()
            try await guardian.says("watching")
            let denied = try await home.lunette("create", image, expecting: 125)
            #expect(denied.errorText.contains("denied: not this image"), "\(denied.errorText)")
            let own = try await client(home, "run", image, "true").run(expecting: 1)
            #expect(own.errorText.contains("denied: container.run of"), "\(own.errorText)")

            guardian.signal(SIGKILL)
            _ = try await guardian.wait()
            try await eventually("the handler goes with its client") {
                try await home.lunette("create", "--name", "again", image, expecting: nil).code == 0
            }
            watcher.signal(SIGKILL)
            _ = try await watcher.wait()
        }
    }

}
