import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// Ordinary users at sockets of resident scripts: what their filters are for holds, whatever they send.
@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/lib/python3/dist-packages/msgpack")))
struct SocketTests {
    /// A home whose engine has sockets.
    private struct Place {
        let home: LunetteHome
        let image: String
        var settings: String { "\(home.folder)/settings" }

        init(_ home: LunetteHome, _ script: String) async throws {
            self.home = home
            image = try await home.load(.busybox)
            try await eventually("the engine has left", within: .seconds(30)) { home.enginePID() == nil }
            try FileManager.default.createDirectory(atPath: "\(home.folder)/settings", withIntermediateDirectories: true)
            // The sockets' users have to get there; the state and the root are the engine's alone.
            chmod(home.folder, 0o711)
            try write(script)
            try await lunette("ps")
        }

        func write(_ script: String) throws {
            try Data(script.replacing("$DIR", with: home.folder).utf8).write(to: URL(fileURLWithPath: "\(settings)/init.lua"))
        }

        @discardableResult
        func lunette(_ arguments: String..., expecting code: Int32? = 0) async throws -> Finished {
            try await home.command(arguments, environment: ["LUNETTE_CONFIG": settings]).run(expecting: code)
        }

        /// Calls as this user over one connection.
        func call(_ uid: Int, _ socket: String, _ calls: Value..., handler: String? = nil) async throws -> [Value] {
            let lines = try await Command(
                ["/usr/bin/python3", "\(LunetteHome.package)/Tests/Service/caller.py", "\(uid)", "\(home.folder)/\(socket).sock"]
                    + calls.map { JSON.encode($0) }, environment: ["HANDLER": handler]
            ).run().lines
            return try lines.map { try JSON.decode(Array($0.utf8), source: "an answer") }
        }

        /// What a call is refused with; nil when it isn't.
        func denial(_ uid: Int, _ socket: String, _ function: String, _ arguments: Value, _ context: Value = [:]) async throws -> String? {
            let answer = try #require(try await call(uid, socket, [.string(function), arguments, context]).first)
            guard let error = answer["error"] else { return nil }
            return error["code"] == "denied" ? error["message"]?.stringValue : "not denied but \(JSON.encode(error))"
        }

        func stop() async throws {
            if let pid = home.enginePID() { kill(pid, SIGTERM) }
            try await eventually("the engine has left", within: .seconds(20)) { home.enginePID() == nil }
        }
    }

    private let sockets = """
        local world = "0666"
        lunette.socket("looks", { path = "$DIR/looks.sock", mode = world, filter = "read_only" })
        lunette.socket("staff", { path = "$DIR/staff.sock", group = 4242, filter = "no_bind_mounts" })
        lunette.socket("own", { path = "$DIR/own.sock", mode = world, filter = { "own_containers", "no_bind_mounts" } })
        lunette.socket("blue", { path = "$DIR/blue.sock", mode = world, filter = function(call)
          if call.name == "container.list" then return true end
          if call.name == "system.ping" then while true do end end
          if call.name == "system.info" then error("oh") end
          if call.name == "system.version" then return end
          if call.name == "image.list" then task.sleep "1m" end
          if call.container and call.container.labels.team == "blue" and call.actor.uid == 4242 then return true end
          return false, "only the blue team's"
        end })
        """

    @Test func theFileSaysWhoMayConnect() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            var status = stat()
            #expect(stat("\(home.folder)/staff.sock", &status) == 0 && status.st_gid == 4242 && status.st_mode & 0o777 == 0o660)
            #expect(try await place.call(4242, "staff", ["system.version", [:]])[0]["result"] != nil)
            #expect(try await place.call(4243, "staff", ["system.version", [:]])[0]["error"]?["code"] == "io")
            // The engine's own lets nobody else in, by whatever way it is reached.
            chmod(home.state, 0o711)
            chmod("\(home.state)/engine.sock", 0o666)
            symlink("\(home.state)/engine.sock", "\(home.folder)/main.sock")
            let refused = try await place.call(4242, "main", ["system.version", [:]])
            #expect(refused[0]["error"]?["code"] == "denied", "\(refused)")
            #expect(try await place.lunette("system", "info", "--format", "{{json .sockets}}").text.contains("looks at"))
            #expect(try await place.lunette("system", "audit").text.contains("uid=4242"))
            try await place.stop()
            #expect(access("\(home.folder)/staff.sock", F_OK) != 0)
        }
    }

    @Test func whoMayOnlyLookChangesNothing() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            try await place.lunette("run", "-d", "--name", "roots", place.image, "sleep", "600")
            let seen = try await place.call(4242, "looks", ["container.inspect_all", ["all": true]], ["system.info", [:]])
            #expect(seen[0]["result"]?.arrayValue?.count == 1 && seen[1]["result"] != nil)
            let spec: Value = ["image": .string(place.image)]
            for (function, arguments): (String, Value) in [
                ("container.create", ["spec": spec]), ("container.run", ["spec": spec]), ("container.apply", ["name": "x", "spec": spec]),
                ("container.exec", ["container": "roots", "args": ["id"]]), ("container.kill", ["container": "roots"]),
                ("container.attach", ["container": "roots"]), ("container.remove", ["container": "roots", "force": true]),
                ("container.copy_out", ["container": "roots", "source": "/etc/passwd", "destination": "/tmp/x"]),
                ("container.copy_in", ["container": "roots", "source": "/etc/shadow", "destination": "/s"]),
                ("image.save", ["references": [.string(place.image)], "path": "/tmp/x.tar"]), ("image.pull", ["reference": "x"]),
                ("hook.register", ["subscription": "a", "kind": "before", "event": "container.create"]),
                ("system.check", ["repair": true]), ("system.prune", [:]), ("script.reload", [:]), ("volume.create", ["name": "v"]),
                ("hook.register", ["subscription": "a", "event": "container.create"]),
            ] {
                let denial = try await place.denial(4242, "looks", function, arguments)
                #expect(
                    denial?.contains("over the socket looks was denied: its users may only look") == true,
                    "\(function): \(denial ?? "done")")
            }
            // A handler that hears of what happens is no change.
            #expect(
                try await place.denial(4242, "looks", "hook.register", ["subscription": "a", "kind": "on", "event": "container.*"]) == nil)
            try await place.lunette("rm", "-f", "roots")
            try await place.stop()
        }
    }

    /// What a filter has judged is what the call is done to, however long it waits.
    @Test func aNameThatIsSomebodyElsesMeanwhileIsNotTheirs() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(
                home,
                sockets + """

                    lunette.before("container.create", { name = "slow", match = { target = "late" } }, function(ev) task.sleep "2s" end)
                    """)
            let spec: Value = ["image": .string(place.image), "args": ["sleep", "600"], "labels": ["team": "mine"]]
            async let root = place.lunette(
                "-e", "container.apply('late', { image = '\(place.image)', args = { 'sleep', '600' }, labels = { team = 'root' } })")
            try await Task.sleep(for: .milliseconds(700))
            let answer = try await place.call(4242, "own", ["container.apply", ["name": "late", "spec": spec]])[0]
            _ = try await root
            #expect(answer["error"]?["code"] == "conflict", "\(answer)")
            #expect(try await place.lunette("inspect", "late", "--format", "{{json .spec.labels}}").text.contains("root"))
            try await place.lunette("rm", "-f", "late")
            try await place.stop()
        }
    }

    /// A script without any grant takes nobody's place: not the engine's, not another script's.
    @Test func noSocketTakesTheOthersPlace() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            try FileManager.default.createDirectory(atPath: "\(place.settings)/more", withIntermediateDirectories: true)
            for path in ["\(home.state)/engine.sock", "\(home.folder)/looks.sock"] {
                let file = "\(place.settings)/more/taker.lua"
                try "lunette.socket('taker', { path = '\(path)', mode = '0666', filter = 'all' })\n"
                    .write(toFile: file, atomically: true, encoding: .utf8)
                _ = try await place.lunette("apply", "--yes", file, expecting: nil)
                let answer = try await place.call(4242, "looks", ["container.run", ["spec": ["image": .string(place.image)]]])[0]
                #expect(answer["error"]?["code"] == "denied", "\(path): \(answer)")
                _ = try await place.lunette("script", "remove", "taker", expecting: nil)
                try await place.lunette("ps")
                #expect(access("\(home.folder)/looks.sock", F_OK) == 0 && access("\(home.state)/engine.sock", F_OK) == 0, "\(path)")
            }
            try await place.stop()
        }
    }

    /// Numbers that no clock and no memory has, and causes without end: one error, and the engine goes on.
    @Test func absurdNumbersAndCausesAreRefused() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            let image = Value.string(place.image)
            _ = try await place.call(4242, "own", ["container.run", ["spec": ["image": image, "args": ["true"], "name": "mine"]]])
            let engine = home.enginePID()
            let causes = Value.array((0..<5000).map { .string("hook:\($0)") })
            for (function, arguments, context): (String, Value, Value) in [
                ("container.logs", ["container": "mine", "since": 1e300], [:]),
                ("container.logs", ["container": "mine", "since": -1e19], [:]),
                ("container.logs", ["container": "mine", "since": "99999999999999999999d"], [:]),
                ("container.run", ["spec": ["image": image, "args": ["true"], "time_limit": 1e300]], [:]),
                ("container.run", ["spec": ["image": image, "args": ["true"], "stop": ["grace_period": "99999999999999999999d"]]], [:]),
            ] {
                let answer = try await place.call(4242, "own", [.string(function), arguments, context])[0]
                #expect(answer["error"]?["code"] == "invalid_argument", "\(function) \(JSON.encode(arguments)): \(answer)")
            }
            // More than there is of it is no limit.
            let much: Value = ["image": image, "args": ["true"], "resources": ["memory": .int(1 << 62)], "remove_on_exit": true]
            let answer = try await place.call(4242, "own", ["container.run", ["spec": much]])[0]
            #expect(answer["error"]?["message"]?.stringValue?.contains("the end") != true, "\(answer)")
            let root = try await place.lunette("system", "audit", "--format", "json").lines.count
            let flood: Value = ["container.run", ["spec": ["image": "nope"]], ["cause": causes]]
            _ = try await place.call(4242, "own", flood, flood, flood, flood, flood, flood, flood, flood)
            let lines = try await place.lunette("system", "audit", "--format", "json").text
            #expect(lines.utf8.count < 200_000 && lines.split(separator: "\n").count <= root + 8)
            #expect(home.enginePID() == engine)
            try await place.lunette("rm", "-f", "mine")
            try await place.stop()
        }
    }

    /// However much a user of a socket asks for, and is let: others' memory, events and audit lines are theirs.
    @Test func whatOneUserHoldsAndMakesHasBounds() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            let handlers = try await Command(
                ["/usr/bin/python3", "\(LunetteHome.package)/Tests/Service/caller.py", "4242", "\(home.folder)/looks.sock"]
                    + (0..<70).map { JSON.encode(["hook.register", ["subscription": .string("s\($0)"), "kind": "on", "event": "*"]]) }
            ).run().lines.map { try JSON.decode(Array($0.utf8), source: "an answer") }
            #expect(handlers[63]["error"] == nil, "\(handlers[63])")
            #expect(
                handlers[64]["error"]?["code"] == "resource_exhausted"
                    && handlers[64]["error"]?["message"]?.stringValue?.contains("has 64, as many as it may") == true, "\(handlers[64])")
            let many = try await place.call(
                4242, "looks", ["system.ping", ["a": .array(Array(repeating: 0, count: 25_000))]])
            #expect(many[0]["error"]?["message"]?.stringValue?.contains("more than 20000 values") == true, "\(many)")

            // Lines of what guests do are in a file of theirs, and the log is one.
            let image = Value.string(place.image)
            let made = try await place.call(4242, "own", ["container.create", ["spec": ["image": image, "name": "mine"]]])
            #expect(made[0]["error"] == nil, "\(made)")
            try await place.lunette("create", "--name", "roots", place.image)
            let own = try String(contentsOfFile: "\(home.root)/audit.log", encoding: .utf8)
            let guests = try String(contentsOfFile: "\(home.root)/audit-guests.log", encoding: .utf8)
            #expect(own.contains("roots") && !own.contains("4242") && guests.contains("\"mine\"") && !guests.contains("roots"))
            let whole = try await place.lunette("system", "audit").lines
            let (first, last) = (whole.firstIndex { $0.contains("mine") }, whole.firstIndex { $0.contains("roots") })
            #expect(first != nil && last != nil && first! < last!, "\(whole)")
            try await place.lunette("rm", "mine", "roots")
            try await place.stop()
        }
    }

    @Test func noPathOfTheHostIsReached() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            let image = Value.string(place.image)
            let specs: [Value] = [
                ["image": image, "mounts": [["type": "bind", "source": "/etc", "target": "/host"]]],
                ["image": image, "mounts": [["type": "volume", "target": "/a"], ["type": "bind", "source": "/", "target": "/host"]]],
                ["image": image, "mounts": ["x": ["type": "bind", "source": "/", "target": "/host"]]],
                ["image": image, "mounts": [["type": "other", "source": "/", "target": "/host"]]],
                ["rootfs": "/"], ["image": image, "security": ["privileged": true]], ["image": image, "security": ["privileged": 1]],
                ["image": image, "security": ["user_namespace": false]], ["image": image, "security": ["seccomp": "/etc/shadow"]],
                ["image": image, "devices": ["/dev/sda"]], ["image": image, "network": "host"],
                ["image": image, "oci": ["mounts": [["source": "/", "destination": "/host", "type": "bind"]]]], "text",
                // Another's namespaces, the host's among them, by each of their names.
                ["image": image, "network": "container:hostly"], ["image": image, "network": ["host"]], ["image": image, "pod": "hostly"],
                ["image": image, "pid": "container:hostly"], ["image": image, "ipc": "container:hostly"],
                ["image": image, "security": ["masked_paths": []]], ["image": image, "security": ["capabilities": ["more": ["ALL"]]]],
                ["image": image, "a_field_to_come": "/"], ["image": image, "security": ["to_come": true]],
                ["image": image, "mounts": [["type": "tmpfs", "target": "/t", "options": ["to_come": "/"]]]],
            ]
            for spec in specs {
                for function in ["container.create", "container.run", "container.apply"] {
                    for socket in ["staff", "own"] {
                        let denial = try await place.denial(4242, socket, function, ["name": "x", "spec": spec])
                        #expect(
                            denial?.contains("over the socket \(socket) was denied") == true,
                            "\(function) \(JSON.encode(spec)): \(denial ?? "done")")
                    }
                }
            }
            try await place.lunette("run", "-d", "--name", "roots", place.image, "sleep", "600")
            try await place.lunette("run", "-d", "--name", "hostly", "--network", "host", place.image, "sleep", "600")
            try await place.lunette("run", "-d", "--name", "sharing", "--network", "container:hostly", place.image, "sleep", "600")
            for (function, arguments): (String, Value) in [
                // The host's network, in builds and by containers that share it.
                ("image.build", ["tag": "x", "from": image, "run": ["true"], "network": "host"]),
                ("image.build", ["tag": "x", "from": image, "run": ["true"], "to_come": "host"]),
                ("container.exec", ["container": "hostly", "args": ["true"]]),
                ("container.exec", ["container": "sharing", "args": ["true"]]), ("container.start", ["container": "sharing"]),
                ("container.update", ["container": "roots", "to_come": "/"]),
                // No path, but the bytes of what others will run.
                ("image.load", ["stdio": ["stdin"], "tag": "trusted"]), ("image.save", ["refs": image, "stdio": ["stdout"]]),
                ("volume.apply", ["name": "v", "spec": ["options": ["device": "/etc"]]]),
                ("container.copy_in", ["container": "roots", "source": "/etc/shadow", "destination": "/s"]),
                ("container.copy_out", ["container": "roots", "source": "/etc/passwd", "destination": "/tmp/x"]),
                ("image.load", ["path": "/etc/shadow"]), ("image.save", ["references": [image], "path": "/tmp/x.tar"]),
                ("image.build", ["tag": "x", "from": "scratch", "copy": [["from": "/etc/shadow", "to": "/s"]]]),
                ("volume.create", ["name": "v", "options": ["device": "/etc"]]), ("script.reload", [:]),
                // It could mount what it likes in what others make.
                ("hook.register", ["subscription": "a", "kind": "before", "event": "container.create"]),
            ] {
                let denial = try await place.denial(4242, "staff", function, arguments)
                #expect(denial?.contains("over the socket staff was denied") == true, "\(function): \(denial ?? "done")")
            }
            // What is left is theirs.
            #expect(try await place.denial(4242, "staff", "container.exec", ["container": "roots", "args": ["true"]]) == nil)
            #expect(try await place.denial(4242, "staff", "container.run", ["spec": ["image": image, "args": ["true"]]]) == nil)
            #expect(try await place.denial(4242, "staff", "volume.create", ["name": "v"]) == nil)
            let applied = try await place.denial(4242, "staff", "volume.apply", ["name": "w", "labels": ["a": "b"]])
            #expect(applied == nil, "\(applied ?? "")")
            #expect(try await place.denial(4242, "staff", "image.build", ["tag": "x", "from": image, "run": ["true"]]) == nil)
            let own: Value = [
                "image": image, "args": ["true"], "network": "none", "pid": "private", "pod": false, "security": ["privileged": false],
                "mounts": [
                    ["type": "volume", "source": "v", "target": "/v"], ["type": "tmpfs", "target": "/t", "options": ["mode": "0700"]],
                ],
            ]
            #expect(try await place.denial(4242, "staff", "container.run", ["spec": own]) == nil)
            // What somebody else's container has of the host's is reached through it.
            try await place.lunette("run", "-d", "--name", "bound", "-v", "/etc:/host:ro", place.image, "sleep", "600")
            let inside = try await place.denial(4242, "staff", "container.exec", ["container": "bound", "args": ["cat", "/host/shadow"]])
            #expect(inside?.contains("the container has") == true, "\(inside ?? "done")")
            #expect(try await place.denial(4242, "staff", "container.stats", ["container": "bound"]) == nil)
            for name in ["bound", "sharing", "hostly", "roots"] { try await place.lunette("rm", "-f", name) }
            try await place.stop()
        }
    }

    /// A container that is one's own has the limits that any container has, at its start and later.
    @Test func noDefaultLimitIsTakenAway() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            let spec: Value = ["image": .string(place.image), "args": ["sleep", "600"]]
            let beyond: [Value] = [
                ["resources": ["pids": -1]], ["resources": ["pids": 5000]], ["resources": ["pids": "x"]],
                ["resources": ["shm_size": "1GiB"]], ["resources": ["cpu_shares": 262_144]], ["resources": ["io_weight": 10_000]],
                ["resources": ["memory_reservation": "1GiB"]], ["resources": ["hugepages": ["2MB": "1GiB"]]],
                ["restart": ["policy": "always", "backoff": ["initial": 0, "max": 0]]],
                ["restart": ["policy": "always", "backoff": ["max": "1s"]]],
            ]
            let only: [Value] = [
                ["log": ["max_size": "9TiB"]], ["log": ["max_files": 1000]],
                ["mounts": [["type": "tmpfs", "target": "/t", "options": ["size": "900GiB"]]]],
                ["mounts": [["type": "tmpfs", "target": "/t", "options": ["size": -1]]]],
            ]
            let mine: Value = [
                "name": "mine", "resources": ["pids": 4096, "memory": "64MiB", "shm_size": "64MiB", "cpu_shares": 2],
                "log": ["max_size": "1MiB", "max_files": 2], "restart": ["policy": "always", "backoff": ["initial": "2s"]],
            ]
            let made = try await place.call(4242, "own", ["container.run", ["spec": spec.merged(with: mine)]])[0]
            #expect(made["result"]?["name"] == "mine", "\(made)")
            for fields in beyond + only {
                let denial = try await place.denial(4242, "own", "container.run", ["spec": spec.merged(with: fields)])
                #expect(denial?.contains("over the socket own was denied: spec.") == true, "\(fields): \(denial ?? "done")")
            }
            for fields in beyond + [["a_field_to_come": true]] {
                let update = fields.merged(with: ["container": "mine"])
                let denial = try await place.denial(4242, "own", "container.update", update)
                #expect(denial?.contains("over the socket own was denied: arguments.") == true, "\(fields): \(denial ?? "done")")
            }
            let less: Value = ["container": "mine", "resources": ["pids": 100], "restart": "never", "labels": ["a": "b"]]
            #expect(try await place.denial(4242, "own", "container.update", less) == nil)
            try await place.lunette("rm", "-f", "mine")
            try await place.stop()
        }
    }

    @Test func othersContainersAreOutOfReach() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            let image = Value.string(place.image)
            try await place.lunette("run", "-d", "--name", "roots", "-e", "SECRET=swordfish", place.image, "sleep", "600")
            let id = try await place.lunette("ps", "-q", "--no-trunc").text
            let mine = try await place.call(
                4242, "own", ["container.run", ["spec": ["image": image, "name": "mine", "args": ["sleep", "600"]]]])
            #expect(mine[0]["result"]?["name"] == "mine", "\(mine)")
            for word: Value in [
                "roots", .string(id), .string(String(id.prefix(6))), ["$handle": "container", "id": .string(id), "name": "mine"],
            ] {
                for (function, rest): (String, ValueMap) in [
                    ("exec", ["args": ["id"]]), ("inspect", [:]), ("logs", [:]), ("follow_logs", [:]), ("attach", [:]), ("kill", [:]),
                    ("stop", [:]),
                    ("remove", ["force": true]), ("rename", ["name": "x"]), ("update", ["labels": [:]]), ("processes", [:]), ("get", [:]),
                    ("find", [:]),
                    ("wait", [:]), ("diff", [:]), ("resize", ["rows": 1, "columns": 1]),
                ] {
                    var arguments = rest
                    arguments["container"] = word
                    let denial = try await place.denial(4242, "own", "container.\(function)", .map(arguments))
                    #expect(denial?.contains("no such container is yours") == true, "\(function) \(JSON.encode(word)): \(denial ?? "done")")
                }
            }
            for (function, arguments): (String, Value) in [
                ("container.apply", ["name": "roots", "spec": ["image": image]]), ("container.get", ["container": "absent"]),
                ("container.run", ["spec": ["image": image, "network": "container:roots"]]),
                ("container.run", ["spec": ["image": image, "pid": "container:roots"]]),
                ("container.run", ["spec": ["image": image, "ipc": "container:roots"]]),
                ("container.run", ["spec": ["image": image, "pod": "roots"]]),
                ("container.run", ["spec": ["image": image, "mounts": [["type": "volume", "source": "roots-data", "target": "/d"]]]]),
                ("container.run", ["spec": ["image": image, "security": ["capabilities": ["add": ["SYS_ADMIN"]]]]]),
                ("container.run", ["spec": ["image": image, "sysctls": ["net.ipv4.ip_forward": 1]]]),
                ("container.run", ["spec": ["image": image, "lifecycle": "database"]]),
                ("events.follow", ["since": 0, "until": "0s"]), ("hook.register", ["subscription": "a", "kind": "on", "event": "*"]),
                ("hook.register", ["subscription": "a", "kind": "before", "event": "container.create"]), ("hook.list", [:]),
                ("script.list", [:]), ("script.reload", [:]), ("system.audit", [:]), ("system.prune", [:]), ("volume.list", [:]),
                ("image.remove", ["image": image]),
            ] {
                let denial = try await place.denial(4242, "own", function, arguments)
                #expect(
                    denial?.contains("over the socket own was denied") == true, "\(function) \(JSON.encode(arguments)): \(denial ?? "done")"
                )
            }
            // A list is of one's own, whatever it asks for.
            let lists = try await place.call(
                4242, "own", ["container.list", ["all": true]], ["container.inspect_all", ["all": true, "owner": 0]],
                ["container.exec", ["container": "mine", "args": ["true"]]], ["container.remove", ["container": "mine", "force": true]])
            #expect(lists[0]["result"]?.arrayValue?.compactMap { $0["name"] } == ["mine"], "\(lists)")
            #expect(lists[1]["result"]?.arrayValue?.compactMap { $0["name"] } == ["mine"])
            #expect(!JSON.encode(lists[1]).contains("swordfish"))
            #expect(lists[2]["result"]?["code"] == 0 && lists[3]["error"] == nil, "\(lists)")
            try await place.lunette("rm", "-f", "roots")
            try await place.stop()
        }
    }

    /// What a filter says of one object it says of it among others, and one that may not be is the end of all.
    @Test func eachObjectOfAnApplyIsJudged() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(
                home,
                sockets + """

                    lunette.socket("named", { path = "$DIR/named.sock", mode = "0666", filter = function(call)
                      if call.name == "lunette.apply" then return true end
                      if call.name == "container.apply" then
                        return { arguments = { name = "u" .. call.actor.uid .. "-" .. call.arguments.name, spec = { labels = { by = "filter" } } } }
                      end
                      return false, "only containers"
                    end })
                    lunette.before("container.create", { name = "slow", match = { target = "late" } }, function(ev) task.sleep "2s" end)
                    """)
            let plain: ValueMap = ["image": .string(place.image), "args": ["sleep", "600"]]
            func spec(_ fields: ValueMap) -> Value {
                var spec = plain
                for (key, value) in fields { spec[key] = value }
                return .map(spec)
            }
            try await place.lunette(
                "-e", "container.apply('roots', { image = '\(place.image)', args = { 'sleep', '600' } })")
            try await place.lunette("run", "-d", "--name", "bound", "-v", "/etc:/host:ro", place.image, "sleep", "600")
            for (socket, objects): (String, Value) in [
                ("looks", ["containers": ["mine": spec([:])]]), ("looks", ["containers": ["mine": spec([:])], "dry_run": true]),
                // Another's, as it is and changed; made to look like nothing else is asked.
                ("own", ["containers": ["mine": spec([:]), "roots": spec([:])]]),
                ("own", ["containers": ["mine": spec([:]), "roots": spec(["labels": ["a": "b"]])]]),
                ("own", ["containers": ["mine": spec([:]), "roots": spec([:])], "dry_run": true]),
                ("own", ["volumes": ["data": [:]], "containers": ["mine": spec([:])]]),
                ("own", ["containers": ["a": spec([:]), "mine": spec(["network": "container:a"])]]),
                ("own", ["containers": ["mine": spec(["mounts": [["type": "volume", "source": "data", "target": "/d"]]])]]),
                ("own", ["containers": ["mine": spec(["network": "container:roots"])]]),
                ("own", ["containers": ["mine": spec(["security": ["privileged": true]])]]),
                ("staff", ["containers": ["mine": spec(["mounts": [["type": "bind", "source": "/", "target": "/host"]]])]]),
                ("staff", ["containers": ["mine": spec(["oci": ["a": 1]])]]), ("staff", ["containers": ["mine": ["rootfs": "/"]]]),
                ("staff", ["containers": ["mine": spec([:]), "bound": spec([:])]]),
                ("staff", ["volumes": ["data": ["options": ["device": "/etc"]]]]),
                ("named", ["volumes": ["data": [:]]]), ("blue", ["containers": ["mine": spec([:])]]),
            ] {
                let denial = try await place.denial(4242, socket, "lunette.apply", objects)
                #expect(
                    denial?.contains("lunette.apply over the socket \(socket) was denied") == true,
                    "\(JSON.encode(objects)): \(denial ?? "done")")
            }
            // What isn't a table of specs is judged by nobody and done by nobody.
            for objects: Value in [
                ["containers": [spec(["security": ["privileged": true]])]], ["containers": ["mine": [1]]],
                ["containers": ["mine": spec(["name": "roots"])]], ["container": "roots"],
            ] {
                let answer = try await place.call(4242, "own", ["lunette.apply", objects])[0]
                #expect(answer["error"]?["code"] == "invalid_argument", "\(answer)")
            }
            #expect(try await place.lunette("ps", "-a", "--format", "{{.Names}}").lines.sorted() == ["bound", "roots"])
            #expect(try await place.lunette("volume", "ls", "-q").text == "")
            // Theirs, and as the filter narrows it.
            let mine = try await place.call(4242, "own", ["lunette.apply", ["containers": ["mine": spec([:]), "more": spec([:])]]])[0]
            #expect(mine["result"]?["changed"] == ["container mine: made", "container more: made"], "\(mine)")
            let named = try await place.call(4242, "named", ["lunette.apply", ["containers": ["a": spec([:])]]])[0]
            #expect(named["result"]?["containers"]?.mapValue?.keys == ["u4242-a"], "\(named)")
            #expect(try await place.lunette("inspect", "u4242-a", "--format", "{{json .spec.labels}}").text.contains("filter"))
            // A name that becomes another's while it waits.
            async let root = place.lunette("-e", "container.apply('late', { image = '\(place.image)', args = { 'sleep', '600' } })")
            try await Task.sleep(for: .milliseconds(700))
            let late = try await place.call(4242, "own", ["lunette.apply", ["containers": ["late": spec(["labels": ["a": "b"]])]]])[0]
            _ = try await root
            #expect(late["error"]?["code"] == "conflict", "\(late)")
            #expect(try await place.lunette("system", "audit").text.contains("lunette.apply late conflict"))
            for name in ["late", "roots", "bound", "mine", "more", "u4242-a"] { try await place.lunette("rm", "-f", name) }
            try await place.stop()
        }
    }

    /// Ids of requests are seen in events: with another's id nobody gets its outcome, reaches its exec, or passes a handler by.
    @Test func othersRequestsAreNobodyElses() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(
                home,
                sockets
                    + "\nlunette.before(\"container.create\", { name = \"no\" }, function(ev) if ev.spec.name == \"no\" then ev:deny \"no\" end end)"
            )
            let image = Value.string(place.image)
            let first = try await place.call(0, "own", ["container.create", ["spec": ["image": image, "name": "a"]], ["id": "same"]])
            let again = try await place.call(0, "own", ["container.create", ["spec": ["image": image, "name": "a"]], ["id": "same"]])
            #expect(first[0]["result"]?["id"] == again[0]["result"]?["id"], "\(again)")
            let other = try await place.call(4242, "own", ["container.create", ["spec": ["image": image, "name": "b"]], ["id": "same"]])
            #expect(other[0]["result"]?["name"] == "b", "\(other)")
            // Two execs at once, whose ids begin alike.
            let started = try await place.call(
                4242, "own",
                ["container.run", ["spec": ["image": image, "name": "c", "args": ["sleep", "600"]]], ["id": "run-the-container"]],
                ["container.exec", ["container": "c", "args": ["sh", "-c", "exit 3"]], ["id": "0123456789abcdef-first"]],
                ["container.exec", ["container": "c", "args": ["sh", "-c", "exit 4"]], ["id": "0123456789abcdef-second"]],
                ["container.remove", ["container": "c", "force": true]])
            #expect(started[1]["result"]?["code"] == 3 && started[2]["result"]?["code"] == 4, "\(started)")
            let passed = try await place.denial(
                4242, "own", "container.create", ["spec": ["image": image, "name": "no"]],
                ["cause": ["hook:resident/init/before/no", "hook:before/no"]])
            #expect(passed?.contains("denied: no") == true, "\(passed ?? "done")")
            try await place.stop()
        }
    }

    @Test func aFunctionJudgesAndWhatFailsOrIsSlowDenies() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            try await place.lunette("run", "-d", "--name", "blues", "--label", "team=blue", place.image, "sleep", "600")
            try await place.lunette("run", "-d", "--name", "reds", "--label", "team=red", place.image, "sleep", "600")
            let exec: (Value) -> Value = { ["container": $0, "args": ["true"]] }
            #expect(try await place.denial(4242, "blue", "container.exec", exec("blues")) == nil)
            #expect(try await place.denial(4242, "blue", "container.exec", exec("reds"))?.contains("only the blue team's") == true)
            #expect(try await place.denial(4243, "blue", "container.exec", exec("blues"))?.contains("only the blue team's") == true)
            for (function, why) in [
                ("system.ping", "its filter failed: "), ("system.info", "its filter failed: "),
                ("system.version", "its filter returned nil, neither true nor false"), ("image.list", "it did not answer within 5 s"),
            ] {
                let denial = try await place.denial(4242, "blue", function, [:])
                #expect(denial?.contains(why) == true, "\(function): \(denial ?? "done")")
            }
            // One that hangs holds nobody up.
            #expect(try await place.denial(4242, "blue", "container.list", [:]) == nil)

            // Another version judges at once, also those who are connected; what isn't declared any more is closed.
            try place.write("lunette.socket(\"blue\", { path = \"$DIR/blue.sock\", mode = \"0666\", filter = \"read_only\" })")
            try await place.lunette("reload")
            #expect(try await place.denial(4243, "blue", "system.ping", [:]) == nil)
            #expect(try await place.denial(4242, "blue", "container.exec", exec("blues"))?.contains("may only look") == true)
            #expect(access("\(home.folder)/looks.sock", F_OK) != 0)
            try await place.lunette("rm", "-f", "blues", "reds")
            try await place.stop()
        }
    }

    @Test func aWrongDeclarationIsToldWithItsLine() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, "-- nothing")
            for (line, word) in [
                ("lunette.socket(\"a\", { path = \"/x\" })", "init.lua:1: lunette.socket: filter: is required"),
                ("lunette.socket(\"a\", { filter = \"al\" })", "did you mean \"all\"?"),
                ("lunette.socket(\"a\", { filter = {} })", "empty list"),
                ("lunette.socket(\"a b\", { filter = \"all\" })", "is not 1 to 40 letters"),
                ("lunette.socket(\"a\", { filter = \"all\", path = \"x\" })", "is not an absolute path"),
                ("lunette.socket(\"a\", { filter = \"all\", mode = \"9\" })", "is no file mode"),
                ("lunette.socket(\"a\", { filter = \"all\", group = \"nobody-has-this\" })", "no group is called"),
                ("lunette.socket(\"a\", { filter = \"all\", pth = \"/x\" })", "unknown option"),
                ("for _ = 1, 2 do lunette.socket(\"a\", { filter = \"all\" }) end", "declared already"),
            ] {
                try place.write(line)
                let failed = try await place.lunette("reload", expecting: 125)
                #expect(failed.errorText.contains(word), "\(line): \(failed.errorText)")
            }
            let script = try await place.lunette("-e", "lunette.socket('a', { filter = 'all' })", expecting: 1)
            #expect(script.errorText.contains("a socket is declared by a resident script"), "\(script.errorText)")
            try await place.stop()
        }
    }

    @Test func theCommandLineReachesASocket() async throws {
        try await withLunette(.root) { home in
            let place = try await Place(home, sockets)
            let environment: [String: String?] = ["LUNETTE_SOCKET": "\(home.folder)/own.sock"]
            let run = try await home.lunette("run", "--rm", place.image, "echo", "hello", environment: environment)
            #expect(run.text == "hello")
            let denied = try await home.lunette(
                "run", "--rm", "-v", "/etc:/host", place.image, "true", environment: environment, expecting: 125)
            #expect(denied.errorText.contains("over the socket own was denied: spec.mounts[1].source"), "\(denied.errorText)")
            #expect(try await home.lunette("--socket", "\(home.folder)/looks.sock", "ps", "-aq").text == "")
            let absent = try await home.lunette("--socket", "\(home.folder)/absent.sock", "ps", expecting: 125)
            #expect(absent.errorText.contains("connect to the engine at \(home.folder)/absent.sock"), "\(absent.errorText)")
            try await place.stop()
        }
    }
}
