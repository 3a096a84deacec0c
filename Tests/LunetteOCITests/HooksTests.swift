import Foundation
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteOCI

/// Programs of the host, run as the bundle says.
@Suite struct HooksTests {
    private let state = ContainerDocument(id: "c1", status: .created, pid: 7, bundle: "/b")

    private func shell(_ script: String, timeout: Int64? = nil, env: [String] = []) -> [RuntimeSpec.Hook] {
        [.init(path: "/bin/sh", args: ["sh", "-c", script], env: env, timeout: timeout)]
    }

    private func run(_ hooks: [RuntimeSpec.Hook]) throws { try Hooks.run(hooks, "poststart", state: state, folder: nil) }

    @Test func theStateIsOnStdinAndTheEnvironmentExactlyTheGivenOne() throws {
        let document = JSON.encode(state.value)
        try run(shell("test \"$(cat)\" = '\(document)' && test \"$(env | grep -vE '^(PWD|SHLVL|_)=')\" = 'ONLY=this'", env: ["ONLY=this"]))
        // No PATH of anybody's is looked through, and none is given (attack 17).
        try run(shell("test -z \"$LUNETTE_SHIM$HOME\""))
    }

    @Test func aFailingHookTellsWhatItWrote() throws {
        let failure = #expect(throws: LunetteError.self) {
            try run(shell("echo out; echo why >&2; exit 3"))
        }
        #expect(failure?.path == "hooks.poststart[0]")
        #expect(failure?.message == "run hook /bin/sh: it ended with exit code 3: out\\x0awhy")
        let killed = #expect(throws: LunetteError.self) { try run(shell("kill -9 $$")) }
        #expect(killed?.message.contains("killed by signal 9") == true)
        let absent = #expect(throws: LunetteError.self) {
            try run([.init(path: "/nonexistent/hook")])
        }
        #expect(absent?.code == .notFound)
    }

    @Test func aHangingHookIsKilledWithItsChildren() async throws {
        let failure = #expect(throws: LunetteError.self) {
            try run(shell("sleep 471199 & sleep 471199", timeout: 1))
        }
        #expect(failure?.code == .timeout)
        try await eventually("both sleeps are gone") {
            let names = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { Int($0) != nil }
            return names.allSatisfy { name in
                let line = FileManager.default.contents(atPath: "/proc/\(name)/cmdline").map { String(decoding: $0, as: UTF8.self) } ?? ""
                return !line.contains("471199")
            }
        }
    }

    @Test func aChildThatOutlivesAHookHoldsNothingUp() throws {
        try run(shell("sleep 2 & exit 0"))
    }

    @Test func allAreRunWhenOneMayFail() throws {
        let hooks: [RuntimeSpec.Hook] = [.init(path: "/bin/false"), .init(path: "/nonexistent/hook"), .init(path: "/bin/true")]
        var told: [String?] = []
        Hooks.runAll(hooks, "poststop", state: state, folder: nil) { told.append($0.path) }
        #expect(told == ["hooks.poststop[0]", "hooks.poststop[1]"])
    }
}
