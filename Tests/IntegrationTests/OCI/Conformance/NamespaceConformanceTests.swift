import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// A kind of namespace: its name in a configuration, and in /proc/PID/ns.
enum NamespaceKind: String, CaseIterable, Sendable {
    case pid, network, mount, ipc, uts, user, cgroup, time

    var file: String {
        switch self {
        case .network: "net"
        case .mount: "mnt"
        default: rawValue
        }
    }

    /// unshare(1)'s option.
    var option: String { "--\(self == .network ? "net" : rawValue)" }

    /// Which namespace of this kind a process is in.
    func of(_ pid: String) throws -> String { try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/ns/\(file)") }
}

/// config-linux.md: namespaces, mappings, time offsets; config.md: host and domain names.
@Suite(.runtimeUnderTest) struct NamespaceConformanceTests {
    @Test(
        .proves(
            "config-linux.namespaces.pid", "config-linux.namespaces.network", "config-linux.namespaces.mount",
            "config-linux.namespaces.ipc", "config-linux.namespaces.uts", "config-linux.namespaces.user",
            "config-linux.namespaces.cgroup", "config-linux.namespaces.time"), arguments: NamespaceKind.allCases)
    func aNewNamespaceIsMade(kind: NamespaceKind) async throws {
        try await withBundle { bundle in
            switch kind {
            case .user: bundle.inUserNamespace()
            case .cgroup, .time: bundle.namespace(["type": .string(kind.rawValue)])
            default: break
            }
            let seen = try await bundle.run("ns", "ids")
            #expect(try seen["ns.\(kind.file)"] != kind.of("self"))
            if kind == .pid { #expect(seen["pid"] == "1") }
        }
    }

    @Test(.proves("config-linux.namespaces.inherit"), arguments: [NamespaceKind.pid, .network, .ipc, .uts, .user, .cgroup, .time])
    func aNamespaceThatIsNotListedIsTheRuntimes(kind: NamespaceKind) async throws {
        try await withBundle { bundle in
            bundle.withoutNamespace(kind.rawValue)
            let seen = try await bundle.run("ns")
            let own = try kind.of("self")
            #expect(seen["ns.\(kind.file)"] == own)
        }
    }

    @Test(.proves("config-linux.namespaces.path"), arguments: [NamespaceKind.pid, .network, .ipc, .uts, .cgroup, .time, .user])
    func aNamespaceOfAPathIsJoined(kind: NamespaceKind) async throws {
        try await withBundle { bundle in
            let (path, name) = try await bundle.hold(kind)
            bundle.withoutNamespace(kind.rawValue)
            if kind == .user {
                // What was made outside of the user namespace isn't the container's to change: it joins the holder's user namespace only.
                bundle.change([
                    "linux": ["namespaces": [["type": "mount"], ["type": "pid"], ["type": "ipc"], ["type": "uts"], ["type": "network"]]]
                ])
            }
            bundle.namespace(["type": .string(kind.rawValue), "path": .string(path)])
            #expect(try await bundle.run("ns")["ns.\(kind.file)"] == name)
        }
    }

    @Test(.proves("config-linux.namespaces.path-type"), arguments: [NamespaceKind.network, .ipc, .uts, .pid, .cgroup, .time, .user])
    func aPathOfAnotherTypeIsAnError(kind: NamespaceKind) async throws {
        try await withBundle { bundle in
            let (path, _) = try await bundle.hold(kind == .uts ? .ipc : .uts)
            bundle.withoutNamespace(kind.rawValue)
            bundle.namespace(["type": .string(kind.rawValue), "path": .string(path)])
            try await bundle.refusal(mentioning: "namespace")
        }
    }

    /// The one kind that isn't joined or shared (docs/compat.md): said, with nothing half made.
    @Test(.enabled(if: OCIRuntime.underTest.isLunette, "is about what lunette-oci refuses"))
    func theMountNamespaceIsAlwaysANewOne() async throws {
        try await withBundle { bundle in
            bundle.withoutNamespace("mount")
            let said = try await bundle.refusal(mentioning: "linux.namespaces")
            #expect(said.contains("hint:"), "\(said)")
        }
        try await withBundle { bundle in
            let (path, _) = try await bundle.hold(.mount)
            bundle.withoutNamespace("mount")
            bundle.namespace(["type": "mount", "path": .string(path)])
            let said = try await bundle.refusal(mentioning: "linux.namespaces[4].path")
            #expect(said.contains("hint:"), "\(said)")
        }
    }

    @Test(.proves("config-linux.namespaces.path-absolute"))
    func anotherPathIsAnError() async throws {
        for path in ["proc/self/ns/uts", "/does/not/exist", "/etc/passwd"] {
            try await withBundle { bundle in
                bundle.withoutNamespace("uts")
                bundle.namespace(["type": "uts", "path": .string(path)])
                try await bundle.refusal(mentioning: "namespaces")
            }
        }
    }

    @Test(.proves("config-linux.namespaces.duplicate", "config-linux.namespaces.type-required", "config-linux.namespaces.type-unknown"))
    func theListOfNamespacesHasKnownTypesOnce() async throws {
        for entry: Value in [["type": "uts"], ["type": "nonsense"], ["path": "/proc/self/ns/uts"]] {
            try await withBundle { bundle in
                bundle.namespace(entry)
                try await bundle.refusal(mentioning: "namespaces")
            }
        }
    }

    @Test(.proves("config.hostname", "config.domainname"))
    func theNamesAreTheConfigured() async throws {
        try await withBundle { bundle in
            bundle.change(["hostname": "slartibartfast", "domainname": "foobarbaz.test"])
            let seen = try await bundle.run("uts")
            #expect(seen["hostname"] == "slartibartfast")
            #expect(seen["domainname"] == "foobarbaz.test")
            #expect(try await Command("uname", "-n").run().text != "slartibartfast")
        }
    }

    /// Go's callers write what they don't set.
    @Test func anEmptyNameSetsNothing() async throws {
        try await withBundle { bundle in
            bundle.change(["hostname": "", "domainname": ""])
            let seen = try await bundle.run("uts")
            #expect(try await seen["hostname"] == Command("uname", "-n").run().text)
            bundle.withoutNamespace("uts")
            _ = try await bundle.run("uts")
        }
    }

    @Test(.proves("config.values.invalid"))
    func aNameOfTheHostsIsNotChanged() async throws {
        try await withBundle { bundle in
            bundle.change(["hostname": "slartibartfast"])
            bundle.withoutNamespace("uts")
            try await bundle.refusal(mentioning: "hostname")
        }
    }

    @Test(.proves("config-linux.mappings.uid", "config-linux.mappings.gid", "config-linux.mappings.ownership"))
    func idsAreMappedAndFilesKeepTheirOwners() async throws {
        try await withBundle { bundle in
            bundle.inUserNamespace()
            let mark = try bundle.makeFile("rootfs/etc/mark")
            chown(mark, 100_005, 200_006)
            let seen = try await bundle.run(
                "read=/proc/self/uid_map", "read=/proc/self/gid_map", "ids", "stat=/etc/mark", "create=/tmp/new")
            #expect(seen.words("read./proc/self/uid_map") == ["0", "100000", "65536"])
            #expect(seen.words("read./proc/self/gid_map") == ["0", "200000", "65536"])
            #expect(seen["uid"] == "0 0 0")
            #expect(seen["stat./etc/mark"]?.hasPrefix("f 0644 5 6 ") == true)
            let owners = try await Command("stat", "-c", "%u:%g", mark, "\(bundle.rootfs)/tmp/new", "\(bundle.rootfs)/probe").run().lines
            #expect(owners == ["100005:200006", "100000:200000", "0:0"])
        }
    }

    @Test(.proves("config-linux.mappings.fields"), arguments: ["containerID", "hostID", "size"])
    func aMappingHasThreeFields(field: String) async throws {
        try await withBundle { bundle in
            bundle.inUserNamespace()
            let entry: Value = ["containerID": 0, "hostID": 100_000, "size": 65536]
            bundle.change(["linux": ["uidMappings": .array([entry.merged(with: .map([field: .null]))])]])
            let said = try await bundle.create(expecting: nil)
            // Go has no field that isn't there: a missing number is 0, which is a mapping like another one for the first two.
            if bundle.runtime.isLunette || field == "size" {
                #expect(said.code != 0 && (!bundle.runtime.isLunette || said.errorText.contains(field)))
            }
        }
    }

    @Test(.proves("config-linux.timeOffsets.secs", "config-linux.timeOffsets.nanosecs"))
    func clocksAreAheadByTheOffsets() async throws {
        try await clocksAreAhead { _ in }
        // There the file of the offsets is nobody's until ids are mapped.
        if OCIRuntime.underTest.isLunette {
            try await clocksAreAhead { bundle in
                bundle.namespace(["type": "user"])
                let map: Value = [["containerID": 0, "hostID": 300_000, "size": 65536]]
                bundle.change(["linux": ["uidMappings": map, "gidMappings": map]])
                chown(bundle.rootfs, 300_000, 300_000)
            }
        }
    }

    private func clocksAreAhead(_ prepare: @Sendable (OCIBundle) -> Void) async throws {
        try await withBundle { bundle in
            prepare(bundle)
            bundle.namespace(["type": "time"])
            bundle.change([
                "linux": ["timeOffsets": ["monotonic": ["secs": 172_800, "nanosecs": 5], "boottime": ["secs": 604_800, "nanosecs": 6]]]
            ])
            let outside = ProbeAnswers(try await Command(try await CProbe.container.path(), "clocks").run())
            let seen = try await bundle.run("read=/proc/self/timens_offsets", "clocks")
            let lines = (seen["read./proc/self/timens_offsets"] ?? "").components(separatedBy: "|").map {
                $0.split(separator: " ").map(String.init)
            }
            #expect(lines == [["monotonic", "172800", "5"], ["boottime", "604800", "6"]])
            // A day is a margin that no slow machine takes.
            let ahead = (Int64(seen["monotonic"] ?? "") ?? 0) - (Int64(outside["monotonic"] ?? "") ?? 0)
            #expect(ahead >= 172_800 && ahead < 172_800 + 86400)
        }
    }

    @Test(.proves("config-linux.timeOffsets.unknown"))
    func anUnknownClockIsAnError() async throws {
        try await withBundle { bundle in
            bundle.namespace(["type": "time"])
            bundle.change(["linux": ["timeOffsets": ["realtime": ["secs": 1]]]])
            try await bundle.refusal(mentioning: "timeOffsets")
        }
    }
}

extension OCIBundle {
    /// Keeps a new namespace alive for the test.
    /// - Returns: its path, and its name as /proc shows it.
    func hold(_ kind: NamespaceKind) async throws -> (path: String, name: String) {
        // unshare forks for these two: a process is never in its own new pid or time namespace.
        let forks = kind == .pid || kind == .time
        let holder = try Command(["unshare", kind.option] + (forks ? ["--fork", "--kill-child"] : []) + ["sleep", "1000"]).start()
        cleanUp.add("end the namespace's holder") {
            holder.signal(SIGKILL)
            _ = try await holder.wait()
        }
        let own = try kind.of("self")
        var pid = "\(holder.pid)"
        try await eventually("the holder has its namespace") {
            if forks {
                let children = try String(contentsOfFile: "/proc/\(holder.pid)/task/\(holder.pid)/children", encoding: .utf8)
                pid = children.trimmingCharacters(in: .whitespaces)
                if pid.isEmpty { return false }
            }
            let isThere = try kind.of(pid) != own
            // sleep, not unshare: it has forked, where it does.
            let name = try String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
            return isThere && name == "sleep\n"
        }
        if kind == .user {
            try Data("0 100000 65536".utf8).write(to: URL(fileURLWithPath: "/proc/\(pid)/uid_map"))
            try Data("0 100000 65536".utf8).write(to: URL(fileURLWithPath: "/proc/\(pid)/gid_map"))
        }
        return ("/proc/\(pid)/ns/\(kind.file)", try kind.of(pid))
    }
}
