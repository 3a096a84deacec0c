import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// Terminals: handed to a console socket, or relayed by a command in the foreground.
@Suite(.runtimeUnderTest) struct RuntimeTerminalTests {
    @Test func theMasterGoesToTheConsoleSocket() async throws {
        try await withBundle { bundle in
            let socket = "\(bundle.folder)/console"
            let listener = try Command([try await CProbe.container.path(), "console", socket]).start()
            try await eventually("the console listens") { FileManager.default.fileExists(atPath: socket) }
            bundle.change([
                "process": ["terminal": true, "args": ["/bin/sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo three ttys; tty"]]
            ])
            try await bundle.create("--console-socket", socket)
            try await bundle.start()
            try await listener.says("three ttys")
            try await listener.says("/dev/pts/0")
            try await bundle.becomes("stopped")
        }
    }

    @Test func combinationsThatMakeNoSenseAreRefused() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["terminal": true, "args": ["/bin/true"]]])
            _ = try await bundle.refusal(mentioning: "--console-socket")
            bundle.change(["process": ["terminal": false]])
            #expect(try await bundle.create("--console-socket", "\(bundle.folder)/nobody", expecting: nil).code != 0)
            bundle.change(["process": ["terminal": true]])
            #expect(try await bundle.create("--console-socket", "\(bundle.folder)/nobody", expecting: nil).code != 0)
            #expect(try await bundle.call("list", "-q").text == "")
        }
    }

    /// The end of stdin can't be told through a terminal: a shell there would wait for more for ever.
    @Test func aRelayWithoutAPersonIsRefused() async throws {
        try await withBundle { bundle in
            let hint = "process.terminal=false"
            bundle.change(["process": ["terminal": true, "args": ["/bin/sh"]]])
            let run = try await bundle.run(expecting: 1)
            if bundle.runtime.isLunette { #expect(run.errorText.contains("needs stdin to be one") && run.errorText.contains(hint)) }
            #expect(try await bundle.call("list", "-q").text == "" && bundle.cgroups().isEmpty)
            bundle.change(["process": ["terminal": false, "args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            let exec = try await bundle.call("exec", "-t", bundle.id, "/bin/sh", expecting: nil)
            #expect(exec.code != 0)
            if bundle.runtime.isLunette { #expect(exec.code == 1 && exec.errorText.contains("--tty: "), "\(exec.errorText)") }
        }
    }

    /// In tmux, as a person has it: keys arrive, the size is the terminal's, and a change of it too.
    @Test(.requires(.command("tmux")))
    func aTerminalInTheForegroundIsThePersons() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["terminal": true, "args": ["/bin/sh"]]])
            try bundle.write()
            let tmux = ["tmux", "-L", bundle.id, "-f", "/dev/null"]
            let line = "\(bundle.runtime.path) --root \(bundle.root) run --bundle \(bundle.folder) \(bundle.id); echo code=$?; sleep 60"
            try await Command(tmux + ["new-session", "-d", "-x", "100", "-y", "30", line]).run()
            bundle.cleanUp.add("end tmux") { _ = try await Command(tmux + ["kill-server"]).run(expecting: nil) }
            func shows(_ text: String) async throws {
                try await eventually("the terminal shows \(text)") {
                    try await Command(tmux + ["capture-pane", "-p"]).run().text.contains(text)
                }
            }
            func type(_ text: String) async throws { try await Command(tmux + ["send-keys", text, "Enter"]).run() }
            try await shows("/ #")
            try await type("/probe tty")
            try await shows("30 100")
            try await Command(tmux + ["resize-window", "-x", "91", "-y", "23"]).run()
            try await eventually("the size is the new one") {
                try await type("/probe tty")
                return try await Command(tmux + ["capture-pane", "-p"]).run().text.contains("23 91")
            }
            try await type("sleep 471230")
            try await Command(tmux + ["send-keys", "C-c"]).run()
            // What is typed before the shell is back is thrown away with the key.
            try await eventually("the prompt is back") {
                let lines = try await Command(tmux + ["capture-pane", "-p"]).run().text.split(separator: "\n")
                return lines.contains { $0.contains("^C") } && lines.last?.trimmingCharacters(in: .whitespaces) == "/ #"
            }
            try await type("exit 6")
            try await shows("code=6")
        }
    }
}
