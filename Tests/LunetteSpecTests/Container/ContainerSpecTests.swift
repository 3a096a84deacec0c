import LunetteSpec
import Testing

@Suite struct ContainerSpecTests {
    static let full: Value = [
        "name": "web", "image": "redis:7", "entrypoint": ["/bin/sh"], "args": ["-c", "x"], "env": ["A": "1", "B": 2, "C": true],
        "workdir": "/srv//a/./b",
        "user": "1000:1000", "hostname": "h.example", "labels": ["a": "b"], "tty": true, "stdin": true, "init": false,
        "mounts": [
            ["type": "volume", "source": "data", "target": "/data/"],
            ["type": "bind", "source": "/srv", "target": "/srv", "readonly": true],
            ["type": "tmpfs", "target": "/tmp", "options": ["size": "16MiB", "mode": "0700", "exec": false]],
        ],
        "readonly_rootfs": true, "network": "host", "pid": "private", "ipc": "private", "dns": ["1.1.1.1"],
        "resources": [
            "memory": "256MiB", "memory_swap": "512MiB", "cpus": 1.5, "cpu_shares": 512, "cpuset": "0-1", "pids": 100, "io_weight": 10,
            "oom": "group",
        ],
        "rlimits": ["nofile": 1024, "core": ["soft": 0, "hard": "unlimited"]], "sysctls": ["kernel.shmmax": 65536],
        "devices": ["/dev/fuse", ["source": "/dev/net/tun", "permissions": "rwm"]],
        "security": [
            "capabilities": ["add": ["NET_ADMIN", "cap_sys_time"], "drop": ["chown"]], "no_new_privileges": false,
            "masked_paths": ["/proc/kcore"],
        ],
        "restart": ["policy": "on_failure", "backoff": ["initial": "1s", "max": "30s"], "max_attempts": 5],
        "stop": ["signal": "quit", "grace_period": "3s"],
        "log": ["max_size": "1MiB", "max_files": 2], "time_limit": "1h", "lifetime": "script",
        "oci": ["linux": ["rootfsPropagation": "private"]],
    ]

    @Test func whatIsEncodedDecodesToTheSame() throws {
        for value in [Self.full, ["image": "busybox"], ["rootfs": "/srv/root", "args": ["true"]]] {
            let spec = try ContainerSpec(value)
            #expect(try ContainerSpec(spec.value) == spec)
            #expect(try ContainerSpec(try MessagePack.decode(MessagePack.encode(spec.value))) == spec)
        }
    }

    @Test func mountsHaveALimit() throws {
        let mounts = { (count: Int) -> Value in .array((0..<count).map { ["type": "tmpfs", "target": .string("/m\($0)")] }) }
        #expect(try ContainerSpec(["image": "x", "mounts": mounts(1000)]).mounts.count == 1000)
        let error = #expect(throws: LunetteError.self) { try ContainerSpec(["image": "x", "mounts": mounts(1001)]) }
        #expect(error?.code == .resourceExhausted && error?.path == "mounts")
    }

    @Test func fieldsAreNormalised() throws {
        let spec = try ContainerSpec(Self.full)
        #expect(spec.workdir == "/srv/a/b")
        #expect(spec.env == ["A": "1", "B": "2", "C": "true"])
        #expect(spec.mounts.map(\.target) == ["/data", "/srv", "/tmp"])
        #expect(spec.resources.memory == 256 << 20)
        #expect(spec.stop.signal == .quit)
        #expect(spec.security.capabilities.contains(.netAdmin) && !spec.security.capabilities.contains(.chown))
        #expect(spec.rlimits.map(\.name) == ["core", "nofile"])
        #expect(spec.rlimits[0].hard == Rlimit.infinity)
    }

    @Test func defaultsAreTheSecureOnes() throws {
        let spec = try ContainerSpec(["image": "x"])
        #expect(spec.hasInit && spec.security.hasUserNamespace && spec.security.hasNoNewPrivileges && !spec.security.isPrivileged)
        #expect(spec.security.seccomp == .standard)
        #expect(spec.network == .own && spec.pid == .own && spec.ipc == .own)
        #expect(spec.notEnforced.isEmpty)
    }

    /// One wrong field each, with the path that the error must name.
    @Test(
        arguments: [
            (["imgae": "x"], "imgae"), (["image": "X Y"], "image"), (["rootfs": "/x"], "rootfs"), (["name": "../x"], "name"),
            (["name": ""], "name"),
            (["name": "-x"], "name"), (["name": "a/b"], "name"), (["name": "a\u{0}"], "name"), (["name": "ä"], "name"),
            (["name": .string(String(repeating: "a", count: 4096))], "name"),
            (["name": .string(String(repeating: "a", count: 64))], "name"), (["env": ["A=B": "x"]], "env.A=B"),
            (["env": ["": "x"]], "env."), (["env": ["A": "x\u{0}"]], "env.A"),
            (["env": ["A": [1]]], "env.A"), (["args": "x"], "args"), (["args": ["a\u{0}"]], "args[1]"), (["workdir": "x"], "workdir"),
            (["workdir": "/a/../b"], "workdir"),
            (["workdir": "/proc/self/fd/7"], "workdir"), (["workdir": "/proc/self/cwd"], "workdir"), (["user": "-1"], "user"),
            (["hostname": "-x"], "hostname"),
            (["labels": ["a=b": "c"]], "labels.a=b"),
            (["mounts": [["type": "bind", "source": "rel", "target": "/x"]]], "mounts[1].source"),
            (["mounts": [["type": "bind", "source": "/x", "target": "x"]]], "mounts[1].target"),
            (["mounts": [["type": "tmpfs", "target": "/proc"]]], "mounts[1].target"),
            (["mounts": [["type": "tmpfs", "target": "/proc/sys"]]], "mounts[1].target"),
            (["mounts": [["type": "tmpfs", "target": "//sys/./fs"]]], "mounts[1].target"),
            (["mounts": [["type": "tmpfs", "target": "/"]]], "mounts[1].target"),
            (["mounts": [["type": "tmpfs", "target": "/a/../proc"]]], "mounts[1].target"),
            (["mounts": [["type": "tmfs", "target": "/x"]]], "mounts[1].type"),
            (["mounts": [["type": "volume", "source": "../x", "target": "/x"]]], "mounts[1].source"),
            (["mounts": [["type": "tmpfs", "target": "/x"], ["type": "tmpfs", "target": "/x/"]]], "mounts[2].target"),
            (["mounts": [["type": "tmpfs", "target": "/x", "options": ["sise": 1]]]], "mounts[1].options.sise"),
            (["resources": ["memry": 1]], "resources.memry"),
            (["resources": ["memory": 1]], "resources.memory"), (["resources": ["cpus": 0]], "resources.cpus"),
            (["resources": ["cpuset": "3-1"]], "resources.cpuset"),
            (["resources": ["pids": 0]], "resources.pids"), (["resources": ["shm_size": 0]], "resources.shm_size"),
            (["resources": ["memory": "1GiB", "memory_swap": "1MiB"]], "resources.memory_swap"),
            (["rlimits": ["nofil": 1]], "rlimits.nofil"), (["rlimits": ["nofile": ["soft": 2, "hard": 1]]], "rlimits.nofile"),
            (["sysctls": ["kernel.core_pattern": "x"]], "sysctls.kernel.core_pattern"),
            (["sysctls": ["vm.swappiness": 1]], "sysctls.vm.swappiness"),
            (["sysctls": ["net/../vm.x": 1]], "sysctls.net/../vm.x"), (["sysctls": ["net..x": 1]], "sysctls.net..x"),
            (["network": "host", "sysctls": ["net.core.somaxconn": 1]], "sysctls.net.core.somaxconn"),
            (["devices": ["/etc/passwd"]], "devices[1]"),
            (["devices": ["/dev/../etc/passwd"]], "devices[1]"), (["devices": ["/dev/x:/etc/y"]], "devices[1]"),
            (["devices": ["/dev/x:/dev/y:q"]], "devices[1]"),
            (["security": ["capabilities": ["add": ["NET_RAWW"]]]], "security.capabilities.add[1]"),
            (["security": ["seccomp": "of"]], "security.seccomp"),
            (["restart": "sometimes"], "restart"), (["restart": "always", "remove_on_exit": true], "remove_on_exit"),
            (["stop": ["signal": "SIGFOO"]], "stop.signal"),
            (["log": ["max_size": 5]], "log.max_size"), (["time_limit": 0], "time_limit"), (["lifetime": "x"], "lifetime"),
            (["pid": "x"], "pid"),
            (["network": "container:../x"], "network"), (["dns": ["a b"]], "dns[1]"), (["dns": ["::1", "foo"]], "dns[2]"),
            (["user": 65536], "user"),
            (["entrypoint": []], "args"),
            (["pod": 5], "pod"), (["pod": "a", "network": "host"], "pod"), (["oci": 5], "oci"),
        ] as [(Value, String)])
    func wrongFieldsAreNamed(_ change: Value, _ path: String) {
        let error = failure { () throws(LunetteError) in _ = try ContainerSpec((["image": "x"] as Value).merged(with: change)) }
        #expect(error?.code == .invalidArgument, "\(change)")
        #expect(error?.path == path)
    }

    @Test(
        arguments: [
            (["network": "web"], "network"),
            (["network": ["a", "b"]], "network"),
            (["publish": ["80:80"]], "publish"),
            (["resources": ["storage": "1GiB"]], "resources.storage"),
            (["mounts": [["type": "image", "source": "x", "target": "/x"]]], "mounts[1].type"), (["pid": "host"], "pid"),
            (["mounts": [["type": "volume", "source": "x", "target": "/x", "fork": true]]], "mounts[1].fork"),
        ] as [(Value, String)])
    func whatIsNotBuiltIsUnsupportedNotUnknown(_ change: Value, _ path: String) {
        let error = failure { () throws(LunetteError) in _ = try ContainerSpec((["image": "x"] as Value).merged(with: change)) }
        #expect(error?.code == .unsupported)
        #expect(error?.path == path)
    }

    @Test func aLabelIsMeantByItsNameOrByItsValue() throws {
        func matches(_ wanted: Value, _ labels: ValueMap = ["app": "a", "b": ""]) throws -> Bool {
            var reader = try FieldReader(["labels": wanted])
            return try LabelFilter(reading: &reader).matches(labels)
        }
        for found: Value in [["app": .null], ["app": "a", "b": .null], ["b": ""], .null, [:]] { #expect(try matches(found)) }
        for other: Value in [["app": "b"], ["app": ""], ["c": .null], ["app": .null, "c": "x"], ["app": true]] {
            #expect(try !matches(other))
        }
        #expect(try matches(["n": 1], ["n": "1"]))
        #expect(try matches(["t": true], ["t": "true"]) && !matches(["t": true], ["t": "false"]))
        #expect(throws: LunetteError.self) { try matches(["app": [1]]) }
    }

    @Test func onlyMountsThatAreBuiltAreOffered() {
        let error = failure { () throws(LunetteError) in
            _ = try ContainerSpec(["image": "x", "mounts": [["type": "foo", "target": "/x"]]])
        }
        #expect(error?.message == "\"foo\" is not one of \"volume\", \"bind\", \"tmpfs\"")
    }

    @Test func typosGetAHint() {
        let shared = failure { () throws(LunetteError) in _ = try ContainerSpec(["image": "x", "pid": "host"]) }
        #expect(shared?.hint?.contains("container:NAME") == true)
        let error = failure { () throws(LunetteError) in _ = try ContainerSpec(["image": "x", "hostnme": "y"]) }
        #expect(error?.hint == "did you mean \"hostname\"?")
    }

    @Test func updatesChangeResourcesAndLabelsOnly() throws {
        let spec = try ContainerSpec(Self.full)
        let updated = try spec.updated(by: ["resources": ["memory": "300MiB", "cpus": nil], "labels": ["c": "d"]])
        #expect(updated.resources.memory == 300 << 20)
        #expect(updated.resources.cpus == nil)
        #expect(updated.resources.pids == 100)
        #expect(updated.labels == ["a": "b", "c": "d"])
        #expect(failure { () throws(LunetteError) in _ = try spec.updated(by: ["image": "y"]) }?.path == "image")
    }

    @Test func noTableCrashesTheDecoder() throws {
        var random = SeededGenerator(seed: 6)
        let fields = Array(try ContainerSpec(Self.full).value.mapValue!.keys)
        for _ in 0..<3000 {
            var value = Self.full.mapValue!
            for _ in 0...random.below(3) { value[fields[random.below(fields.count)]] = random.value(isJSON: false) }
            if case .success(let spec) = Result(catching: { () throws(LunetteError) in try ContainerSpec(.map(value)) }) {
                #expect(try ContainerSpec(spec.value) == spec)
            }
        }
    }
}
