import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// config-linux.md: masked and read-only paths, propagation of the root, sysctl, personality, memory policy, resctrl.
@Suite(.runtimeUnderTest) struct RestrictionConformanceTests {
    @Test(.proves("config-linux.maskedPaths.file", "config-linux.maskedPaths.directory", "config-linux.maskedPaths.missing"))
    func maskedPathsCannotBeRead() async throws {
        try await withBundle { bundle in
            try bundle.makeFile("rootfs/etc/secret", "secret")
            try bundle.makeFolder("rootfs/etc/secrets")
            try bundle.makeFile("rootfs/etc/secrets/one", "secret")
            bundle.change(["linux": ["maskedPaths": ["/etc/secret", "/etc/secrets", "/proc/version", "/proc/not-there", "/not/there"]]])
            let seen = try await bundle.run(
                "read=/etc/secret", "list=/etc/secrets", "read=/proc/version", "create=/etc/secrets/new", "put=/etc/secret:x")
            #expect(["", "!EACCES", "!EPERM"].contains(seen["read./etc/secret"]), "\(seen)")
            #expect([".", "!EACCES"].contains(seen["list./etc/secrets"]), "\(seen)")
            #expect(["", "!EACCES", "!EPERM"].contains(seen["read./proc/version"]))
            #expect(seen["create./etc/secrets/new"] != "ok")
            #expect(bundle.file("rootfs/etc/secret") == "secret")
        }
    }

    @Test(.proves("config-linux.readonlyPaths", "config-linux.readonlyPaths.missing"))
    func readOnlyPathsCannotBeWritten() async throws {
        try await withBundle { bundle in
            try bundle.makeFolder("rootfs/etc/fixed")
            try bundle.makeFile("rootfs/etc/fixed/file", "old")
            bundle.mount(["destination": "/etc/fixed/below", "type": "tmpfs", "source": "x", "options": []])
            bundle.change(["linux": ["readonlyPaths": ["/etc/fixed", "/proc/sys", "/proc/not-there", "/not/there"]]])
            let seen = try await bundle.run(
                "write=/etc/fixed/file", "create=/etc/fixed/new", "write=/proc/sys/kernel/domainname", "read=/etc/fixed/file",
                "create=/etc/other")
            #expect(seen["write./etc/fixed/file"] == "!EROFS")
            #expect(seen["create./etc/fixed/new"] == "!EROFS")
            #expect(seen["write./proc/sys/kernel/domainname"] == "!EROFS")
            #expect(seen["read./etc/fixed/file"] == "old")
            #expect(seen["create./etc/other"] == "ok")
        }
    }

    @Test(.proves("config-linux.maskedPaths.absolute", "config-linux.readonlyPaths.absolute"), arguments: ["maskedPaths", "readonlyPaths"])
    func suchPathsAreAbsolute(property: String) async {
        await expectRefused(["linux": .map([property: ["proc/kcore"]])], mentioning: property)
    }

    @Test(
        .proves(
            "config-linux.rootfsPropagation.shared", "config-linux.rootfsPropagation.slave", "config-linux.rootfsPropagation.private",
            "config-linux.rootfsPropagation.unbindable"), arguments: ["shared", "slave", "private", "unbindable"])
    func theRootsPropagationIsTheConfigured(propagation: String) async throws {
        try await withBundle { bundle in
            // The mount that the root lies on is shared on the host, so that there is a master to have.
            let root = bundle.rootfs
            bundle.cleanUp.add("unmount \(root)") { try await Command("umount", "-R", root).run() }
            try await Command.shell("mount --bind \(root) \(root); mount --make-shared \(root)").run()
            bundle.change(["linux": ["rootfsPropagation": .string(propagation)]])
            let all: Value = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_CHOWN"]
            bundle.change(["process": ["capabilities": ["bounding": all, "permitted": all, "effective": all]]])
            bundle.asks("mounts", "bindself=/bin", "print=ready", "pause")
            try await bundle.create()
            try await bundle.start()
            try await bundle.says("ready")
            let seen = bundle.answers()
            let mount = try #require(seen.mount("/"))
            switch propagation {
            case "shared": #expect(mount.propagation.contains("shared"))
            case "slave": #expect(!mount.propagation.contains("shared"))
            case "private": #expect(mount.propagation.isDisjoint(with: ["shared", "master"]))
            default: #expect(mount.propagation.contains("unbindable"))
            }
            #expect(seen["bindself./bin"] == (propagation == "unbindable" ? "!EINVAL" : "ok"))
            // What the container mounts never comes out.
            #expect(!(try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)).contains("/tmp/bound"))
            // What the host mounts comes in for a slave.
            let host = try bundle.makeFolder("rootfs/mnt")
            try await Command("mount", "-t", "tmpfs", "from-the-host", host).run()
            let inside = try String(contentsOfFile: "/proc/\(try await bundle.pid())/mountinfo", encoding: .utf8).contains("from-the-host")
            #expect(propagation == "shared" || inside == (propagation == "slave"))
        }
    }

    @Test(.proves("config-linux.rootfsPropagation.invalid"))
    func anotherPropagationIsAnError() async {
        await expectRefused(["linux": ["rootfsPropagation": "nonsense"]], mentioning: "rootfsPropagation")
    }

    @Test(.proves("config-linux.sysctl"))
    func kernelParametersAreSet() async throws {
        try await withBundle { bundle in
            bundle.change([
                "linux": [
                    "sysctl": ["net.ipv4.ip_forward": "1", "net.core.somaxconn": "256", "kernel.msgmax": "9999", "kernel/shmmni": "77"]
                ]
            ])
            let seen = try await bundle.run(
                "read=/proc/sys/net/ipv4/ip_forward", "read=/proc/sys/net/core/somaxconn", "read=/proc/sys/kernel/msgmax",
                "read=/proc/sys/kernel/shmmni")
            #expect(seen["read./proc/sys/net/ipv4/ip_forward"] == "1")
            #expect(seen["read./proc/sys/net/core/somaxconn"] == "256")
            #expect(seen["read./proc/sys/kernel/msgmax"] == "9999")
            #expect(seen["read./proc/sys/kernel/shmmni"] == "77")
        }
    }

    @Test(.proves("config-linux.sysctl.unknown", "config-linux.sysctl.host"))
    func parametersOfTheHostAreErrors() async throws {
        let before = try String(contentsOfFile: "/proc/sys/kernel/printk", encoding: .utf8)
        await expectRefused(["linux": ["sysctl": ["kernel.printk": "1 1 1 1"]]], mentioning: "kernel.printk")
        #expect(try String(contentsOfFile: "/proc/sys/kernel/printk", encoding: .utf8) == before)
        await expectRefused(["linux": ["sysctl": ["vm.swappiness": "1"]]], mentioning: "vm.swappiness")
        await expectRefused(["linux": ["sysctl": ["net.nonsense.nothing": "1"]]], mentioning: "sysctl")
        await expectRefused(["linux": ["sysctl": ["net.ipv4.ip_forward": "words"]]], mentioning: "sysctl")
        try await withBundle { bundle in
            bundle.withoutNamespace("network")
            bundle.change(["linux": ["sysctl": ["net.core.somaxconn": "256"]]])
            try await bundle.refusal(mentioning: "net.core.somaxconn")
        }
        try await withBundle { bundle in
            bundle.withoutNamespace("ipc")
            bundle.change(["linux": ["sysctl": ["kernel.msgmax": "9999"]]])
            try await bundle.refusal(mentioning: "kernel.msgmax")
        }
    }

    /// The host's namespace by its path is the host's all the same.
    @Test(arguments: [("network", "net", "net.core.somaxconn"), ("ipc", "ipc", "kernel.msgmax"), ("uts", "uts", "kernel.domainname")])
    func parametersOfTheHostsNamespacesAreErrors(kind: String, file: String, name: String) async throws {
        let setting = "/proc/sys/" + name.replacingOccurrences(of: ".", with: "/")
        let before = try String(contentsOfFile: setting, encoding: .utf8)
        try await withBundle { bundle in
            bundle.withoutNamespace(kind)
            bundle.namespace(["type": .string(kind), "path": .string("/proc/\(getpid())/ns/\(file)")])
            // What it is already: nothing changes where it is taken.
            bundle.change(["linux": ["sysctl": [name: .string(before.trimmingCharacters(in: .whitespacesAndNewlines))]]])
            // runc looks at the network's alone.
            if bundle.runtime.isLunette || kind == "network" { try await bundle.refusal(mentioning: "linux.sysctl.\(name)") }
        }
    }

    @Test(.proves("config-linux.personality.domain"), arguments: [("LINUX", "0"), ("LINUX32", "0x8")])
    func thePersonalityIsTheConfigured(domain: String, number: String) async throws {
        try await withBundle { bundle in
            bundle.change(["linux": ["personality": ["domain": .string(domain)]]])
            let seen = try await bundle.run("personality")
            #expect(seen["personality"] == number)
            #if arch(x86_64)
                #expect(seen["machine"] == (domain == "LINUX32" ? "i686" : "x86_64"))
            #endif
        }
    }

    @Test(.proves("config-linux.personality.invalid"))
    func anotherPersonalityIsAnError() async {
        await expectRefused(["linux": ["personality": ["domain": "SOLARIS"]]], mentioning: "personality")
        await expectRefused(["linux": ["personality": ["domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]]]], mentioning: "personality")
        await expectRefused(["linux": ["personality": ["flags": []]]], mentioning: "personality")
    }

    /// Modes as linux/mempolicy.h numbers them; the machine has one node.
    @Test(
        .proves("config-linux.memoryPolicy.mode", "config-linux.memoryPolicy.nodes", "config-linux.memoryPolicy.flags"),
        arguments: [
            (["mode": "MPOL_DEFAULT"], "0 0"), (["mode": "MPOL_BIND", "nodes": "0"], "2 0x1"),
            (["mode": "MPOL_INTERLEAVE", "nodes": "0"], "3 0x1"),
            (["mode": "MPOL_PREFERRED", "nodes": "0"], "1 0x1"), (["mode": "MPOL_LOCAL"], "4 0"),
            (["mode": "MPOL_PREFERRED_MANY", "nodes": "0"], "5 0x1"), (["mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"], "6 0x1"),
            (["mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]], "32770 0x1"),
            (["mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]], "16387 0x1"),
        ] as [(Value, String)])
    func theMemoryPolicyIsTheConfigured(policy: Value, seen: String) async throws {
        try await withBundle { bundle in
            bundle.change(["linux": ["memoryPolicy": policy]])
            let answers = try await bundle.run("mempolicy")
            #expect(answers["mempolicy"] == seen)
        }
    }

    @Test(
        .proves("config-linux.memoryPolicy.invalid"),
        arguments: [
            ["mode": "MPOL_NONSENSE"], ["nodes": "0"], ["mode": "MPOL_BIND"], ["mode": "MPOL_DEFAULT", "nodes": "0"],
            ["mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONSENSE"]], ["mode": "MPOL_BIND", "nodes": "zero"],
            ["mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]],
        ] as [Value])
    func aMemoryPolicyThatIsNoneIsAnError(policy: Value) async {
        await expectRefused(["linux": ["memoryPolicy": policy]], mentioning: "memory")
    }

    @Test(
        .proves("config-linux.intelRdt.unmounted"), .enabled(if: access("/sys/fs/resctrl/schemata", F_OK) != 0, "this machine has resctrl"))
    func resourceDirectorsWithoutHardwareAreAnError() async {
        await expectRefused(["linux": ["intelRdt": ["closID": "group", "l3CacheSchema": "L3:0=7f0;1=1f"]]], mentioning: "intelRdt")
        await expectRefused(["linux": ["intelRdt": ["enableMonitoring": true]]], mentioning: "intelRdt")
    }
}
