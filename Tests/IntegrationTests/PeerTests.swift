import Foundation
import LunetteTesting
import Testing

/// Other people's engines run on `lunette-oci`: each client goes through one script of operations (Tests/Peers) on Debian's runc and on ours,
/// and what a user sees of it is compared: output, exit codes, messages that callers search for, states, limits, mounts, what is left behind.
///
/// A failure here names the operation; by hand: `Tests/Peers/compare.py CLIENT … --only 'NAME' --show`.
@Suite(
    .serialized,
    .requires(
        .root, .cgroupV1, .overlay, .seccomp, .file(OCIRuntime.underTest.path), .command("runc"), .command("skopeo"), .command("python3"),
        .command("jq"),
        .command("unshare")))
struct PeerTests {
    @Test(.requires(.podman, .command("conmon"), .file("/usr/libexec/podman/catatonit")))
    func podmanSeesNoDifferenceFromRunc() async throws { try await compare("podman") }

    @Test(.requires(.command("dockerd"), .command("docker"), .command("containerd"), .command("docker-init")))
    func dockerSeesNoDifferenceFromRunc() async throws { try await compare("docker") }

    @Test(.requires(.command("containerd"), .command("ctr"), .command("containerd-shim-runc-v2")))
    func containerdSeesNoDifferenceFromRunc() async throws { try await compare("containerd") }

    /// The comparison can fail: a runtime that says 0 where runc says something else is found out.
    @Test(.requires(.podman, .command("conmon")))
    func aRuntimeThatLosesExitCodesIsFoundOut() async throws {
        let folder = try TemporaryFolder()
        let liar = "\(folder.path)/liar"
        // Any program that can't be started becomes /bin/true.
        try Data(
            """
            #!/bin/bash
            case " $* " in
              *" create "*)
                bundle=${*#*--bundle }; bundle=${bundle%% *}
                jq 'if .process.args[0] == "no-such-program" then .process.args = ["true"] else . end' "$bundle/config.json" >"$bundle/.c" &&
                cat "$bundle/.c" >"$bundle/config.json" ;;
            esac
            exec runc "$@"

            """.utf8
        ).write(to: URL(fileURLWithPath: liar))
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: liar)
        let finished = try await run("podman", runtime: liar, only: ["--only", "^run: (a program that is not on PATH|an exit code)$"])
        #expect(finished.code == 1)
        #expect(finished.text.contains("FAILED podman: run: a program that is not on PATH"), "\(finished.text) \(finished.errorText)")
        #expect(!finished.text.contains("FAILED podman: run: an exit code"))
    }

    @Test(.requires(.command("dockerd"), .command("docker"), .command("containerd"), .command("docker-init")))
    func aRuntimeMayBeNamedFromHere() async throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createSymbolicLink(atPath: "\(folder.path)/ours", withDestinationPath: OCIRuntime.underTest.path)
        let finished = try await run("docker", runtime: "./ours", only: ["--only", "^run: an exit code$"], workdir: folder.path)
        #expect(finished.code == 0, "\(finished.text)\n\(finished.errorText)")
        let absent = try await run("docker", runtime: "./theirs", only: [], workdir: folder.path)
        #expect(absent.code == 2 && absent.errorText.contains("--runtime ours=./theirs: nothing that can be executed is there"))
    }

    private func compare(_ client: String) async throws {
        let finished = try await run(client, runtime: OCIRuntime.underTest.path, only: [])
        #expect(finished.code == 0, "\(finished.text)\n\(finished.errorText)")
    }

    private func run(_ client: String, runtime: String, only: [String], workdir: String? = nil) async throws -> Finished {
        let runc = try #require(Programs.find("runc"))
        return try await Command(
            [
                "python3", "\(LunetteHome.package)/Tests/Peers/compare.py", client, "--layout", try await TestImage.busybox.layout(),
                "--runtime", "runc=\(runc)", "--runtime", "ours=\(runtime)",
            ] + only, workdir: workdir
        ).run(expecting: nil, timeout: .seconds(900))
    }
}

/// A folder that goes with the test.
private final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/l.XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw CommandFailure("mkdtemp: errno \(errno)") }
        path = String(cString: made)
    }

    // Best effort: it lies in the temporary folder.
    deinit { try? FileManager.default.removeItem(atPath: path) }
}
