import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// config.md: user, capabilities, no_new_privs.
@Suite(.runtimeUnderTest) struct CredentialConformanceTests {
    @Test(.proves("config.user.uid", "config.user.gid", "config.user.additionalGids"))
    func theIDsAreTheConfigured() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["user": ["uid": 1234, "gid": 2345, "additionalGids": [7, 100_000, 9]]]])
            let seen = try await bundle.run("ids")
            #expect(seen["uid"] == "1234 1234 1234")
            #expect(seen["gid"] == "2345 2345 2345")
            #expect(Set(seen.words("groups")).subtracting(["2345"]) == ["7", "9", "100000"])
            bundle.change(["process": ["user": ["additionalGids": nil]]])
            #expect(Set(try await bundle.run("ids").words("groups")).subtracting(["2345"]).isEmpty)
        }
    }

    @Test(.proves("config.user.umask"), arguments: [Int64(0o22), 0o77, 0])
    func theUmaskIsTheConfigured(umask: Int64) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["user": ["umask": .int(umask)]]])
            let octal = String(umask, radix: 8)
            let seen = try await bundle.run("umask")
            #expect(seen["umask"] == String(repeating: "0", count: 4 - octal.count) + octal)
        }
    }

    @Test(.proves("config.user.umask-unset"))
    func withoutAUmaskItIsTheCallers() async throws {
        try await withBundle { bundle in
            bundle.asks("umask")
            try bundle.write()
            let finished = try await Command.shell(
                "umask 0037; exec \(bundle.runtime.path) --root \(bundle.root) run --bundle \(bundle.folder) \(bundle.id)"
            ).run()
            // SHOULD; runc, crun and ours take 0022, on which engines rely.
            withKnownIssue(isIntermittent: true) { #expect(ProbeAnswers(finished)["umask"] == "0037") }
        }
    }

    static let few: Value = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]

    @Test(
        .proves(
            "config.capabilities.effective", "config.capabilities.bounding", "config.capabilities.inheritable",
            "config.capabilities.permitted", "config.capabilities.ambient"))
    func theFiveSetsAreTheConfigured() async throws {
        try await withBundle { bundle in
            bundle.change([
                "process": [
                    "user": ["uid": 1000, "gid": 1000],
                    "capabilities": [
                        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_SETPCAP"],
                        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "inheritable": ["CAP_CHOWN", "CAP_NET_RAW"],
                        "effective": ["CAP_CHOWN"], "ambient": ["CAP_NET_RAW"],
                    ],
                ]
            ])
            let seen = try await bundle.run("status")
            #expect(Set(seen.words("caps.bounding")) == ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_SETPCAP"])
            #expect(Set(seen.words("caps.inheritable")) == ["CAP_CHOWN", "CAP_NET_RAW"])
            #expect(seen.words("caps.ambient") == ["CAP_NET_RAW"])
            // execve of another user's plain program leaves the ambient ones: capabilities(7), "Transformation of capabilities during execve".
            #expect(seen.words("caps.permitted") == ["CAP_NET_RAW"])
            #expect(seen.words("caps.effective") == ["CAP_NET_RAW"])
        }
    }

    @Test(.proves("config.capabilities.effective", "config.capabilities.permitted", "config.capabilities.bounding"))
    func rootHasTheConfiguredCapabilities() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["capabilities": ["bounding": Self.few, "permitted": Self.few, "effective": Self.few]]])
            let seen = try await bundle.run("status", "chown=/tmp")
            for set in ["bounding", "permitted", "effective"] {
                #expect(Set(seen.words("caps.\(set)")) == ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "\(set)")
            }
            #expect(seen.words("caps.inheritable").isEmpty && seen.words("caps.ambient").isEmpty)
            #expect(seen["chown./tmp"] == "ok")
        }
    }

    @Test(.proves("config.capabilities.none"))
    func withoutCapabilitiesThereAreNone() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["capabilities": [:]]])
            bundle.change(["process": ["capabilities": ["bounding": [], "permitted": [], "effective": []]]])
            let seen = try await bundle.run("status", "chown=/tmp")
            for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
                #expect(seen.words("caps.\(set)").isEmpty, "\(set)")
            }
            #expect(seen["chown./tmp"] == "!EPERM")
        }
    }

    @Test(.proves("config.capabilities.unknown"))
    func anUnknownCapabilityIsAWarning() async throws {
        try await withBundle { bundle in
            let list: Value = ["CAP_CHOWN", "CAP_NONSENSE"]
            bundle.change(["process": ["capabilities": ["bounding": list, "permitted": list, "effective": list]]])
            let seen = try await bundle.run("status")
            #expect(seen.words("caps.effective") == ["CAP_CHOWN"])
            #expect(seen.errors.contains("CAP_NONSENSE"))
        }
    }

    /// The runtime itself runs without the capability: what it hasn't got it can't give.
    @Test(.proves("config.capabilities.not-granted"), .requires(.command("capsh")))
    func aCapabilityThatCannotBeGrantedIsNoFailure() async throws {
        try await withBundle { bundle in
            let list: Value = ["CAP_CHOWN", "CAP_SYS_TIME"]
            bundle.change(["process": ["capabilities": ["bounding": list, "permitted": list, "effective": list]]])
            bundle.asks("status")
            try bundle.write()
            let finished = try await Command(
                "capsh", "--drop=cap_sys_time", "--", "-c",
                "exec \(bundle.runtime.path) --root \(bundle.root) run --bundle \(bundle.folder) \(bundle.id)"
            ).run()
            #expect(ProbeAnswers(finished).words("caps.effective") == ["CAP_CHOWN"])
        }
    }

    @Test(.proves("config.process.noNewPrivileges", "config.process.noNewPrivileges-unset"))
    func noNewPrivilegesIsSetWhenAsked() async throws {
        try await withBundle { bundle in
            let plain = try await bundle.run("status")
            #expect(plain["NoNewPrivs"] == "0")
            bundle.change(["process": ["noNewPrivileges": true]])
            let limited = try await bundle.run("status")
            #expect(limited["NoNewPrivs"] == "1")
        }
    }
}
