import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// `--systemd-cgroup` against a real systemd: run by scripts/dev/test-in-vm, whose second boot has one as init.
@Suite(.runtimeUnderTest, .requires(.file("/run/systemd/private"), .cgroupV2, .command("systemctl")), .serialized)
struct RuntimeSystemdTests {
    /// A bundle whose container is to be `lunette-ID.scope` in a slice below a slice.
    private func withScope(_ body: (OCIBundle, _ unit: String, _ folder: String) async throws -> Void) async throws {
        try await withBundle(on: OCIRuntime.underTest.bySystemd) { bundle in
            let unit = "lunette-\(bundle.id).scope"
            bundle.change([
                "process": ["args": ["/probe", "pause"]], "linux": ["cgroupsPath": .string("lunette-test.slice:lunette:\(bundle.id)")],
            ])
            try await body(bundle, unit, "/sys/fs/cgroup/lunette.slice/lunette-test.slice/\(unit)")
        }
    }

    private func file(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self).trimmingCharacters(in: .newlines)
    }

    private func systemctl(_ arguments: String...) async throws -> String {
        try await Command(["systemctl"] + arguments).run(expecting: nil).text
    }

    private let limits: Value = [
        "memory": ["limit": 67_108_864], "pids": ["limit": 33], "cpu": ["shares": 512, "quota": 12345, "period": 100_000, "cpus": "0"],
        "unified": ["memory.high": "50331648"],
    ]
    private let files = [
        "memory.max": "67108864", "pids.max": "33", "cpu.max": "12345 100000", "cpu.weight": "20", "cpuset.cpus": "0",
        "memory.high": "50331648",
    ]

    @Test func theContainerAloneIsInItsScope() async throws {
        try await withScope { bundle, unit, folder in
            bundle.change(["annotations": ["org.systemd.property.TimeoutStopUSec": "uint64 5"]])
            try await bundle.create()
            let pid = "\(try await bundle.pid())"
            #expect(file("\(folder)/cgroup.procs") == pid, "neither the runtime, nor its shim, nor who held the place")
            #expect(file("/proc/\(pid)/cgroup") == "0::/lunette.slice/lunette-test.slice/\(unit)")
            #expect(try await systemctl("show", "-P", "ActiveState", unit) == "active")
            #expect(try await systemctl("show", "-P", "Delegate", unit) == "yes")
            try await bundle.start()
            let inside = try await bundle.call("exec", bundle.id, "/bin/cat", "/proc/self/cgroup").text
            #expect(inside == "0::/lunette.slice/lunette-test.slice/\(unit)")
            try await bundle.call("pause", bundle.id)
            #expect(try await bundle.state()["status"] == "paused")
            try await bundle.call("resume", bundle.id)
            try await bundle.call("kill", bundle.id, "KILL")
            try await bundle.becomes("stopped")
            try await bundle.call("delete", bundle.id)
            #expect(!FileManager.default.fileExists(atPath: folder))
            if bundle.runtime.isLunette {
                #expect(bundle.errors.contains("org.systemd.property.TimeoutStopUSec"), "what isn't done is said")
            }
            #expect(try await systemctl("show", "-P", "LoadState", unit) == "not-found", "no failed unit is left to be reset")
        }
    }

    @Test func limitsOutliveSystemdsReload() async throws {
        try await withScope { bundle, unit, folder in
            bundle.change(["linux": ["resources": limits]])
            try await bundle.create()
            try await bundle.start()
            for (name, text) in files { #expect(file("\(folder)/\(name)") == text, "\(name)") }
            _ = try await systemctl("daemon-reload")
            // Whatever systemd looks after now, it writes all that it believes.
            _ = try await systemctl("set-property", "--runtime", unit, "CPUWeight=21", "MemoryLow=1M")
            try await eventually("systemd has written") {
                file("\(folder)/cpu.weight") == "21" && file("\(folder)/memory.low") == "1048576"
            }
            for (name, text) in files where name != "cpu.weight" && name != "cpu.max" {
                #expect(file("\(folder)/\(name)") == text, "\(name)")
            }
            // It takes hundredths of a processor.
            #expect(file("\(folder)/cpu.max") == "13000 100000")
        }
    }

    @Test func anUpdateHasTheLastWordExactly() async throws {
        try await withScope { bundle, unit, folder in
            bundle.change(["linux": ["resources": limits]])
            try await bundle.create()
            try await bundle.call("update", "--pids-limit", "44", "--cpu-quota", "23456", "--cpu-period", "100000", bundle.id)
            #expect(file("\(folder)/pids.max") == "44")
            #expect(file("\(folder)/cpu.max") == "23456 100000")
            #expect(try await systemctl("show", "-P", "TasksMax", unit) == "44")
            try await bundle.call("update", "--memory-swap", "134217728", bundle.id)
            #expect(try await systemctl("show", "-P", "MemorySwapMax", unit) == "67108864", "what is beside the memory's limit")
            #expect(file("\(folder)/memory.max") == "67108864")
        }
    }

    @Test func itsEndTakesTheScopeAlong() async throws {
        try await withScope { bundle, unit, folder in
            bundle.change(["process": ["args": ["/bin/sh", "-c", "sleep 100 & exit 7"]]])
            try await bundle.run(expecting: 7)
            #expect(!FileManager.default.fileExists(atPath: folder))
            // A program that isn't there: nothing half made.
            bundle.change(["process": ["args": ["/no/such/program"]]])
            #expect(try await bundle.run(expecting: nil).code != 0)
            #expect(!FileManager.default.fileExists(atPath: folder))
            #expect(try await systemctl("show", "-P", "LoadState", unit) == "not-found")
        }
    }

    @Test func aScopeOfThatNameIsSomebodyElses() async throws {
        try await withScope { bundle, unit, folder in
            try await bundle.create()
            let refused = try await bundle.create(id: "\(bundle.id)2", expecting: nil)
            #expect(refused.code != 0)
            if bundle.runtime.isLunette { #expect(refused.errorText.contains("systemd") && refused.errorText.contains(unit)) }
            #expect(try await bundle.state()["status"] == "created", "the first one stays")
            #expect(file("\(folder)/cgroup.procs") == "\(try await bundle.pid())")
            #expect(try await bundle.call("state", "\(bundle.id)2", expecting: nil).code != 0)
        }
    }

    @Test(arguments: [nil, ":lunette:", "system.slice:lunette:", "-.slice:lunette:"])
    func placesAreSystemds(text: String?) async throws {
        try await withScope { bundle, unit, _ in
            bundle.change(["linux": ["cgroupsPath": text.map { .string("\($0)\(bundle.id)") } ?? .null]])
            try await bundle.create()
            let place = text?.hasPrefix("-") == true ? "/" : "/system.slice/"
            #expect(file("/proc/\(try await bundle.pid())/cgroup") == "0::\(place)\(unit)")
        }
    }

    /// `_` and names of controllers' files: systemd has another folder for them than the unit's name.
    @Test func theFolderIsTheOneThatSystemdNames() async throws {
        try await withScope { bundle, _, _ in
            bundle.change(["linux": ["cgroupsPath": .string("lunette-test.slice::_\(bundle.id)")]])
            try await bundle.create()
            let folder = "/sys/fs/cgroup/lunette.slice/lunette-test.slice/__\(bundle.id).scope"
            #expect(file("\(folder)/cgroup.procs") == "\(try await bundle.pid())")
            try await bundle.call("delete", "--force", bundle.id)
            #expect(!FileManager.default.fileExists(atPath: folder))
        }
    }

    @Test(arguments: ["nonsense", "/a/b", "a:b", "a:b:c", "x.slice:b:", "x.slice/y.slice:b:c"])
    func whatIsNoScopeIsRefused(path: String) async throws {
        try await withScope { bundle, _, _ in
            bundle.change(["linux": ["cgroupsPath": .string(path)]])
            try await bundle.refusal(mentioning: "cgroupsPath")
        }
    }

    /// A user's manager has the same socket, a cgroup that was delegated to it, and scopes below that. It ends with its one unit here.
    @Test func anOrdinaryUsersSystemdMakesItsScopes() async throws {
        try await withBundle { bundle in
            // nobody: systemd wants to find the user in /etc/passwd.
            let (uid, folder, unit) = (65534, bundle.folder, "lunette-user-\(bundle.id).service")
            let map: Value = [["containerID": 0, "hostID": .int(Int64(uid)), "size": 1]]
            bundle.namespace(["type": "user"])
            bundle.mount(["destination": "/mnt", "type": "bind", "source": "/sys/fs/cgroup", "options": ["rbind", "ro"]])
            bundle.change([
                "process": [
                    "args": ["/bin/sh", "-c", "read line </proc/self/cgroup; echo $line; cd /mnt/${line#0::/}; cat pids.max memory.max"]
                ],
                "linux": ["uidMappings": map, "gidMappings": map, "resources": ["pids": ["limit": 44], "memory": ["limit": 67_108_864]]],
            ])
            try bundle.write()
            // By the other driver, without limits: below the cgroup that the unit runs in, which is the user's.
            try bundle.makeFolder("second")
            bundle.change(["root": ["path": .string(bundle.rootfs)], "linux": ["resources": .null]])
            bundle.shell("cat /proc/self/cgroup")
            try bundle.write("second/config.json")
            let run = """
                #!/bin/sh
                \(bundle.runtime.path) --systemd-cgroup --root \(folder)/run/state run -b \(folder) \(bundle.id) >\(folder)/run/said 2>&1
                echo "code $?" >>\(folder)/run/said
                \(bundle.runtime.path) --root \(folder)/run/state run -b \(folder)/second second >>\(folder)/run/said 2>&1

                """
            let inner =
                "[Unit]\nDefaultDependencies=no\nSuccessAction=exit-force\nFailureAction=exit-force\n[Service]\nType=oneshot\nExecStart=/bin/sh \(folder)/script\n"
            let outer = """
                [Unit]
                DefaultDependencies=no
                [Service]
                Type=oneshot
                User=\(uid)
                Delegate=yes
                Environment=XDG_RUNTIME_DIR=\(folder)/run HOME=\(folder) XDG_CONFIG_HOME=\(folder) PATH=/usr/bin:/bin
                Environment=SYSTEMD_LOG_LEVEL=debug
                StandardOutput=append:\(folder)/log
                StandardError=append:\(folder)/log
                ExecStart=/lib/systemd/systemd --user --log-target=console --unit=lunette-once.service

                """
            try bundle.makeFile("script", run)
            try bundle.makeFolder("systemd/user")
            try bundle.makeFile("systemd/user/lunette-once.service", inner)
            try FileManager.default.createDirectory(atPath: "/run/systemd/system", withIntermediateDirectories: true)
            try Data(outer.utf8).write(to: URL(fileURLWithPath: "/run/systemd/system/\(unit)"))
            bundle.cleanUp.add("the user's manager") {
                _ = try await systemctl("stop", unit)
                try FileManager.default.removeItem(atPath: "/run/systemd/system/\(unit)")
                _ = try await systemctl("daemon-reload")
            }
            chown(try bundle.makeFolder("run"), uid_t(uid), gid_t(uid))
            _ = try await systemctl("daemon-reload")
            _ = try await systemctl("start", unit)
            // 2xx: what systemd itself couldn't do (systemd.exec(5), "Process Exit Codes").
            let status = try await systemctl("show", "-P", "ExecMainStatus", unit)
            let said = bundle.file("run/said").components(separatedBy: "\n")
            let group = "0::/system.slice/\(unit)"
            let place = "\(group)/user.slice/lunette-\(bundle.id).scope"
            let second = "\(group)/app.slice/lunette-once.service/lunette-oci-second"
            #expect(said == [place, "44", "67108864", "code 0", second, ""], "exit status \(status): \(bundle.file("log"))")
        }
    }

    @Test(
        .enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own fault points"),
        arguments: ["recorded", "cgroup", "spawned", "created", "saved"])
    func aKilledCreateLeavesNoScope(point: String) async throws {
        try await withScope { bundle, unit, folder in
            try bundle.write()
            let killed = try await bundle.runtime.command(
                root: bundle.root, ["create", "--bundle", bundle.folder, bundle.id], environment: ["LUNETTE_FAULT": "oci.create.\(point)"]
            ).run(expecting: nil)
            #expect(killed.signal == SIGKILL, "\(killed.errorText)")
            try await eventually("its processes are gone") { file("\(folder)/cgroup.procs").isEmpty }
            try await bundle.call("delete", "--force", bundle.id)
            #expect(!FileManager.default.fileExists(atPath: folder))
            #expect(try await systemctl("show", "-P", "LoadState", unit) == "not-found")
            try await bundle.create()
        }
    }
}

/// Where no systemd is to be had.
@Suite(.runtimeUnderTest, .enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own words"))
struct RuntimeWithoutSystemdTests {
    @Test func theSystemdDriverIsRefusedWithWhatToDo() async throws {
        // Hidden from a machine that has one.
        let apart = OCIRuntime(
            path: OCIRuntime.underTest.path,
            prefix: ["unshare", "--mount", "--propagation", "private", "sh", "-c", "mount -t tmpfs none /run && exec \"$@\"", "sh"])
        try await withBundle(on: apart.bySystemd) { bundle in
            let said = try await bundle.refusal(mentioning: "systemd")
            #expect(said.contains("hint:") && said.contains("without --systemd-cgroup"), "\(said)")
        }
    }
}
