import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// features.md, features-linux.md, and the schemas with their examples.
@Suite(.runtimeUnderTest) struct FeaturesConformanceTests {
    static func features() async throws -> Value {
        try await withBundle { bundle in
            try JSON.decode(Array(try await bundle.call("features").stdout), source: "features")
        }
    }

    static func strings(_ value: Value?) -> [String] { (value?.arrayValue ?? []).compactMap(\.stringValue) }

    @Test(.proves("features.schema", "features.version-order", "features.annotations", "features.mountOptions-no-data"))
    func theFeaturesAreWhatTheSchemaSays() async throws {
        let features = try await Self.features()
        try await Schemas.check(features, "features-schema.json")
        let versions = [features["ociVersionMin"], features["ociVersionMax"]].map {
            ($0?.stringValue ?? "").split(separator: ".").compactMap { Int($0.prefix { $0 != "-" }) }
        }
        #expect(versions[0].count == 3 && versions[1].count == 3)
        #expect(!versions[1].lexicographicallyPrecedes(versions[0]))
        for (key, value) in features["annotations"]?.mapValue ?? ValueMap() { #expect(!key.isEmpty && value.stringValue != nil) }
        #expect(Set(Self.strings(features["mountOptions"])).isDisjoint(with: ["size", "mode", "acl", "noacl", "lowerdir", "newinstance"]))
    }

    @Test(.proves("features.known-properties"))
    func onlyKnownPropertiesAreThere() async throws {
        let features = try await Self.features()
        let known: Set = [
            "ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations", "potentiallyUnsafeConfigAnnotations",
        ]
        let linux: Set = [
            "namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "intelRdt", "memoryPolicy", "mountExtensions",
            "netDevices",
        ]
        let (all, ofLinux) = (features.mapValue?.keys ?? [], features["linux"]?.mapValue?.keys ?? [])
        #expect(known.isSuperset(of: all))
        #expect(linux.isSuperset(of: ofLinux))
    }

    @Test(.proves("features.versions"))
    func theLeastAndTheGreatestVersionAreTaken() async throws {
        let features = try await Self.features()
        for name in ["ociVersionMin", "ociVersionMax"] { await expectTaken(["ociVersion": try #require(features[name])]) }
    }

    /// What the specification's own examples of features list, and this runtime has to know: MUST of the options' table, and all kinds of hooks.
    @Test(.proves("features.hooks", "schema.examples"))
    func allKindsOfHooksAreListed() async throws {
        #expect(Set(Self.strings(try await Self.features()["hooks"])) == Set(HookKind.allCases.map(\.rawValue)))
    }

    @Test(.proves("features.mountOptions"))
    func listedMountOptionsAreKnown() async throws {
        let listed = Self.strings(try await Self.features()["mountOptions"])
        #expect(listed.count >= 40)
        let table = try ConformancePage.requirements().filter { $0.id.hasPrefix("config.mount-options.") && $0.level == "MUST" }
        #expect(Set(table.map { String($0.id.dropFirst("config.mount-options.".count)) }).subtracting(listed).isEmpty)
        // All of them on one bind mount each would take a second a dozen: what changes nothing about a tmpfs goes on one.
        let special: Set = ["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap", "copy-symlink"]
        for option in listed where !special.contains(option) {
            try await withBundle { bundle in
                bundle.mount(["destination": "/data", "type": "tmpfs", "source": "x", "options": [.string(option)]])
                let seen = try await bundle.create(expecting: nil)
                #expect(seen.code == 0, "\(option): \(bundle.errors)")
            }
        }
    }

    @Test(.proves("features-linux.namespaces", "schema.examples"))
    func listedNamespacesAreKnown() async throws {
        let listed = Set(Self.strings(try await Self.features()["linux"]?["namespaces"]))
        #expect(listed.isSuperset(of: ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]))
        #expect(listed.isSubset(of: Set(NamespaceKind.allCases.map(\.rawValue))))
    }

    @Test(.proves("features-linux.capabilities", "schema.examples"))
    func listedCapabilitiesAreKnown() async throws {
        let listed = Self.strings(try await Self.features()["linux"]?["capabilities"])
        #expect(listed.count >= 41)
        try await withBundle { bundle in
            // Known means that there is no warning about it; what the machine doesn't grant may be one, so these are what root has here.
            let own = ProbeAnswers(try await Command(try await CProbe.container.path(), "status").run()).words("caps.permitted")
            let list: Value = .array(listed.filter(own.contains).map { .string($0) })
            bundle.change(["process": ["capabilities": ["bounding": list, "permitted": list, "effective": list]]])
            let seen = try await bundle.run("status")
            #expect(Set(seen.words("caps.effective")) == Set(listed.filter(own.contains)))
        }
    }

    @Test(
        .proves(
            "features-linux.cgroup", "features-linux.apparmor", "features-linux.selinux", "features-linux.intelRdt",
            "features-linux.netDevices"))
    func whatIsSaidToBeThereIsABoolean() async throws {
        let linux = try #require(try await Self.features()["linux"])
        #expect(linux["cgroup"]?["v1"] == true)
        for name in ["v2", "systemd", "systemdUser", "rdma"] where linux["cgroup"]?[name] != nil {
            #expect(linux["cgroup"]?[name]?.boolValue != nil)
        }
        for name in ["apparmor", "selinux", "intelRdt", "netDevices"] {
            guard let said = linux[name]?["enabled"] else { continue }
            #expect(said.boolValue != nil, "\(name)")
        }
        // Said to be there: then a configuration with it is taken, or refused because of this machine; said not to be: always refused.
        if linux["netDevices"]?["enabled"] == true {
            try await withBundle { bundle in
                let device = try await bundle.makePair()
                bundle.change(["linux": ["netDevices": .map([device: [:]])]])
                try await bundle.create()
            }
        }
    }

    @Test(.proves("features-linux.idmap"))
    func idmapIsSaidToBeThere() async throws {
        #expect(try await Self.features()["linux"]?["mountExtensions"]?["idmap"]?["enabled"] == true)
    }

    @Test(
        .proves(
            "features-linux.seccomp.actions", "features-linux.seccomp.operators", "features-linux.seccomp.archs",
            "features-linux.seccomp.knownFlags", "features-linux.seccomp.supportedFlags", "schema.examples"))
    func listedPartsOfFiltersAreKnown() async throws {
        let seccomp = try #require(try await Self.features()["linux"]?["seccomp"])
        #expect(seccomp["enabled"] == true)
        let actions = Self.strings(seccomp["actions"])
        #expect(Set(actions).isSuperset(of: ["ALLOW", "ERRNO", "KILL", "LOG", "NOTIFY", "TRACE", "TRAP"].map { "SCMP_ACT_\($0)" }))
        // An agent would have to be there for the last one; SeccompConformanceTests has one.
        for action in actions where action != "SCMP_ACT_NOTIFY" {
            await expectTaken(SeccompConformanceTests.rule(["names": ["getpgid"], "action": .string(action)]))
        }
        for name in Self.strings(seccomp["operators"]) {
            await expectTaken(
                SeccompConformanceTests.rule([
                    "names": ["lseek"], "action": "SCMP_ACT_ERRNO", "args": [["index": 2, "value": 9, "op": .string(name)]],
                ]))
        }
        let archs = Self.strings(seccomp["archs"])
        #expect(archs.contains("SCMP_ARCH_X86_64") && archs.contains("SCMP_ARCH_AARCH64"))
        await expectTaken(
            SeccompConformanceTests.rule(
                ["names": ["getpgid"], "action": "SCMP_ACT_ERRNO"], and: ["architectures": .array(archs.map { .string($0) })]))
        let (known, supported) = (Self.strings(seccomp["knownFlags"]), Self.strings(seccomp["supportedFlags"]))
        #expect(Set(supported).isSubset(of: known) && known.contains("SECCOMP_FILTER_FLAG_LOG"))
        for flag in supported where flag != "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
            await expectTaken(
                SeccompConformanceTests.rule(["names": ["getpgid"], "action": "SCMP_ACT_ERRNO"], and: ["flags": [.string(flag)]]))
        }
    }

    @Test(.proves("features-linux.memoryPolicy.modes", "features-linux.memoryPolicy.flags", "schema.examples"))
    func listedMemoryPoliciesAreKnown() async throws {
        let policy = try #require(try await Self.features()["linux"]?["memoryPolicy"])
        let modes = Self.strings(policy["modes"])
        #expect(
            Set(modes)
                == Set(
                    ["DEFAULT", "BIND", "INTERLEAVE", "WEIGHTED_INTERLEAVE", "PREFERRED", "PREFERRED_MANY", "LOCAL"].map { "MPOL_\($0)" }))
        for mode in modes {
            let nodes: Value = ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(mode) ? [:] : ["nodes": "0"]
            await expectTaken(["linux": ["memoryPolicy": nodes.merged(with: ["mode": .string(mode)])]])
        }
        #expect(Set(Self.strings(policy["flags"])) == ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"])
        for flag in Self.strings(policy["flags"]) {
            await expectTaken(["linux": ["memoryPolicy": ["mode": "MPOL_BIND", "nodes": "0", "flags": [.string(flag)]]]])
        }
    }

    // MARK: the schemas and their examples

    @Test(.proves("schema.spec", "config-linux.filesystems"))
    func theConfigurationThatSpecWritesValidatesAndRuns() async throws {
        try await withBundle { bundle in
            try await bundle.call("spec")
            let spec = try Schemas.read("\(bundle.folder)/config.json")
            try await Schemas.check(spec, "config-schema.json")
            let types = (spec["mounts"]?.arrayValue ?? []).reduce(into: [:]) {
                $0[$1["destination"]?.stringValue ?? ""] = $1["type"]?.stringValue
            }
            for (path, type) in ["/proc": "proc", "/sys": "sysfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs"] {
                #expect(types[path] == type, "\(path)")
            }
            bundle.config = spec
            // spec asks for a terminal; a test has none.
            bundle.change(["process": ["terminal": false, "rlimits": nil]])
            let seen = try await bundle.run("mounts", "ids")
            for (path, type) in ["/proc": "proc", "/sys": "sysfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs"] {
                #expect(seen.mount(path)?.type == type, "\(path)")
            }
        }
    }

    @Test(.proves("schema.good", "config.example"))
    func theGoodExamplesAreRead() async throws {
        for path in try Schemas.examples("config/good") {
            // Some share the runtime's mount and network namespaces, or take its eth0: neither may be this machine's.
            try await withBundle(on: OCIRuntime.underTest.apart) { bundle in
                let example = try Schemas.read(path)
                try await Schemas.check(example, "config-schema.json")
                bundle.config = example.merged(with: ["root": ["path": "rootfs"]])
                let said = try await bundle.create(expecting: nil)
                // An example may ask for what no test machine has (profiles, disks, devices of others), but never be misread.
                #expect(!said.errorText.contains("is not a") && !said.errorText.contains("unmarshal"), "\(path): \(said.errorText)")
                #expect(said.code == 0 || !said.errorText.isEmpty, "\(path)")
            }
        }
    }

    @Test(.proves("schema.bad"))
    func theBadExamplesAreRefused() async throws {
        for path in try Schemas.examples("config/bad") {
            try await withBundle { bundle in
                try bundle.write(text: String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self))
                let said = try await bundle.call("create", "--bundle", bundle.folder, bundle.id, expecting: nil)
                #expect(said.code != 0, "\(path)")
                #expect(!said.errorText.isEmpty)
            }
        }
    }

    /// The examples of the specification's text: a change of the standard configuration each, and a word of the refusal where this machine
    /// can't do what it says ("" where it can).
    @Test(.proves("schema.examples"))
    func theExamplesOfTheTextAreReadOrRefusedForAReason() async throws {
        let examples = try #require(try Schemas.read("\(LunetteHome.package)/Tests/Data/conformance/examples.json").arrayValue)
        #expect(examples.count >= 30)
        for example in examples {
            let (name, change) = (example["name"]?.stringValue ?? "", example["change"] ?? [:])
            try await withBundle(on: OCIRuntime.underTest.apart) { bundle in
                bundle.cleanUp.add("remove the example's cgroup") {
                    for path in CgroupFolders.named("myRuntime") { rmdir(path) }
                }
                bundle.asks("pause")
                bundle.change(change)
                bundle.change(["process": ["args": ["/probe", "pause"], "cwd": "/", "terminal": nil], "root": ["path": "rootfs"]])
                let said = try await bundle.create(expecting: nil)
                // Both comply: the specification leaves it open what becomes of it.
                if example["either"] == true {
                    #expect(said.code == 0 || !said.errorText.isEmpty)
                    return
                }
                guard let reason = example["refused"]?.stringValue else {
                    #expect(said.code == 0, "\(name): \(said.errorText)")
                    return
                }
                #expect(said.code != 0, "\(name)")
                if bundle.runtime.isLunette, !reason.isEmpty { #expect(said.errorText.contains(reason), "\(name): \(said.errorText)") }
            }
        }
    }
}
