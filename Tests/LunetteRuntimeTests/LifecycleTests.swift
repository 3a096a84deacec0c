import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteRuntime

@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/bin/busybox"))) struct LifecycleTests {
    @Test func aProgramRunsAndItsOutputAndExitCodeComeBack() async throws {
        try await RuntimeFixture.with { fixture in
            let (output, exit) = try await fixture.run("echo out; echo err >&2; exit 7")
            #expect(output.contains("out\n"))
            #expect(output.contains("err\n"))
            #expect(exit.code == 7)
            #expect(exit.reason == .exited)
            #expect(exit.signal == nil)
        }
    }
}
