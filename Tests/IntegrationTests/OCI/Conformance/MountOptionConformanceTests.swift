import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// config.md: Linux mount options, each seen in the container's mountinfo.
@Suite(.runtimeUnderTest) struct MountOptionConformanceTests {
    /// Options given to a tmpfs, and what its line in mountinfo must and must not have; an option that undoes another one comes behind it.
    struct Case: Sendable, CustomTestStringConvertible {
        let given: [String]
        var has: Set<String> = []
        var lacks: Set<String> = []
        var testDescription: String { given.joined(separator: ",") }
    }

    static let plain: [Case] = [
        Case(given: ["ro"], has: ["ro"], lacks: ["rw"]), Case(given: ["ro", "rw"], has: ["rw"], lacks: ["ro"]),
        Case(given: ["nosuid"], has: ["nosuid"]), Case(given: ["nosuid", "suid"], lacks: ["nosuid"]),
        Case(given: ["nodev"], has: ["nodev"]), Case(given: ["nodev", "dev"], lacks: ["nodev"]),
        Case(given: ["noexec"], has: ["noexec"]), Case(given: ["noexec", "exec"], lacks: ["noexec"]),
        Case(given: ["nosymfollow"], has: ["nosymfollow"]), Case(given: ["nosymfollow", "symfollow"], lacks: ["nosymfollow"]),
        Case(given: ["noatime"], has: ["noatime"]), Case(given: ["noatime", "atime"], lacks: ["noatime"]),
        Case(given: ["nodiratime"], has: ["nodiratime"]), Case(given: ["nodiratime", "diratime"], lacks: ["nodiratime"]),
        Case(given: ["relatime"], has: ["relatime"]), Case(given: ["norelatime"], lacks: ["noatime"]),
        Case(given: ["strictatime"], lacks: ["noatime", "relatime"]), Case(given: ["strictatime", "nostrictatime"], has: ["relatime"]),
        Case(given: ["sync"], has: ["sync"]), Case(given: ["sync", "async"], lacks: ["sync"]),
        Case(given: ["dirsync"], has: ["dirsync"]),
        Case(given: ["lazytime"], has: ["lazytime"]), Case(given: ["lazytime", "nolazytime"], lacks: ["lazytime"]),
        // Nothing of these is seen: that they aren't passed to the file system, which would refuse them, is.
        Case(given: ["defaults"]), Case(given: ["silent"]), Case(given: ["loud"]), Case(given: ["iversion"]), Case(given: ["noiversion"]),
        Case(given: ["mand"]), Case(given: ["nomand"]),
        Case(
            given: ["nosuid", "noexec", "nodev", "ro", "noatime", "sync", "size=64k"],
            has: ["nosuid", "noexec", "nodev", "ro", "noatime", "sync", "size=64k"]),
    ]

    @Test(
        .proves(
            "config.mount-options.ro", "config.mount-options.rw", "config.mount-options.nosuid", "config.mount-options.suid",
            "config.mount-options.nodev", "config.mount-options.dev", "config.mount-options.noexec", "config.mount-options.exec",
            "config.mount-options.nosymfollow", "config.mount-options.symfollow", "config.mount-options.noatime",
            "config.mount-options.atime", "config.mount-options.nodiratime", "config.mount-options.diratime",
            "config.mount-options.relatime", "config.mount-options.norelatime", "config.mount-options.strictatime",
            "config.mount-options.nostrictatime", "config.mount-options.sync", "config.mount-options.async", "config.mount-options.dirsync",
            "config.mount-options.lazytime", "config.mount-options.nolazytime", "config.mount-options.defaults",
            "config.mount-options.silent", "config.mount-options.loud", "config.mount-options.iversion", "config.mount-options.noiversion",
            "config.mount-options.mand", "config.mount-options.nomand"), arguments: plain)
    func anOptionIsSeenInTheMount(option: Case) async throws {
        try await withBundle { bundle in
            bundle.mount(["destination": "/data", "type": "tmpfs", "source": "x", "options": .array(option.given.map { .string($0) })])
            let mount = try #require(try await bundle.run("mounts").mount("/data"))
            // What holds for the mount comes first: a read-only mount of a writable file system is read-only.
            let seen =
                option.has.isDisjoint(with: ["ro", "rw"])
                ? mount.options.union(mount.superOptions) : mount.options.union(mount.superOptions.subtracting(["ro", "rw"]))
            #expect(option.has.isSubset(of: seen), "\(seen)")
            #expect(option.lacks.isDisjoint(with: seen), "\(seen)")
        }
    }

    @Test(
        .proves(
            "config.mount-options.ro", "config.mount-options.nosuid", "config.mount-options.nodev", "config.mount-options.noexec",
            "config.mount-options.noatime"), arguments: ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"])
    func anOptionIsAppliedToABindMount(option: String) async throws {
        try await withBundle { bundle in
            let source = try await bundle.makeMountedFolder("source")
            bundle.mount(["destination": "/data", "type": "none", "source": .string(source), "options": ["rbind", .string(option)]])
            let seen = try await bundle.run("mounts")
            #expect(seen.mount("/data")?.options.contains(option) == true)
            #expect(seen.mount("/data/below")?.options.contains(option) == false)
        }
    }

    @Test(.proves("config.mount-options.bind", "config.mount-options.rbind"))
    func bindTakesOneMountAndRbindAll() async throws {
        try await withBundle { bundle in
            let source = try await bundle.makeMountedFolder("source")
            bundle.mount(
                ["destination": "/data", "type": "none", "source": .string(source), "options": ["bind"]],
                ["destination": "/mnt", "type": "none", "source": .string(source), "options": ["rbind"]])
            let seen = try await bundle.run("read=/data/file", "read=/data/below/file", "read=/mnt/below/file")
            #expect(seen["read./data/file"] == "upper")
            #expect(seen["read./data/below/file"] == "!ENOENT")
            #expect(seen["read./mnt/below/file"] == "lower")
        }
    }

    @Test(.proves("config.mount-options.remount"))
    func remountChangesWhatIsMounted() async throws {
        try await withBundle { bundle in
            bundle.mount(
                ["destination": "/data", "type": "tmpfs", "source": "x", "options": ["nosuid"]],
                ["destination": "/data", "type": "tmpfs", "source": "x", "options": ["remount", "ro", "nosuid", "noexec"]])
            let seen = try await bundle.run("mounts", "create=/data/new")
            #expect(seen.all("mount").filter { $0.hasPrefix("/data ") }.count == 1)
            #expect(seen.mount("/data")?.options.isSuperset(of: ["nosuid", "noexec"]) == true)
            #expect(seen["create./data/new"] == "!EROFS")
        }
    }

    /// Given, and whether mountinfo then names a peer group, a master, or that it can't be bound; the source is shared on the host.
    static let propagation: [Case] = [
        Case(given: ["private"], lacks: ["shared", "master", "unbindable"]),
        Case(given: ["slave"], has: ["master"], lacks: ["shared"]), Case(given: ["shared"], has: ["shared"]),
        Case(given: ["unbindable"], has: ["unbindable"], lacks: ["shared", "master"]),
    ]

    @Test(arguments: ["shared", "rshared", "slave", "rslave"])
    func aPrivateSourceBecomesWhatTheOptionSays(option: String) async throws {
        try await withBundle { bundle in
            let source = try await bundle.makeMountedFolder("source", propagation: "private")
            bundle.mount(["destination": "/mnt", "type": "bind", "source": .string(source), "options": ["rbind", .string(option)]])
            let propagation = try #require(try await bundle.run("mounts").mount("/mnt")).propagation
            #expect(propagation.contains("shared") == option.hasSuffix("shared"), "\(propagation)")
        }
    }

    @Test(
        .proves(
            "config.mount-options.private", "config.mount-options.slave", "config.mount-options.shared", "config.mount-options.unbindable",
            "config.mount-options.rprivate", "config.mount-options.rslave", "config.mount-options.rshared",
            "config.mount-options.runbindable"), arguments: propagation, ["", "r"])
    func propagationIsThatOfTheOption(option: Case, prefix: String) async throws {
        try await withBundle { bundle in
            let source = try await bundle.makeMountedFolder("source", propagation: "shared")
            bundle.mount([
                "destination": "/data", "type": "none", "source": .string(source), "options": ["rbind", .string(prefix + option.given[0])],
            ])
            let seen = try await bundle.run("mounts")
            let paths = prefix == "r" ? ["/data", "/data/below"] : ["/data"]
            for path in paths {
                let propagation = try #require(seen.mount(path)).propagation
                #expect(option.has.isSubset(of: propagation), "\(path)")
                #expect(option.lacks.isDisjoint(with: propagation), "\(path)")
            }
        }
    }

    /// What the source has on the host, what is given, and what both mounts then have.
    struct Recursive: Sendable, CustomTestStringConvertible {
        let on: String
        let given: String
        var has: String?
        var lacks: String?
        var testDescription: String { given }
    }

    static let recursive: [Recursive] = [
        Recursive(on: "rw", given: "rro", has: "ro"), Recursive(on: "ro", given: "rrw", has: "rw", lacks: "ro"),
        Recursive(on: "suid", given: "rnosuid", has: "nosuid"), Recursive(on: "nosuid", given: "rsuid", lacks: "nosuid"),
        Recursive(on: "nodev", given: "rdev", lacks: "nodev"), Recursive(on: "dev", given: "rnodev", has: "nodev"),
        Recursive(on: "exec", given: "rnoexec", has: "noexec"), Recursive(on: "noexec", given: "rexec", lacks: "noexec"),
        Recursive(on: "relatime", given: "rnoatime", has: "noatime"), Recursive(on: "noatime", given: "ratime", lacks: "noatime"),
        Recursive(on: "diratime", given: "rnodiratime", has: "nodiratime"),
        Recursive(on: "nodiratime", given: "rdiratime", lacks: "nodiratime"),
        Recursive(on: "noatime", given: "rrelatime", has: "relatime", lacks: "noatime"),
        Recursive(on: "relatime", given: "rnorelatime", lacks: "noatime"),
        Recursive(on: "noatime", given: "rstrictatime", lacks: "noatime"),
        Recursive(on: "strictatime", given: "rnostrictatime", has: "relatime"),
        Recursive(on: "symfollow", given: "rnosymfollow", has: "nosymfollow"),
        Recursive(on: "nosymfollow", given: "rsymfollow", lacks: "nosymfollow"),
    ]

    @Test(
        .proves(
            "config.mount-options.rro", "config.mount-options.rrw", "config.mount-options.rnosuid", "config.mount-options.rsuid",
            "config.mount-options.rdev", "config.mount-options.rnoexec", "config.mount-options.rexec", "config.mount-options.rnoatime",
            "config.mount-options.ratime", "config.mount-options.rnodiratime", "config.mount-options.rdiratime",
            "config.mount-options.rrelatime", "config.mount-options.rnorelatime", "config.mount-options.rstrictatime",
            "config.mount-options.rnostrictatime", "config.mount-options.rnosymfollow", "config.mount-options.rsymfollow"),
        arguments: recursive)
    func aRecursiveOptionReachesWhatIsMountedBelow(option: Recursive) async throws {
        try await withBundle { bundle in
            let source = try await bundle.makeMountedFolder("source", options: option.on)
            bundle.mount(["destination": "/data", "type": "none", "source": .string(source), "options": ["rbind", .string(option.given)]])
            let seen = try await bundle.run("mounts")
            for path in ["/data", "/data/below"] {
                let options = try #require(seen.mount(path)).options
                if let has = option.has { #expect(options.contains(has), "\(path): \(options)") }
                if let lacks = option.lacks { #expect(!options.contains(lacks), "\(path): \(options)") }
            }
        }
    }
}
