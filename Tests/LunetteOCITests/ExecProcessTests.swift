import Foundation
import Glibc
import LunetteSpec
import Testing

@testable import LunetteOCI

/// What `exec` runs for which options.
@Suite struct ExecProcessTests {
    private let spec: RuntimeSpec = {
        var spec = RuntimeSpec()
        var process = RuntimeSpec.ProcessSection(args: ["init"], cwd: "/work")
        process.user = .init(uid: 1000, gid: 2000, umask: 0o77, additionalGids: [5])
        process.env = ["PATH=/bin", "A=1"]
        process.terminal = true
        process.noNewPrivileges = false
        process.capabilities = .init([.chown])
        spec.process = process
        return spec
    }()

    private func user(_ text: String) throws -> String {
        try ExecProcess.section(try Options(["--user", text, "id", "true"]), spec).user.text
    }

    /// Attack 12 (CVE-2026-30892, CVE-2024-40635): the right id or a refusal, never root by surprise.
    @Test func usersAreReadOneWay() throws {
        #expect(try user("0") == "0:2000")
        #expect(try user("7") == "7:2000")
        #expect(try user("7:8") == "7:8")
        #expect(try user("0:0") == "0:0")
        #expect(try user("www-data") == "www-data")
        #expect(try user("1000:www") == "1000:www")
        for text in [
            "", "00", "1000:", ":0", "-1", "4294967295", "4294967296", "1000:-1", "1000:4294967295", "1:2:3", " 0", "+0",
            "99999999999999999999",
        ] {
            #expect(throws: LunetteError.self, "\(text)") { try user(text) }
        }
    }

    @Test func theContainersOwnWordsStayWhereNothingElseIsSaid() throws {
        let plain = try ExecProcess.section(try Options(["id", "ls", "-l"]), spec)
        #expect(plain.args == ["ls", "-l"] && plain.cwd == "/work" && plain.user.text == "1000:2000" && plain.user.umask == 0o77)
        #expect(plain.env == ["PATH=/bin", "A=1"])
        // A terminal only when it is asked for.
        #expect(!plain.terminal && !plain.noNewPrivileges)
    }

    /// A mark that combines makes one character of itself and what stands before it.
    @Test func variablesAreTakenApartByBytes() throws {
        let section = try ExecProcess.section(try Options(["--env", "A=\u{301}x", "--env=B\u{301}=2", "id", "true"]), spec)
        #expect(section.env.map { Array($0.utf8) } == ["PATH=/bin", "A=\u{301}x", "B\u{301}=2"].map { Array($0.utf8) })
    }

    @Test func optionsChangeThem() throws {
        let words = [
            "--cwd", "/tmp", "--env", "A=2", "-e", "B=3", "--tty", "-g", "9", "-g", "10", "--cap", "CAP_NET_RAW", "--no-new-privs", "id",
            "true",
        ]
        let section = try ExecProcess.section(try Options(words), spec)
        #expect(section.cwd == "/tmp" && section.env == ["PATH=/bin", "A=2", "B=3"] && section.terminal && section.noNewPrivileges)
        #expect(section.user.additionalGids == [5, 9, 10])
        #expect(section.capabilities?.bounding == [.chown, .netRaw] && section.capabilities?.effective == [.chown, .netRaw])
        // CVE-2022-29162.
        #expect(section.capabilities?.inheritable == [] && section.capabilities?.ambient == [])
    }

    /// As with a config's, and as runc.
    @Test func capabilitiesThatNobodyKnowsAreNamedAndLeftOut() throws {
        var warnings: [String] = []
        let words = ["--cap", "FOO", "--cap", "net_raww", "-c", "CAP_NET_RAW", "id", "true"]
        let section = try ExecProcess.section(try Options(words), spec) { warnings.append($0) }
        #expect(warnings == ["--cap: not known and left out: FOO, net_raww (did you mean CAP_NET_RAW?)"])
        #expect(section.capabilities?.bounding == [.chown, .netRaw])
    }

    @Test(arguments: [
        (["--apparmor", "p"], "--apparmor: AppArmor profiles aren't built"),
        (["--process-label", "l"], "--process-label: SELinux labels aren't built"),
        (["--cwd", "nope"], "--cwd: \"nope\" is not an absolute path"),
    ])
    func errorsNameTheOption(_ option: [String], _ message: String) throws {
        let said = #expect(throws: LunetteError.self) { try ExecProcess.section(try Options(option + ["id", "true"]), spec) }
        #expect(said?.description == message)
        // runc's callers write an empty one for none.
        #expect(try ExecProcess.section(try Options(["--cwd", "", "id", "true"]), spec).cwd == "/work")
    }

    @Test func fieldsOfAFileThatNobodyKnowsAreNamed() throws {
        let path = "/tmp/lunette-process-\(getpid()).json"
        try Data("{\"args\": [\"id\"], \"cwd\": \"/\", \"usr\": {\"uid\": 3}}".utf8).write(to: URL(fileURLWithPath: path))
        defer { unlink(path) }
        var warnings: [String] = []
        _ = try ExecProcess.section(try Options(["--process", path, "id"]), spec) { warnings.append($0) }
        #expect(warnings == ["process.usr: not known and ignored (did you mean \"user\"?)"])
    }

    @Test func whatMeansNothingIsRefused() {
        for words in [
            ["id"], ["--env", "A", "id", "true"], ["--env", "=x", "id", "true"], ["-g", "-1", "id", "true"], ["-g", "010", "id", "true"],
            ["-g", "4294967295", "id", "true"], ["--process", "/nonexistent/process.json", "id"],
        ] {
            #expect(throws: LunetteError.self, "\(words)") { try ExecProcess.section(try Options(words), spec) }
        }
    }

    @Test func subcgroupsStayBelowTheContainers() {
        let cgroup = ContainerCgroupFixture.v1
        for text in ["..", "a/../..", "memory:../x", "nosuch:/a", "/a\0b"] {
            #expect(throws: LunetteError.self, "\(text)") { try ExecCgroup.choose([text], cgroup) }
        }
    }
}

extension Options {
    /// The words of an `exec`.
    init(_ words: [String]) throws { try self.init(words[...], Command.exec.options, order: .beforeArguments) }
}
