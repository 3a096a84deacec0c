import LunetteSpec
import Testing

@Suite struct RuntimeSpecTests {
    static func made(_ spec: Value = ContainerSpecTests.full) throws -> RuntimeSpec {
        var facts = LaunchPlannerTests.facts()
        facts.devices["/dev/net/tun"] = .init(type: "c", path: "/dev/net/tun", major: 10, minor: 200)
        return try RuntimeSpec(container: try ContainerSpec(spec), image: LaunchPlannerTests.image, facts: facts)
    }

    @Test func whatIsEncodedDecodesToTheSame() throws {
        for spec: Value in [ContainerSpecTests.full, ["image": "x"], ["image": "x", "security": ["privileged": true]]] {
            let made = try Self.made(spec)
            let compact = try RuntimeSpec(made.compactValue)
            #expect(compact.process == made.process)
            #expect(compact.mounts == made.mounts)
            #expect(compact.linux.resources == made.linux.resources)
            #expect(compact.linux == made.linux)
            #expect(compact == made)
            let text = JSON.encode(made.value)
            let read = try RuntimeSpec(try JSON.decode(Array(text.utf8), source: "config.json"))
            var expected = made
            if made.linux.seccomp == .standard {
                expected.linux.seccomp = .profile(.standard(for: made.process?.capabilities?.bounding ?? []))
            }
            #expect(read == expected)
        }
    }

    @Test func unknownPropertiesAreKeptAndIgnored() throws {
        let value: Value = [
            "ociVersion": "1.0.2", "x": 1, "process": ["cwd": "/", "args": ["a"], "y": [1]], "linux": ["z": "q", "resources": ["w": 2]],
            "windows": ["a": "b"],
        ]
        let spec = try RuntimeSpec(value)
        #expect(spec.other["x"] == 1 && spec.process?.other["y"] == [1] && spec.linux.other["z"] == "q")
        #expect(spec.value["linux"]?["resources"]?["w"] == 2)
    }

    @Test(
        arguments: [
            (["ociVersion": nil], "ociVersion"), (["ociVersion": "2.0"], "ociVersion"), (["ociVersion": 1], "ociVersion"),
            (["process": ["cwd": nil]], "process.cwd"),
            (["process": ["user": ["uid": -1]]], "process.user.uid"), (["process": ["user": ["uid": 4_294_967_295]]], "process.user.uid"),
            (["process": ["env": ["x"]]], "process.env[0]"),
            (["process": ["scheduler": ["policy": "SCHED_X"]]], "process.scheduler.policy"),
            (["process": ["rlimits": [["type": "RLIMIT_X", "soft": 1, "hard": 1]]]], "process.rlimits[0].type"),
            (["linux": ["namespaces": [["type": "net"]]]], "linux.namespaces[0].type"),
            (["linux": ["namespaces": [["type": "pid"], ["type": "pid"]]]], "linux.namespaces[1].type"),
            (["linux": ["namespaces": [["type": "pid", "path": "x"]]]], "linux.namespaces[0].path"),
            (["linux": ["uidMappings": [["containerID": 0]]]], "linux.uidMappings[0]"),
            (["linux": ["seccomp": [:]]], "linux.seccomp.defaultAction"),
            (["linux": ["seccomp": ["defaultAction": "x"]]], "linux.seccomp.defaultAction"),
            (
                ["linux": ["seccomp": ["defaultAction": "SCMP_ACT_ALLOW", "syscalls": [["names": [], "action": "SCMP_ACT_ALLOW"]]]]],
                "linux.seccomp.syscalls[0].names"
            ),
            (["linux": ["rootfsPropagation": "x"]], "linux.rootfsPropagation"), (["mounts": [["type": "bind"]]], "mounts[0].destination"),
            (["linux": ["resources": ["memory": ["limit": "1"]]]], "linux.resources.memory.limit"), (["root": [:]], "root.path"),
        ] as [(Value, String)])
    func wrongFieldsAreNamed(_ change: Value, _ path: String) {
        let base: Value = ["ociVersion": "1.2.0", "process": ["cwd": "/", "args": ["x"]]]
        #expect(failure { () throws(LunetteError) in _ = try RuntimeSpec(base.merged(with: change)) }?.path == path, "\(change)")
    }

    /// A generator's slip (`[]` for an empty map) would be taken for "nothing asked": no user, nothing masked.
    @Test(
        arguments: [
            ("process.user", []), ("process.capabilities", []), ("hooks", []), ("annotations", []), ("linux.resources", []),
            ("linux.resources.memory", []), ("linux.resources.unified", []), ("linux.sysctl", []), ("linux.timeOffsets", []),
            ("mounts", [:]), ("process.args", [:]), ("process.rlimits", [:]), ("linux.maskedPaths", [:]), ("linux.namespaces", [:]),
            ("hooks.poststop", [:]), ("linux.seccomp.syscalls", [:]),
        ] as [(String, Value)])
    func jsonTellsEmptyListsFromEmptyObjects(_ path: String, _ empty: Value) throws {
        let base: Value = [
            "ociVersion": "1.2.0", "process": ["cwd": "/", "args": ["x"]], "linux": ["seccomp": ["defaultAction": "SCMP_ACT_ALLOW"]],
        ]
        let change = path.split(separator: ".").reversed().reduce(empty) { [String($1): $0] }
        let said = failure { () throws(LunetteError) in _ = try RuntimeSpec(base.merged(with: change)) }
        let isList = empty == []
        #expect(said?.description == "\(path): expected \(isList ? "an object, got an array" : "an array, got an object")")
        // Lua has one word for both.
        _ = try RuntimeSpec(base.merged(with: change), notation: .lua)
    }

    /// "Extensibility": ignored; said by name all the same.
    @Test func fieldsThatNobodyKnowsAreNamed() throws {
        let value: Value = [
            "ociVersion": "1.2.0", "proces": 1, "process": ["cwd": "/", "args": ["x"], "arg": 2, "commandLine": "x"],
            "mounts": [["destination": "/a", "type": "tmpfs"], ["destination": "/b", "option": ["ro"]]],
            "annotations": ["any.name": "x"], "windows": ["x": 1],
            "linux": ["sysctl": ["a.b": "1"], "resources": ["zzzzzzz": 1, "unified": ["a.b": "1"]], "intelRdt": nil],
        ]
        let inventory = FieldInventory()
        _ = try RuntimeSpec(value, inventory: inventory)
        let words = inventory.unasked.map { "\($0.path) \($0.nearest ?? "-")" }.sorted()
        #expect(words == ["linux.resources.zzzzzzz -", "mounts[1].option options", "proces process", "process.arg args"])
    }

    @Test func dockerProfilesAreResolvedByCapability() throws {
        let profile: Value = [
            "defaultAction": "SCMP_ACT_ERRNO", "archMap": [["architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]]],
            "syscalls": [
                ["names": ["read"], "action": "SCMP_ACT_ALLOW"],
                ["names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": ["caps": ["CAP_SYS_ADMIN"]]],
                ["names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": ["caps": ["CAP_SYS_ADMIN"]]],
                ["names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": ["minKernel": "4.8"]],
                ["names": ["s390_pci_mmio_read"], "action": "SCMP_ACT_ALLOW", "includes": ["arches": ["s390", "s390x"]]],
            ],
        ]
        #expect(try SeccompProfile(profile, dialect: .engine([])).syscalls.flatMap(\.names) == ["read", "clone", "ptrace"])
        #expect(try SeccompProfile(profile, dialect: .engine([.sysAdmin])).syscalls.flatMap(\.names) == ["read", "mount", "ptrace"])
        // Nothing stands beside the engine's containers that could answer.
        for change: Value in [["listenerPath": "/x"], ["defaultAction": "SCMP_ACT_NOTIFY"]] {
            let asked = profile.merged(with: change)
            #expect(
                failure { () throws(LunetteError) in _ = try SeccompProfile(asked, dialect: .engine([])) }?.code == .unsupported)
        }
    }

    @Test func noDocumentCrashesTheReader() throws {
        var random = SeededGenerator(seed: 7)
        let base = try Self.made().value
        func mutated(_ value: Value) -> Value {
            switch value {
            case .map(let map) where random.below(8) > 0:
                var result = ValueMap()
                for (key, item) in map where random.below(40) > 0 { result[key] = random.below(6) == 0 ? mutated(item) : item }
                return .map(result)
            case .array(let items) where random.below(8) > 0: return .array(items.map { random.below(6) == 0 ? mutated($0) : $0 })
            default: return random.value(depth: 3, isJSON: true)
            }
        }
        for _ in 0..<1000 {
            let value = mutated(base)
            if case .success(let spec) = Result(catching: { () throws(LunetteError) in try RuntimeSpec(value) }) {
                _ = failure { () throws(LunetteError) in _ = try LaunchPlanner.plan(spec, LaunchPlannerTests.inputs()).encoded() }
            }
        }
    }
}
