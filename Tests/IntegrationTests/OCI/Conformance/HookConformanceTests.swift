import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// The kinds of OCI hooks, in the order in which they run.
enum HookKind: String, CaseIterable, Sendable {
    case prestart, createRuntime, createContainer, startContainer, poststart, poststop

    /// Runs in the container's namespaces.
    var isInside: Bool { self == .createContainer || self == .startContainer }
    var isOfCreate: Bool { self == .prestart || self == .createRuntime || self == .createContainer }
}

extension OCIBundle {
    /// A folder that is seen at its own path inside, too, so that all hooks write to one place.
    func makeLog() throws -> String {
        let path = try makeFolder("log")
        chmod(path, 0o777)
        mount(["destination": .string(path), "type": "none", "source": .string(path), "options": ["bind"]])
        return path
    }

    /// Adds a hook that is a line of shell.
    func hook(_ kind: HookKind, _ line: String, timeout: Int64? = nil) {
        var hook: Value = ["path": "/bin/sh", "args": ["sh", "-c", .string(line)], "env": ["PATH=/bin:/usr/bin"]]
        if let timeout { hook = hook.merged(with: ["timeout": .int(timeout)]) }
        let others = config["hooks"]?[kind.rawValue]?.arrayValue ?? []
        change(["hooks": .map([kind.rawValue: .array(others + [hook])])])
    }

    /// Adds hooks of every kind that write their kind to the log.
    func hookEveryKind(_ log: String) {
        for kind in HookKind.allCases { hook(kind, "cat > \(log)/\(kind.rawValue).json; echo \(kind.rawValue) >> \(log)/order") }
    }

    func order() -> [String] { file("log/order").split(separator: "\n").map(String.init) }
}

/// config.md: POSIX-platform hooks; runtime.md: lifecycle.
@Suite(.runtimeUnderTest) struct HookConformanceTests {
    @Test(
        .proves(
            "runtime.lifecycle.prestart", "runtime.lifecycle.createRuntime", "runtime.lifecycle.createContainer",
            "runtime.lifecycle.startContainer", "runtime.lifecycle.poststart", "runtime.lifecycle.poststop", "config.hooks.prestart-first",
            "config.hooks.prestart-when", "config.hooks.createRuntime-when", "config.hooks.createContainer-when",
            "config.hooks.createContainer-after", "config.hooks.startContainer-when", "config.hooks.poststart-when",
            "config.hooks.poststop-when", "config.hooks.order"))
    func allKindsRunInTheirOrderAndOperation() async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            bundle.hookEveryKind(log)
            for kind in HookKind.allCases { bundle.hook(kind, "echo \(kind.rawValue)-second >> \(log)/order") }
            bundle.shell("echo program >> \(log)/order; exec sleep 1000")
            func both(_ kinds: HookKind...) -> [String] { kinds.flatMap { [$0.rawValue, "\($0.rawValue)-second"] } }
            let created = both(.prestart, .createRuntime, .createContainer)

            try await bundle.create()
            #expect(bundle.order() == created)
            try await bundle.start()
            let started = bundle.order()
            #expect(Array(started.filter { $0 != "program" }) == created + both(.startContainer, .poststart))
            try await eventually("the program has written") { bundle.order().contains("program") }
            // The program may write before or after the poststart hooks, but never before the startContainer hooks have ended.
            let order = bundle.order()
            let program = try #require(order.firstIndex(of: "program"))
            #expect(program > (order.firstIndex(of: "startContainer-second") ?? order.count))
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            #expect(!bundle.order().contains("poststop"))
            try await bundle.call("delete", bundle.id)
            #expect(Array(bundle.order().suffix(2)) == both(.poststop))
        }
    }

    @Test(.proves("config.hooks.state", "runtime.state.pid-runtime", "runtime.state.pid-container"))
    func eachHookGetsTheStateOnItsStdin() async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            bundle.hookEveryKind(log)
            bundle.change(["annotations": ["org.example.key": "value"]])
            bundle.asks("pause")
            try await bundle.create()
            let pid = try await bundle.pid()
            try await bundle.start()
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            let statuses: [HookKind: String] = [
                .prestart: "creating", .createRuntime: "creating", .createContainer: "creating", .startContainer: "created",
                .poststart: "running", .poststop: "stopped",
            ]
            for kind in HookKind.allCases {
                let state = try Schemas.read("\(log)/\(kind.rawValue).json")
                #expect(state["id"] == .string(bundle.id), "\(kind)")
                #expect(state["status"]?.stringValue == statuses[kind], "\(kind)")
                #expect(state["bundle"] == .string(bundle.folder), "\(kind)")
                #expect(state["annotations"]?["org.example.key"] == "value", "\(kind)")
                try await Schemas.check(state, "state-schema.json")
                if kind != .poststop { #expect(state["pid"]?.intValue == (kind.isInside ? 1 : Int64(pid)), "\(kind)") }
            }
        }
    }

    @Test(
        .proves(
            "config.hooks.prestart-namespace", "config.hooks.createRuntime-namespace", "config.hooks.createContainer-namespace",
            "config.hooks.startContainer-namespace", "config.hooks.poststart-namespace", "config.hooks.poststop-namespace"))
    func eachKindRunsInItsNamespaces() async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            let kinds = ["mnt", "net", "uts", "ipc"]
            for kind in HookKind.allCases {
                let program = kind == .startContainer ? "/bin/busybox readlink" : "readlink"
                bundle.hook(
                    kind, "for n in \(kinds.joined(separator: " ")); do \(program) /proc/self/ns/$n; done > \(log)/\(kind.rawValue)")
            }
            bundle.asks("ns", "pause")
            try await bundle.create()
            let pid = try await bundle.pid()
            func links(_ pid: String) throws -> [String] {
                try kinds.map { try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/ns/\($0)") }
            }
            let (outside, inside) = (try links("self"), try links("\(pid)"))
            try await bundle.start()
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            for kind in HookKind.allCases {
                let seen = bundle.file("log/\(kind.rawValue)").split(separator: "\n").map(String.init)
                #expect(seen == (kind.isInside ? inside : outside), "\(kind)")
            }
        }
    }

    @Test(.proves("config.hooks.prestart-when", "config.hooks.createRuntime-when", "config.hooks.createContainer-when"))
    func hooksOfCreateComeBetweenNamespacesAndPivot() async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            // Both kinds of the runtime's namespaces look at the pid of the state from outside.
            for kind in [HookKind.prestart, .createRuntime] {
                bundle.hook(
                    kind,
                    """
                    pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/' | tr -d '\\n'); readlink /proc/$pid/ns/net > \(log)/\(kind.rawValue)
                    if [ -e /proc/$pid/root/probe ]; then echo after; else echo before; fi >> \(log)/\(kind.rawValue)
                    """)
            }
            // Before the pivot the host's files are there, and the container's mounts are below the root.
            bundle.mount(["destination": "/data", "type": "tmpfs", "source": "made", "options": []])
            bundle.hook(
                .createContainer,
                "if [ -e /probe ]; then echo after; else echo before; fi > \(log)/createContainer; cat /proc/self/mountinfo > \(log)/mounts"
            )
            bundle.asks("pause")
            try await bundle.create()
            let net = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(try await bundle.pid())/ns/net")
            #expect(bundle.file("log/prestart") == "\(net)\nbefore\n")
            #expect(bundle.file("log/createRuntime") == "\(net)\nbefore\n")
            #expect(bundle.file("log/createContainer") == "before\n")
            #expect(bundle.file("log/mounts").contains("/data "))
        }
    }

    @Test(.proves("config.hooks.poststart-when"))
    func poststartHooksSeeTheProgram() async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            bundle.hook(
                .poststart,
                "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' | tr -d '\\n'); tr '\\0' ' ' < /proc/$pid/cmdline > \(log)/command")
            bundle.asks("pause")
            try await bundle.create()
            try await bundle.start()
            #expect(bundle.file("log/command") == "/probe pause ")
        }
    }

    @Test(.proves("config.hooks.poststop-when"))
    func poststopHooksFindTheContainerGone() async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            bundle.change(["linux": ["cgroupsPath": .string("/lunette-conform-\(bundle.id)")]])
            bundle.hook(
                .poststop,
                "sleep 0.2; ls -d /sys/fs/cgroup/*/lunette-conform-\(bundle.id) > \(log)/left 2>/dev/null; echo done > \(log)/done")
            bundle.asks("noop")
            try await bundle.create()
            try await bundle.start()
            try await bundle.becomes("stopped")
            #expect(bundle.file("log/done").isEmpty)
            try await bundle.call("delete", bundle.id)
            #expect(bundle.file("log/done") == "done\n")
            #expect(bundle.file("log/left").isEmpty)
        }
    }

    @Test(
        .proves(
            "config.hooks.prestart-path", "config.hooks.createRuntime-path", "config.hooks.createContainer-path",
            "config.hooks.startContainer-path", "config.hooks.poststart-path", "config.hooks.poststop-path"), arguments: HookKind.allCases)
    func eachKindsPathIsLookedUpWhereItShouldBe(kind: HookKind) async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            // Two programs of one name, outside and inside, that say where they are.
            let name = "/tmp/hook-\(bundle.id)"
            try Data("#!/bin/sh\necho outside > \(log)/where\n".utf8).write(to: URL(fileURLWithPath: name))
            chmod(name, 0o755)
            bundle.cleanUp.add("remove \(name)") { unlink(name) }
            try bundle.makeFile("rootfs\(name)", "#!/bin/sh\necho inside > \(log)/where\n")
            chmod("\(bundle.rootfs)\(name)", 0o755)
            bundle.change(["hooks": .map([kind.rawValue: [["path": .string(name)]]])])
            bundle.asks("noop")
            try await bundle.create()
            try await bundle.start()
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            #expect(bundle.file("log/where") == (kind == .startContainer ? "inside\n" : "outside\n"))
        }
    }

    @Test(.proves("config.hooks.args", "config.hooks.env"), arguments: HookKind.allCases)
    func aHookGetsItsArgumentsAndEnvironment(kind: HookKind) async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            let environ = "/proc/self/environ"
            let hook: Value = [
                "path": "/bin/busybox",
                "args": [
                    "sh", "-c", .string("echo \"$0 $@\" > \(log)/args; cat \(environ) > \(log)/environ"), "zeroth", "first", "sec ond", "",
                ],
                "env": ["KEY=value", "EMPTY="],
            ]
            bundle.change(["hooks": .map([kind.rawValue: [hook]])])
            bundle.asks("noop")
            try await bundle.create()
            try await bundle.start()
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            #expect(bundle.file("log/args") == "zeroth first sec ond \n")
            // The shell sets three of its own.
            let seen = Set(bundle.file("log/environ").split(separator: "\0").map(String.init)).filter { name in
                !["PWD=", "SHLVL=", "PATH="].contains { name.hasPrefix($0) }
            }
            #expect(seen == ["KEY=value", "EMPTY="])
        }
    }

    @Test(
        .proves(
            "runtime.lifecycle.prestart-failure", "runtime.lifecycle.createRuntime-failure", "runtime.lifecycle.createContainer-failure"),
        arguments: HookKind.allCases.filter(\.isOfCreate))
    func aFailingHookOfCreateEndsTheContainer(kind: HookKind) async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            bundle.hook(kind, "exit 3")
            bundle.hook(kind, "echo went on >> \(log)/order")
            bundle.asks("print=never")
            try await bundle.refusal(mentioning: "hook")
            #expect(bundle.order().isEmpty)
            #expect(!bundle.output.contains("never"))
            #expect(bundle.cgroups().isEmpty)
        }
    }

    @Test(.proves("runtime.lifecycle.poststop"), arguments: HookKind.allCases.filter { $0 != .poststop })
    func poststopHooksFollowAFailure(kind: HookKind) async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            bundle.hook(kind, "exit 3")
            bundle.hook(.poststop, "echo poststop >> \(log)/order")
            bundle.asks("pause")
            if try await bundle.create(expecting: nil).code == 0 {
                #expect(try await bundle.start(expecting: nil).code != 0)
                try await bundle.call("delete", bundle.id, expecting: nil)
            }
            #expect(bundle.order() == ["poststop"])
        }
    }

    @Test(.proves("runtime.lifecycle.startContainer-failure"))
    func aFailingStartContainerHookEndsTheContainer() async throws {
        try await withBundle { bundle in
            bundle.hook(.startContainer, "exit 3")
            bundle.asks("print=never", "pause")
            try await bundle.create()
            #expect(try await bundle.start(expecting: nil).code != 0)
            #expect(!bundle.output.contains("never"))
            let state = try await bundle.call("state", bundle.id, expecting: nil)
            if state.code == 0 { try await bundle.becomes("stopped") }
        }
    }

    @Test(.proves("runtime.lifecycle.poststart-failure"))
    func aFailingPoststartHookEndsTheContainer() async throws {
        try await withBundle { bundle in
            bundle.hook(.poststart, "exit 3")
            bundle.asks("pause")
            try await bundle.create()
            #expect(try await bundle.start(expecting: nil).code != 0)
            let state = try await bundle.call("state", bundle.id, expecting: nil)
            if state.code == 0 { try await bundle.becomes("stopped") }
        }
    }

    @Test(.proves("runtime.lifecycle.poststop-failure", "runtime.warnings.go-on"))
    func aFailingPoststopHookIsAWarning() async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            bundle.hook(.poststop, "exit 3")
            bundle.hook(.poststop, "echo went on >> \(log)/order")
            bundle.asks("noop")
            try await bundle.create()
            try await bundle.start()
            try await bundle.becomes("stopped")
            let said = try await bundle.call("delete", bundle.id)
            #expect(bundle.order() == ["went on"])
            #expect(!said.errorText.isEmpty)
            #expect(try await bundle.call("state", bundle.id, expecting: nil).code != 0)
        }
    }

    @Test(.proves("config.hooks.timeout"), arguments: [HookKind.prestart, .createRuntime, .createContainer])
    func aHookThatTakesTooLongHasFailed(kind: HookKind) async throws {
        try await withBundle { bundle in
            let log = try bundle.makeLog()
            // It would end well if it were let; what it would write then must not appear.
            bundle.hook(kind, "sleep 4; echo ended >> \(log)/order", timeout: 1)
            bundle.asks("noop")
            try await bundle.refusal(mentioning: "hook")
            #expect(bundle.order().isEmpty)
        }
    }

    @Test(.proves("config.hooks.timeout-positive"), arguments: [Int64(0), -1])
    func aTimeoutIsPositive(timeout: Int64) async {
        await expectRefused(["hooks": ["createRuntime": [["path": "/bin/true", "timeout": .int(timeout)]]]], mentioning: "timeout")
    }

    @Test(.proves("config.hooks.path-absolute", "config.hooks.path-required"), arguments: HookKind.allCases)
    func aHooksPathIsThereAndAbsolute(kind: HookKind) async {
        await expectRefused(["hooks": .map([kind.rawValue: [["path": "bin/true"]]])], mentioning: "path")
        await expectRefused(["hooks": .map([kind.rawValue: [["args": ["true"]]]])], mentioning: "path")
    }
}
