import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Synchronization
import Testing

/// config.md: root and mounts.
@Suite(.runtimeUnderTest) struct MountConformanceTests {
    @Test(.proves("config.root.required", "config.root.path-required", "config.root.directory"))
    func aRootIsADirectoryThatIsThere() async throws {
        await expectRefused(["root": nil], mentioning: "root")
        await expectRefused(["root": ["path": nil]], mentioning: "root")
        await expectRefused(["root": ["path": "absent"]], mentioning: "absent")
        try await withBundle { bundle in
            try bundle.makeFile("file")
            bundle.change(["root": ["path": "file"]])
            try await bundle.refusal(mentioning: "file")
        }
    }

    @Test(.proves("config.root.relative", "config.root.absolute", "bundle.rootfs", "config.root.writable"))
    func aRootIsRelativeToTheBundleOrAbsolute() async throws {
        try await withBundle { bundle in
            try bundle.makeFile("rootfs/etc/mark", "here")
            #expect(try await bundle.run("read=/etc/mark", "create=/etc/new")["read./etc/mark"] == "here")
            #expect(FileManager.default.fileExists(atPath: "\(bundle.rootfs)/etc/new"))
            bundle.change(["root": ["path": .string(bundle.rootfs)]])
            #expect(try await bundle.run("read=/etc/mark")["read./etc/mark"] == "here")
            try FileManager.default.createDirectory(atPath: "\(bundle.folder)/deep", withIntermediateDirectories: true)
            try FileManager.default.moveItem(atPath: bundle.rootfs, toPath: "\(bundle.folder)/deep/other")
            bundle.change(["root": ["path": "deep/other"]])
            #expect(try await bundle.run("read=/etc/mark")["read./etc/mark"] == "here")
        }
    }

    @Test(.proves("config.root.readonly"))
    func aReadOnlyRootIsReadOnly() async throws {
        try await withBundle { bundle in
            bundle.change(["root": ["readonly": true]])
            bundle.mount(["destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": []])
            let seen = try await bundle.run("create=/new", "create=/etc/new", "create=/data/new", "mounts")
            #expect(seen["create./new"] == "!EROFS")
            #expect(seen["create./etc/new"] == "!EROFS")
            #expect(seen["create./data/new"] == "ok")
            #expect(seen.mount("/")?.options.contains("ro") == true)
        }
    }

    @Test(.proves("config.mounts.order", "config.mounts.source-file", "config.mounts.source-relative", "config.mounts.bind-by-option"))
    func mountsAreMadeInTheirOrder() async throws {
        try await withBundle { bundle in
            try bundle.makeFile("single", "a file of the bundle")
            bundle.mount(
                ["destination": "/data", "type": "tmpfs", "source": "first", "options": []],
                // The type is not looked at when the options say bind; the destination is made in the tmpfs.
                ["destination": "/data/inner/file", "type": "tmpfs", "source": "single", "options": ["bind"]],
                ["destination": "/mnt", "type": "tmpfs", "source": "below", "options": []],
                ["destination": "/mnt", "type": "tmpfs", "source": "above", "options": []])
            let seen = try await bundle.run("mounts", "read=/data/inner/file")
            #expect(seen["read./data/inner/file"] == "a file of the bundle")
            #expect(seen.mount("/mnt")?.source == "above")
            #expect(seen.mount("/data")?.source == "first")
            #expect(seen.mount("/data/inner/file") != nil)
        }
    }

    @Test(.proves("config.mounts.bind-by-option"), arguments: ["bind", "rbind"])
    func aMountWithoutATypeIsABindMountByItsOptions(option: String) async throws {
        try await withBundle { bundle in
            try bundle.makeFolder("source")
            try bundle.makeFile("source/file", "bound")
            bundle.mount(["destination": "/new/place", "source": "source", "options": [.string(option)]])
            #expect(try await bundle.run("read=/new/place/file")["read./new/place/file"] == "bound")
        }
    }

    @Test(.proves("config.mounts.destination-relative"))
    func aRelativeDestinationIsBelowTheRoot() async throws {
        try await withBundle { bundle in
            bundle.mount(["destination": "data/inner", "type": "tmpfs", "source": "relative", "options": []])
            let seen = try await bundle.run("mounts")
            #expect(seen.mount("/data/inner")?.source == "relative")
        }
    }

    @Test(.proves("config.mounts.destination-required"))
    func aDestinationIsRequired() async {
        await expectRefused(["mounts": [["type": "tmpfs", "source": "tmpfs"]]], mentioning: "destination")
    }

    @Test(.proves("config.mounts.type"))
    func fileSystemsOfTheKernelAreMounted() async throws {
        try await withBundle { bundle in
            try ["lower", "upper", "work"].forEach { _ = try bundle.makeFolder($0) }
            try bundle.makeFile("lower/file", "from below")
            bundle.mount(
                ["destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]],
                ["destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]],
                ["destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]],
                ["destination": "/mnt/ram", "type": "ramfs", "source": "ram", "options": []],
                [
                    "destination": "/mnt/over", "type": "overlay", "source": "overlay",
                    "options": [
                        .string("lowerdir=\(bundle.folder)/lower"), .string("upperdir=\(bundle.folder)/upper"),
                        .string("workdir=\(bundle.folder)/work"),
                    ],
                ])
            let seen = try await bundle.run("mounts", "read=/mnt/over/file", "list=/sys/fs/cgroup", "put=/mnt/over/new:x")
            for (path, type) in [
                "/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/dev/mqueue": "mqueue", "/sys": "sysfs", "/mnt/ram": "ramfs",
                "/mnt/over": "overlay",
            ] {
                #expect(seen.mount(path)?.type == type, "\(path)")
            }
            #expect(seen["read./mnt/over/file"] == "from below")
            #expect(bundle.file("upper/new") == "x")
            #expect(seen.words("list./sys/fs/cgroup").contains(Requirement.cgroupV2.isMet ? "cgroup.controllers" : "memory"))
        }
    }

    @Test(.proves("config.mounts.type-unknown"))
    func aTypeThatTheKernelDoesNotKnowIsAnError() async throws {
        try await withBundle { bundle in
            bundle.mount(["destination": "/data", "type": "nosuchfs", "source": "x", "options": []])
            try await bundle.refusal(mentioning: "/data")
        }
    }

    @Test(.proves("config.mounts.data", "config.mounts.data-refused"))
    func otherOptionsGoToTheFileSystem() async throws {
        try await withBundle { bundle in
            bundle.mount(["destination": "/data", "type": "tmpfs", "source": "x", "options": ["size=64k", "mode=0711", "nosuid"]])
            let seen = try await bundle.run("mounts", "stat=/data")
            #expect(seen.mount("/data")?.superOptions.contains("size=64k") == true)
            #expect(seen.mount("/data")?.options.contains("nosuid") == true)
            #expect(seen["stat./data"]?.hasPrefix("d 0711 ") == true)
        }
        try await withBundle { bundle in
            bundle.mount(["destination": "/data", "type": "tmpfs", "source": "x", "options": ["size=nonsense"]])
            try await bundle.refusal(mentioning: "mount")
        }
    }

    @Test(.proves("config.mount-options.tmpcopyup"))
    func tmpcopyupCopiesWhatWasThere() async throws {
        try await withBundle { bundle in
            try bundle.makeFolder("rootfs/etc/below")
            try bundle.makeFile("rootfs/etc/below/file", "copied")
            bundle.mount(["destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "mode=755"]])
            let seen = try await bundle.run("mounts", "read=/etc/below/file", "put=/etc/below/file:changed")
            #expect(seen.mount("/etc")?.type == "tmpfs")
            #expect(seen["read./etc/below/file"] == "copied")
            #expect(bundle.file("rootfs/etc/below/file") == "copied")
        }
    }

    @Test func aReadOnlyTmpfsIsFilledAllTheSame() async throws {
        try await withBundle { bundle in
            try bundle.makeFile("rootfs/data/file", "copied")
            bundle.mount(["destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]])
            let seen = try await bundle.run("read=/data/file", "create=/data/new")
            #expect(seen["read./data/file"] == "copied" && seen["create./data/new"] == "!EROFS")
        }
    }

    /// CVE-2019-16884, CVE-2019-19921: what programs believe of the kernel, and where a launch writes, is the kernel's.
    @Test(arguments: ["/proc", "/proc/sys", "/proc/1", "/proc/self/attr", "proc/acpi", "/link", "/link/sys", "/sub/../proc/kcore"])
    func nothingOfTheHostLiesOnProc(place: String) async throws {
        try await withBundle { bundle in
            let source = try bundle.makeFolder("source")
            try FileManager.default.createSymbolicLink(atPath: "\(bundle.rootfs)/link", withDestinationPath: "proc")
            bundle.mount(["destination": .string(place), "type": "bind", "source": .string(source), "options": ["bind"]])
            try await bundle.refusal(mentioning: "mounts[4].destination")
        }
    }

    /// An empty file system there would say just as little of the kernel's.
    @Test(arguments: ["/proc", "/proc/sys", "proc/acpi", "/link", "/link/sys"])
    func nothingButProcLiesOnProc(place: String) async throws {
        try await withBundle { bundle in
            try FileManager.default.createSymbolicLink(atPath: "\(bundle.rootfs)/link", withDestinationPath: "proc")
            bundle.mount(["destination": .string(place), "type": "tmpfs", "source": "tmpfs", "options": ["rw"]])
            try await bundle.refusal(mentioning: "mounts[4].destination")
        }
    }

    @Test func whatIsEmulatedLiesInProc() async throws {
        try await withBundle { bundle in
            let source = try bundle.makeFile("meminfo", "emulated")
            bundle.mount(
                ["destination": "/proc/meminfo", "type": "bind", "source": .string(source), "options": ["bind"]],
                ["destination": "/data", "type": "bind", "source": .string(bundle.rootfs), "options": ["bind"]])
            #expect(try await bundle.run("read=/proc/meminfo")["read./proc/meminfo"] == "emulated")
        }
        try await withBundle { bundle in
            bundle.withoutNamespace("pid")
            var mounts = bundle.config["mounts"]?.arrayValue ?? []
            mounts[0] = ["destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]]
            bundle.change(["mounts": .array(mounts)])
            let seen = try await bundle.run("mounts")
            #expect(seen.mount("/proc")?.type == "proc")
        }
    }

    /// Whoever else writes to the root puts pipes in the place of files between the look at a name and its opening: nothing waits for a pipe's end.
    @Test(.enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own defences"))
    func tmpcopyupWaitsForNoPipe() async throws {
        try await withBundle { bundle in
            let folder = try bundle.makeFolder("raced")
            let kinds = [try bundle.makeFile("file", "copied"), "\(bundle.folder)/pipe"]
            try #require(mkfifo(kinds[1], 0o600) == 0)
            let new = "\(bundle.folder)/new"
            // Many turns in one launch.
            for place in (0..<60).map({ Value.string("/t/\($0)") }) {
                bundle.mount(
                    ["destination": place, "type": "bind", "source": .string(folder), "options": ["bind"]],
                    ["destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]])
            }
            let isOver = Mutex(false)
            let racer = Thread {
                var round = 0
                while !isOver.withLock({ $0 }) {
                    round += 1
                    for index in 0..<4 where link(kinds[round % 2], new) == 0 { rename(new, "\(folder)/\(index)") }
                }
            }
            racer.start()
            defer { isOver.withLock { $0 = true } }
            bundle.asks("ids")
            try bundle.write()
            let line = "\(bundle.runtime.path) --root \(bundle.root) run --bundle \(bundle.folder) \(bundle.id)"
            for _ in 0..<30 { try await Command.shell("timeout -s KILL 20 \(line)").run() }
            // What it makes while the bundle is removed would be left behind.
            isOver.withLock { $0 = true }
            try await eventually("the racer has ended") { racer.isFinished }
        }
    }

    /// As on runc: Docker's and Podman's `--tmpfs /run` is closed to others because the image's /run is.
    @Test(arguments: [[], ["mode=1700"], ["tmpcopyup"], ["ro"], ["ro", "tmpcopyup"]] as [[String]], ["/closed", "/made/for/it"])
    func aTmpfsLooksLikeTheFolderThatItCovers(options: [String], place: String) async throws {
        try await withBundle { bundle in
            // Debian's runc 1.1 goes by the folder even where an option says otherwise, which later ones don't.
            guard bundle.runtime.isLunette || options != ["mode=1700"] else { return }
            try bundle.makeFolder("rootfs/closed")
            chmod("\(bundle.rootfs)/closed", 0o750)
            bundle.mount(
                ["destination": .string(place), "type": "tmpfs", "source": "tmpfs", "options": .array(options.map(Value.string))])
            let seen = try await bundle.run("stat=\(place)")
            let mode = options == ["mode=1700"] ? "1700" : place == "/closed" ? "0750" : "1777"
            #expect(seen["stat.\(place)"]?.hasPrefix("d \(mode) 0 0 ") == true, "\(seen)")
        }
    }

    @Test(
        .proves(
            "config.mounts.idmap-mappings", "config.mounts.ridmap-mappings", "config.mount-options.idmap", "config.mount-options.ridmap"),
        arguments: ["idmap", "ridmap"])
    func aMountsOwnMappingsAreUsed(option: String) async throws {
        try await withBundle { bundle in
            let source = try await bundle.makeMountedFolder("source")
            chown("\(source)/file", 5, 6)
            chown("\(source)/below/file", 5, 6)
            bundle.mount([
                "destination": "/data", "type": "none", "source": .string(source), "options": ["rbind", .string(option)],
                "uidMappings": [["containerID": 0, "hostID": 1000, "size": 100]],
                "gidMappings": [["containerID": 0, "hostID": 2000, "size": 100]],
            ])
            let seen = try await bundle.run("stat=/data/file", "stat=/data/below/file")
            #expect(seen["stat./data/file"]?.hasPrefix("f 0644 1005 2006 ") == true, "\(seen)")
            let below = option == "ridmap" ? "f 0644 1005 2006 " : "f 0644 5 6 "
            #expect(seen["stat./data/below/file"]?.hasPrefix(below) == true, "\(seen)")
        }
    }

    @Test(.proves("config.mounts.idmap-container"))
    func withoutMappingsAMountTakesTheContainers() async throws {
        try await withBundle { bundle in
            try bundle.makeFolder("source")
            chown(try bundle.makeFile("source/file"), 5, 6)
            bundle.inUserNamespace()
            bundle.mount(["destination": "/data", "type": "none", "source": "source", "options": ["bind", "idmap"]])
            let seen = try await bundle.run("stat=/data/file")
            #expect(seen["stat./data/file"]?.hasPrefix("f 0644 5 6 ") == true, "\(seen)")
        }
    }

    @Test(.proves("config.mounts.idmap-without", "config.mounts.ridmap-without"), arguments: ["idmap", "ridmap"])
    func withoutAnyMappingsItIsAnError(option: String) async throws {
        try await withBundle { bundle in
            try bundle.makeFolder("source")
            bundle.mount(["destination": "/data", "type": "none", "source": "source", "options": ["bind", .string(option)]])
            try await bundle.refusal(mentioning: "Mappings")
        }
    }

    @Test(.proves("config.mounts.uid-with-gid", "config.mounts.gid-with-uid"), arguments: ["uidMappings", "gidMappings"])
    func mappingsComeInPairs(kind: String) async throws {
        try await withBundle { bundle in
            try bundle.makeFolder("source")
            let mount: Value = ["destination": "/data", "type": "none", "source": "source", "options": ["bind", "idmap"]]
            bundle.mount(mount.merged(with: .map([kind: [["containerID": 0, "hostID": 1000, "size": 100]]])))
            try await bundle.refusal(mentioning: "id")
        }
    }

    @Test(.proves("runtime-linux.dev-fd", "runtime-linux.dev-stdin", "runtime-linux.dev-stdout", "runtime-linux.dev-stderr"))
    func devHasItsLinks() async throws {
        try await withBundle { bundle in
            let seen = try await bundle.run("readlink=/dev/fd", "readlink=/dev/stdin", "readlink=/dev/stdout", "readlink=/dev/stderr")
            #expect(seen["readlink./dev/fd"] == "/proc/self/fd")
            for (index, name) in ["stdin", "stdout", "stderr"].enumerated() {
                #expect(seen["readlink./dev/\(name)"] == "/proc/self/fd/\(index)")
            }
        }
    }
}

extension OCIBundle {
    /// Gives the container a user namespace: ids from 100000 and 200000.
    func inUserNamespace() {
        namespace(["type": "user"])
        change([
            "linux": [
                "uidMappings": [["containerID": 0, "hostID": 100_000, "size": 65536]],
                "gidMappings": [["containerID": 0, "hostID": 200_000, "size": 65536]],
            ]
        ])
    }
}
