import Foundation
import Glibc
import LunetteTesting
import Testing

/// Attack 33: `security.landlock` of containers. Every access is first shown to work in the same container without the rule.
@Suite(.requires(.root, .overlay, .userNamespaces, .seccomp, .cgroupV1, .command("gcc")))
struct LandlockTests {
    /// The kernel's ABI, as `inspect` tells it.
    private func abi(_ home: LunetteHome) async throws -> Int {
        let image = try await home.load(.busybox)
        let script = """
            local c = require('lunette').container.create { image = '\(image)', args = { 'true' }, security = { landlock = { read = { '/' } } } }
            print(c:inspect().landlock.abi) c:remove()
            """
        return Int(try await home.script(script).text) ?? 0
    }

    /// Runs the probe in a container whose rules are these (Lua; nil = none), after `prepare`.
    private func probe(
        _ home: LunetteHome, _ rules: String?, _ words: [String], prepare: String = "true", extra: String = ""
    ) async throws -> [String] {
        let image = try await home.load(.busybox)
        let probe = try await CProbe.access.path()
        return try await home.script(Self.script(image, probe, rules, words, prepare, extra)).lines
    }

    /// Preparation may need what the rules forbid, so a volume is filled by a container without rules before the one with them looks at it.
    private static func script(
        _ image: String, _ probe: String, _ rules: String?, _ words: [String], _ prepare: String, _ extra: String
    ) -> String {
        let landlock = rules.map { ", security = { landlock = \($0) }" } ?? ""
        return """
            local lunette = require 'lunette'
            local name = 'landlock-' .. tostring(lunette.clock()):gsub('%.', '-')
            local mounts = { { type = 'bind', source = '\(probe)', target = '/probe', readonly = true }, { type = 'volume', source = name, target = '/data' } }
            local first = lunette.container.run { image = '\(image)', mounts = mounts,
              args = { 'sh', '-c', [==[ mkdir -p /data/a /data/b; echo x > /data/a/file; cp /bin/busybox /data/a/true; \(prepare) ]==] } }
            assert(first:wait {}.code == 0)
            first:remove {}
            local c = lunette.container.run { image = '\(image)', mounts = mounts, args = { '/probe', \(words.map { "'\($0)'" }.joined(separator: ", ")) }\(landlock)\(extra) }
            c:wait {}
            io.write(c:logs {})
            c:remove {}
            lunette.volume.remove(name)
            """
    }

    @Test func deniedFilesAreOutOfReachWhateverModesSay() async throws {
        try await withLunette { home in
            let abi = try await abi(home)
            guard abi > 0 else { return }
            let words = [
                "read", "/data/a/file", "write", "/data/a/file", "create", "/data/a/new", "mkdir", "/data/a/folder", "truncate",
                "/data/a/file",
                "exec", "/data/a/true", "rename", "/data/a/file", "/data/b/file",
            ]
            let without = try await probe(home, nil, words)
            undefended("without a rule every access works", without.allSatisfy { $0.hasSuffix(" ok") }, without)
            // All but /data.
            let none = try await probe(home, "{ read = { '/probe' } }", words)
            #expect(none.allSatisfy { $0.hasSuffix(" \(EACCES)") }, "\(none)")
            // What is only read is neither changed nor moved.
            let reading = try await probe(home, "{ read = { '/probe', '/data' } }", words)
            #expect(reading.first == "read ok")
            #expect(reading.contains("exec ok"))
            for what in ["write", "create", "mkdir"] { #expect(reading.contains("\(what) \(EACCES)"), "\(reading)") }
            if abi >= 3 { #expect(reading.contains("truncate \(EACCES)")) }
            // What is written elsewhere doesn't travel to where only reading is allowed, and back.
            let across = try await probe(
                home, "{ read = { '/probe', '/data/b' }, write = { '/data/a' } }",
                ["rename", "/data/a/file", "/data/b/file", "link", "/data/a/file", "/data/b/link"])
            #expect(across.allSatisfy { $0.hasSuffix(" \(EACCES)") || $0.hasSuffix(" \(EXDEV)") }, "\(across)")
            #expect(
                try await probe(home, "{ read = { '/probe' }, write = { '/data' } }", words).allSatisfy { $0.hasSuffix(" ok") }
                    == (abi >= 2))
        }
    }

    @Test func executionIsAListOfItsOwn() async throws {
        try await withLunette { home in
            guard try await abi(home) > 0 else { return }
            let (rules, words) = ("{ read = { '/' }, execute = { '/probe' } }", ["read", "/data/a/true", "exec", "/data/a/true"])
            let without = try await probe(home, nil, words)
            undefended("without a rule the file is executed", without == ["read ok", "exec ok"], without)
            #expect(try await probe(home, rules, words) == ["read ok", "exec \(EACCES)"])
        }
    }

    @Test func devicesTakeIoctlOnlyWhereAListSaysSo() async throws {
        try await withLunette { home in
            guard try await abi(home) >= 5 else { return }
            let words = ["ioctl", "/dev/zero", "ioctl", "/dev/full"]
            let without = try await probe(home, nil, words)
            undefended("without a rule devices take ioctl", without == ["ioctl ok", "ioctl ok"], without)
            #expect(try await probe(home, "{ read = { '/' } }", words) == ["ioctl ok", "ioctl ok"])
            #expect(try await probe(home, "{ read = { '/' }, ioctl = { '/dev/full' } }", words) == ["ioctl \(EACCES)", "ioctl ok"])
        }
    }

    @Test func portsOutsideTheListsAreRefused() async throws {
        try await withLunette { home in
            guard try await abi(home) >= 4 else { return }
            let words = ["bind", "8080", "bind", "8081", "connect", "8080", "connect", "8081"]
            let without = try await probe(home, nil, words)
            undefended("without a rule every port", without == ["bind ok", "bind ok", "connect ok", "connect ok"], without)
            #expect(
                try await probe(home, "{ bind = { 8080 }, connect = { 8081 } }", words)
                    == ["bind ok", "bind \(EACCES)", "connect \(EACCES)", "connect ok"])
            // Files are left to the other layers then.
            #expect(try await probe(home, "{ bind = {} }", ["write", "/data/a/file"]) == ["write ok"])
        }
    }

    @Test func scopesKeepSocketsAndSignalsOfOthersAway() async throws {
        try await withLunette { home in
            guard try await abi(home) >= 6 else { return }
            let name = "lunette-\(UUID().uuidString)"
            let listener = try Command(try await CProbe.access.path(), "listen-abstract", name).start()
            try await listener.says("listening")
            let host = ", network = 'host'"
            let without = try await probe(home, nil, ["abstract", name], extra: host)
            undefended("without a scope the socket answers", without == ["abstract ok"], without)
            #expect(try await probe(home, "{ scope = { 'abstract_socket' } }", ["abstract", name], extra: host) == ["abstract \(EPERM)"])
            listener.signal(SIGKILL)
            _ = try await listener.wait()

            let image = try await home.load(.busybox)
            for (rules, answer) in [("nil", "0"), ("{ scope = { 'signal' } }", "1")] {
                // Two programs of one container are two domains.
                let script = """
                    local c = require('lunette').container.run { image = '\(image)', args = { 'sh', '-c', 'echo $$ > /tmp/pid; exec sleep 600' }, security = { landlock = \(rules) } }
                    local r
                    repeat r = c:exec { 'sh', '-c', 'test -s /tmp/pid' } until r.code == 0
                    print(c:exec({ 'sh', '-c', 'kill -0 $(cat /tmp/pid)' }).code)
                    c:remove { force = true }
                    """
                let said = try await home.script(script).text
                if rules == "nil" {
                    undefended("without a scope the signal arrives", said == answer, said)
                } else {
                    #expect(said == answer, "\(rules)")
                }
            }
        }
    }

    @Test func whatIsNotEnforcedIsSaidOrRefused() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let script = """
                local lunette = require 'lunette'
                for _, rules in ipairs { {}, { raed = { '/' } }, { read = { 'relative' } }, { connect = { 70000 } }, { scope = { 'files' } } } do
                  local ok, problem = lunette.try(lunette.container.create, { image = '\(image)', args = { 'true' }, security = { landlock = rules } })
                  print(ok, problem.code, problem.path)
                end
                local c = lunette.container.create { image = '\(image)', args = { 'true' }, security = { landlock = { read = { '/' } } } }
                c:start() c:wait {}
                local i = c:inspect()
                local said = false
                for _, line in ipairs(i.degraded) do said = said or line:find('landlock', 1, true) ~= nil end
                print(i.landlock.abi > 0 or said, i.spec.security.landlock.read[1])
                c:remove {}
                """
            let lines = try await home.script(script).lines
            #expect(lines.prefix(5).allSatisfy { $0.hasPrefix("false\tinvalid_argument\t") }, "\(lines)")
            #expect(lines.last == "true\t/")
        }
    }
}
