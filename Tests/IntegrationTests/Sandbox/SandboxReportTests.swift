import Foundation
import LunetteTesting
import Testing

/// What `--report` names, and that what it says to do is what helps.
@Suite(.requires(.root, .userNamespaces, .seccomp, .command("setpriv"), .command("gcc")))
struct SandboxReportTests {
    private func denied(_ finished: Finished) -> [String] {
        finished.errorText.split(separator: "\n").filter { $0.hasPrefix("denied:") }.map(String.init)
    }

    @Test(arguments: SandboxCaller.allCases)
    func portsOutsideTheListsAreNamed(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let seen = ["--report", "--network", "host", "--best-effort", "--allow-read", place.probe]
            let lists = ["--allow-connect", "80", "--allow-bind", "8080", "--", place.probe]
            func run(_ words: [String]) async throws -> Finished {
                try await place.command(["\(place.folder)/bin/lunette", "sandbox"] + words).run(expecting: nil)
            }
            let finished = try await run(seen + lists + ["connect", "22", "bind", "49190"])
            #expect(
                denied(finished).map { $0.replacing("127.0.0.1", with: "0.0.0.0") } == [
                    "denied: connect 0.0.0.0:22 (hint: --allow-connect 22)", "denied: bind 0.0.0.0:49190 (hint: --allow-bind 49190)",
                ], "\(finished.errorText)")
            let followed = try await run(
                seen + ["--allow-connect", "22", "--allow-bind", "49190"] + lists + ["connect", "22", "bind", "49190"])
            #expect(denied(followed).isEmpty)
            #expect(denied(try await run(seen + ["--", place.probe, "connect", "22", "bind", "49190"])).isEmpty)
        }
    }

    /// Without network each way to send a datagram is named; the sandbox's own loopback is its own, and the host's network holds no UDP.
    @Test(arguments: SandboxCaller.allCases)
    func datagramsAreNamed(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            func run(_ words: [String]) async throws -> Finished {
                let options = ["--report", "--best-effort", "--allow-read", place.probe]
                return try await place.command(["\(place.folder)/bin/lunette", "sandbox"] + options + words).run(expecting: nil)
            }
            let finished = try await run(["--", place.probe, "udp", "192.0.2.1", "49200"])
            #expect(
                denied(finished) == (49200...49202).map { "denied: send 192.0.2.1:\($0) (hint: --network host)" }, "\(finished.errorText)")
            let own = try await run(["--", place.probe, "udp", "127.0.0.1", "49200", "udp", "0.0.0.0", "49200"])
            #expect(denied(own).isEmpty && own.text == "udp ok\nudp ok", "\(own.text) \(own.errorText)")
            let host = try await run(["--network", "host", "--allow-connect", "80", "--", place.probe, "udp", "127.0.0.1", "49200"])
            #expect(denied(host).isEmpty, "\(host.errorText)")
        }
    }

    @Test(.requires(.command("perl")), arguments: SandboxCaller.allCases)
    func socketsOfTheHostAreNamedAlsoBelowAFolderInMemory(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let socket = "/tmp/lunette-report-\(UUID().uuidString.prefix(8))"
            defer { unlink(socket) }
            func perl(_ call: String) -> [String] {
                ["perl", "-MSocket", "-e", "socket(S, PF_UNIX, SOCK_STREAM, 0); \(call)(S, sockaddr_un(\"\(socket)\")) or warn"]
            }
            try await place.command(perl("bind")).run()
            let finished = try await place.command(["\(place.folder)/bin/lunette", "sandbox", "--report", "--"] + perl("connect")).run(
                expecting: nil)
            #expect(denied(finished) == ["denied: connect \(socket) (hint: --allow-write . --allow-read \(socket))"])
        }
    }

    @Test func whatHelpsIsSaidAndNothingElse() async throws {
        try await withSandboxPlace(.root) { place in
            let device = try await place.sandbox("--report", "--", "sh", "-c", "true < /dev/kmsg")
            #expect(denied(device) == ["denied: read /dev/kmsg (hint: --dev /dev/kmsg)"])
        }
        try await withSandboxPlace(.user) { place in
            // No rule gives a user what the host doesn't.
            let refused = try await place.sandbox(
                "--report", "--", "sh", "-c", "true < /etc/shadow; true > /usr/bin/made; true > /etc/passwd")
            #expect(denied(refused).isEmpty, "\(refused.errorText)")
            let reader = try await place.sandbox("--report", "--read-only", "--", "sh", "-c", "true > made; true < \(place.outside)/file")
            #expect(
                denied(reader) == [
                    "denied: write \(place.tree)/made (hint: leave out --read-only)",
                    "denied: read \(place.outside)/file (hint: --allow-read . --allow-read \(place.outside)/file)",
                ])
        }
    }
}
