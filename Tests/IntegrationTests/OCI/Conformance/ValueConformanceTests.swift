import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// config.md: versions, annotations, unknown properties, invalid values, other platforms.
@Suite(.runtimeUnderTest) struct ValueConformanceTests {
    @Test(
        .proves("config.version.required", "config.version.semver"), arguments: [nil, "", "one", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0"])
    func aVersionIsASemanticVersion(version: String?) async {
        await expectRefused(["ociVersion": version.map { .string($0) } ?? .null], mentioning: "ociVersion")
    }

    @Test(
        .proves("config.version.compatible"),
        arguments: ["1.0.0", "1.0.0-rc1", "1.0.1", "1.0.2-dev", "1.0.2", "1.1.0", "1.1.0+build", "1.2.0", "1.2.1", "1.3.0"])
    func versionsOfTheMajorAreTaken(version: String) async { await expectTaken(["ociVersion": .string(version)]) }

    @Test(.proves("config.version.other-major"), arguments: ["0.2.0", "2.0.0", "10.0.0"])
    func anotherMajorIsRefused(version: String) async { await expectRefused(["ociVersion": .string(version)], mentioning: "ociVersion") }

    @Test(.proves("config.annotations.map", "config.annotations.values", "config.annotations.empty-key"))
    func annotationsAreStringsUnderStrings() async {
        for value: Value in [["list"], "text", ["org.example.key": 1], ["org.example.key": ["nested": "value"]], ["": "value"]] {
            await expectRefused(["annotations": value], mentioning: "annotations")
        }
    }

    @Test(.proves("config.extensibility.unknown", "config.platforms"))
    func whatIsNotKnownIsIgnored() async throws {
        try await withBundle { bundle in
            bundle.change([
                "futureThing": ["deep": [1, 2, 3]], "process": ["futureThing": true, "user": ["futureThing": "x"]],
                "root": ["futureThing": 1],
                "linux": ["futureThing": ["a": "b"], "resources": ["futureThing": [:], "memory": ["futureThing": 1]]],
                "windows": ["layerFolders": ["C:\\Layers\\layer1"]], "solaris": ["milestone": "svc:/milestone/container:default"],
                "freebsd": ["jail": ["name": "x"]],
            ])
            bundle.mount(["destination": "/data", "type": "tmpfs", "source": "x", "options": [], "futureThing": true])
            let seen = try await bundle.run("print=ran")
            #expect(seen.lines == ["ran"])
        }
    }

    /// Values of the wrong kind or out of range, one a row, with the word that the message must have.
    static let invalid: [(Value, String)] = [
        (["process": ["args": "sh"]], "args"), (["process": ["args": ["sh", 1]]], "args"), (["process": ["env": "A=b"]], "env"),
        (["process": ["env": [1]]], "env"), (["process": ["cwd": 1]], "cwd"), (["process": ["user": ["uid": "root"]]], "uid"),
        (["process": ["user": ["uid": -1]]], "uid"), (["process": ["user": ["uid": 4_294_967_296]]], "uid"),
        (["process": ["user": ["gid": -5]]], "gid"), (["process": ["user": ["additionalGids": [-1]]]], "additionalGids"),
        (["process": ["terminal": "yes"]], "terminal"), (["process": ["noNewPrivileges": 1]], "noNewPrivileges"),
        (["process": ["oomScoreAdj": 5000]], "oomScoreAdj"), (["process": ["oomScoreAdj": "low"]], "oomScoreAdj"),
        (["process": ["capabilities": ["CAP_CHOWN"]]], "capabilities"),
        (["process": ["rlimits": [["type": "RLIMIT_CORE", "soft": -1, "hard": 1]]]], "rlimits"),
        (["process": "sh"], "process"), (["root": "rootfs"], "root"), (["root": ["readonly": "yes"]], "readonly"),
        (["hostname": 7], "hostname"),
        (["mounts": ["destination": "/x"]], "mounts"), (["mounts": [["destination": "/x", "options": "ro"]]], "mounts"),
        (["hooks": ["prestart": ["path": "/bin/true"]]], "prestart"),
        (["linux": ["namespaces": "pid"]], "namespaces"), (["linux": ["resources": ["memory": ["limit": "1G"]]]], "memory"),
        (["linux": ["resources": ["memory": ["limit": 1.5]]]], "memory"), (["linux": ["resources": ["pids": ["limit": "many"]]]], "pids"),
        (["linux": ["resources": ["cpu": ["shares": -3]]]], "shares"), (["linux": ["sysctl": ["net.ipv4.ip_forward": 1]]], "sysctl"),
        (["linux": ["devices": [["path": "/dev/x", "type": "c", "major": "ten", "minor": 1]]]], "devices"),
        (["linux": ["maskedPaths": "/proc/kcore"]], "maskedPaths"), (["linux": ["seccomp": "default"]], "seccomp"),
    ]

    @Test(.proves("config.values.invalid"), arguments: invalid)
    func aValueOfTheWrongKindIsAnError(change: Value, word: String) async { await expectRefused(change, mentioning: word) }

    @Test(
        .proves("config.values.invalid"),
        arguments: ["", "{", "[]", "null", "{\"ociVersion\": \"1.0.2\"} x", "{\"ociVersion\": \"1.0.2\",}"])
    func whatIsNoObjectIsAnError(text: String) async throws {
        try await withBundle { bundle in
            try bundle.write(text: text)
            #expect(try await bundle.call("create", "--bundle", bundle.folder, bundle.id, expecting: nil).code != 0)
            #expect(try await bundle.call("state", bundle.id, expecting: nil).code != 0)
        }
    }

    @Test(.proves("config.values.unsupported"))
    func aCgroupsPathOfSystemdWithoutSystemdIsAnError() async throws {
        try await withBundle { bundle in
            bundle.change(["linux": ["cgroupsPath": .string("lunette-conform.slice:test:\(bundle.id)")]])
            try bundle.write()
            let said = try await bundle.call("--systemd-cgroup", "create", "--bundle", bundle.folder, bundle.id, expecting: nil)
            if !FileManager.default.fileExists(atPath: "/run/systemd/system") { #expect(said.code != 0 && !said.errorText.isEmpty) }
        }
    }
}
