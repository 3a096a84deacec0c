import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// All six kinds of OCI hooks: when they run, where, with what (runtime-spec, config.md). Runs on runc and crun as well, where they do as it says.
@Suite(.runtimeUnderTest) struct RuntimeHookTests {
    private static let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]

    /// Each notes its kind, its mount namespace and the state that it read.
    private func hook(_ kind: String, _ bundle: OCIBundle, then: String = "") -> Value {
        // startContainer runs inside, after the pivot: what it can reach there is the root.
        let place = kind == "startContainer" ? "/data" : "\(bundle.rootfs)/data"
        let shell = kind == "startContainer" ? "/bin/sh" : "/bin/bash"
        let script = "cat > \(place)/\(kind).json; echo \(kind) >> \(place)/order; \(then)"
        return ["path": .string(shell), "args": ["sh", "-c", .string(script)], "env": ["PATH=/bin:/usr/bin"], "timeout": 20]
    }

    private func state(_ kind: String, _ bundle: OCIBundle) throws -> Value {
        try JSON.decode(Array(try Data(contentsOf: URL(fileURLWithPath: "\(bundle.rootfs)/data/\(kind).json"))), source: kind)
    }

    private func order(_ bundle: OCIBundle) -> [String] {
        let text = (try? String(contentsOfFile: "\(bundle.rootfs)/data/order", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }

    @Test func eachRunsWhereAndWhenItShould() async throws {
        try await withBundle { bundle in
            // runc 1.1 runs poststart at the end of create.
            guard bundle.runtime.isLunette else { return }
            var hooks = ValueMap()
            for kind in Self.kinds { hooks[kind] = [hook(kind, bundle)] }
            bundle.change(["hooks": .map(hooks), "process": ["args": ["/probe", "pause"]], "annotations": ["org.test": "yes"]])
            try await bundle.create()
            #expect(order(bundle) == ["prestart", "createRuntime", "createContainer"])
            let pid = try await bundle.state()["pid"]
            for kind in ["prestart", "createRuntime"] {
                let state = try state(kind, bundle)
                #expect(state["id"] == .string(bundle.id) && state["bundle"] == .string(bundle.folder), "\(kind)")
                #expect(state["pid"] == pid && state["annotations"]?["org.test"] == "yes", "\(kind)")
                #expect(state["status"] == "creating", "\(kind)")
            }
            try await bundle.start()
            #expect(order(bundle) == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"])
            #expect(try state("poststart", bundle)["status"] == "running")
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            #expect(order(bundle).last == "poststop" && order(bundle).count == 6)
            #expect(try state("poststop", bundle)["status"] == "stopped")
        }
    }

    @Test(arguments: ["prestart", "createRuntime", "createContainer"])
    func oneThatFailsBeforeTheGateEndsTheContainer(kind: String) async throws {
        try await withBundle { bundle in
            bundle.change(
                [
                    "hooks": [
                        kind: [self.hook(kind, bundle, then: "echo because >&2; exit 3")], "poststop": [self.hook("poststop", bundle)],
                    ]
                ] as Value)
            let said = try await bundle.refusal()
            if bundle.runtime.isLunette {
                let path = self.hook(kind, bundle)["path"]?.stringValue ?? ""
                #expect(said.contains("hooks.\(kind)[0]: run hook \(path): it ended with exit code 3: because"), "\(said)")
                #expect(said.hasSuffix("because"), "a blank at the end of the line")
            }
            if bundle.runtime.isLunette { #expect(order(bundle) == [kind, "poststop"]) }
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    @Test func oneThatFailsAfterTheStartEndsTheContainer() async throws {
        try await withBundle { bundle in
            guard bundle.runtime.isLunette else { return }
            bundle.change([
                "process": ["args": ["/probe", "pause"]],
                "hooks": [
                    "poststart": [hook("poststart", bundle, then: "exit 3")], "poststop": [hook("poststop", bundle, then: "exit 3")],
                ],
            ])
            try await bundle.create()
            let started = try await bundle.start(expecting: 1)
            #expect(started.errorText.contains("hooks.poststart[0]"))
            #expect(order(bundle) == ["poststart", "poststop"])
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    @Test func oneThatHangsIsEndedByItsTimeout() async throws {
        try await withBundle { bundle in
            bundle.change(["hooks": ["createRuntime": [["path": "/bin/sleep", "args": ["sleep", "471220"], "timeout": 1]]]])
            let said = try await bundle.refusal()
            if bundle.runtime.isLunette { #expect(said.contains("longer than 1 s")) }
        }
    }

    @Test func oneThatWritesForEverIsEndedByItsTimeout() async throws {
        try await withBundle { bundle in
            guard bundle.runtime.isLunette else { return }
            let line: Value = "while :; do echo y; done"
            bundle.change(["hooks": ["createRuntime": [["path": "/bin/sh", "args": ["sh", "-c", line], "timeout": 1]]]])
            let said = try await bundle.refusal()
            #expect(said.contains("longer than 1 s"))
        }
    }

    /// `run` waits for its poststart hooks, and one without a timeout may never end.
    @Test func onesAfterTheStartEndWithTheirContainersRemoval() async throws {
        try await withBundle { bundle in
            guard bundle.runtime.isLunette else { return }
            let line = "echo $$ > \(bundle.folder)/hook; exec sleep 471226"
            let hang: Value = ["path": "/bin/sh", "args": ["sh", "-c", .string(line)]]
            bundle.change([
                "process": ["args": ["/probe", "pause"]],
                "hooks": ["poststart": [hang, hook("poststart", bundle)], "poststop": [hook("poststop", bundle)]],
            ])
            try bundle.write()
            let run = try bundle.runtime.command(
                root: bundle.root, ["run", "--bundle", bundle.folder, bundle.id], workdir: bundle.folder
            ).start()
            try await eventually("the hook runs") { FileManager.default.contents(atPath: "\(bundle.folder)/hook")?.isEmpty == false }
            try await bundle.call("delete", "--force", bundle.id)
            let ended = try await run.wait(timeout: .seconds(20))
            #expect(ended.code == 137 && ended.errorText.isEmpty, "\(ended.code): \(ended.errorText)")
            #expect(order(bundle) == ["poststop"])
            let pid = try String(contentsOfFile: "\(bundle.folder)/hook", encoding: .utf8).trimmingCharacters(in: .newlines)
            #expect(!FileManager.default.fileExists(atPath: "/proc/\(pid)"))
        }
    }

    @Test func aHookAfterTheStartMayDeleteItsContainer() async throws {
        try await withBundle { bundle in
            guard bundle.runtime.isLunette else { return }
            let line = """
                \(bundle.runtime.path) --root \(bundle.root) delete --force \(bundle.id); echo $? > \(bundle.folder)/deleted
                """
            bundle.change([
                "process": ["args": ["/probe", "pause"]],
                "hooks": [
                    "poststart": [["path": "/bin/sh", "args": ["sh", "-c", .string(line)]]],
                    "poststop": [hook("poststop", bundle, then: "sleep 1; echo slept >> \(bundle.rootfs)/data/order")],
                ],
            ])
            try await bundle.create()
            try await bundle.start()
            let deleted = try String(contentsOfFile: "\(bundle.folder)/deleted", encoding: .utf8)
            #expect(deleted == "0\n")
            #expect(order(bundle) == ["poststop", "slept"])
        }
    }

    @Test func aHookMayAskForTheState() async throws {
        try await withBundle { bundle in
            let line = "\(bundle.runtime.path) --root \(bundle.root) state \(bundle.id) > \(bundle.folder)/asked"
            bundle.change([
                "hooks": ["poststart": [["path": "/bin/sh", "args": ["sh", "-c", .string(line)]]]],
                "process": ["args": ["/probe", "pause"]],
            ])
            try await bundle.create()
            try await bundle.start()
            let asked = try JSON.decode(Array(try Data(contentsOf: URL(fileURLWithPath: "\(bundle.folder)/asked"))), source: "asked")
            #expect(asked["status"] == (bundle.runtime.isLunette ? "running" : "created"))
        }
    }
}
