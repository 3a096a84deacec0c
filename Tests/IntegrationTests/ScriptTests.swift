import Foundation
import LunetteTesting
import Testing

/// The scripts that ship do what docs/scripts.md says, through the real binary.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct ScriptTests {
    private static func path(_ name: String) -> String { "\(LunetteHome.package)/scripts/\(name)" }

    @Test(.requires(.file("/bin/busybox")))
    func helloRunsThreeContainersDeniesTheFourthAndCleansUp() async throws {
        try await withLunette { home in
            let output = try await home.lunette(Self.path("hello.lua")).text
            for expected in [
                "built     lunette.example/hello:1", "ran       hello-1  exit code 0  it read 1 line(s)",
                "ran       hello-3  exit code 0  it read 3 line(s)", "hook      hello-4 denied:",
                "hello from hello-1, number 1", "hello from hello-3, number 3", "cleaned",
            ] {
                #expect(output.contains(expected), "\(output)")
            }
            #expect(try await home.lunette("ps", "-a", "-q").text == "")
            #expect(try await home.lunette("volume", "ls", "-q").text == "")
            // A second run finds nothing of the first in its way.
            try await home.lunette(Self.path("hello.lua"))
        }
    }

    @Test(.requires(.dockerRegistry, .skopeo, .command("redis-server"), .command("jq")))
    func redisKeepsItsKeysOnAVolumeWhenItsContainerIsKilled() async throws {
        try await withLunette { home in
            let registry = try await RegistryFixture(folder: "\(home.folder)/registry")
            home.cleanUp.add("stop the registry") { try await registry.stop() }
            let reference = try await registry.push(layout: try await TestImage.redis.layout(), as: "redis:7")
            let output = try await home.lunette(Self.path("redis.lua"), reference, "--plain-http", timeout: .seconds(120)).text
            try await Self.check(output, home: home, reference: reference)
        }
    }

    @Test(.requires(.dockerRegistry, .skopeo, .command("redis-server"), .command("jq"), .command("htpasswd"), .command("openssl")))
    func redisIsPulledFromARegistryWithTLSAndPassword() async throws {
        try await withLunette { home in
            let registry = try await RegistryFixture(folder: "\(home.folder)/registry", secure: true)
            home.cleanUp.add("stop the registry") { try await registry.stop() }
            let reference = try await registry.push(layout: try await TestImage.redis.layout(), as: "redis:7")
            let environment = ["LUNETTE_CONFIG": "\(home.folder)/config"]

            // An unknown certificate is refused …
            let refused = try await home.lunette(
                "-e", "return image.pull('\(reference)', { tls = true })", environment: environment, expecting: 1)
            #expect(refused.errorText.contains("certificate"), "\(refused.errorText)")
            try await home.stopEngine()
            // … until its authority is named for this host …
            let trusted = "\(home.folder)/config/certs.d/\(registry.host)"
            try FileManager.default.createDirectory(atPath: trusted, withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: registry.certificate, toPath: "\(trusted)/ca.crt")
            // … and then a password is wanted.
            let anonymous = try await home.lunette("pull", reference, environment: environment, expecting: 125)
            #expect(anonymous.errorText.contains("wants a name and password"), "\(anonymous.errorText)")

            let arguments = [
                Self.path("redis.lua"), reference, "--username", RegistryFixture.username, "--password", RegistryFixture.password,
            ]
            let output = try await home.command(arguments, environment: environment).run(timeout: .seconds(120)).text
            try await Self.check(output, home: home, reference: reference)
            // The password is nowhere in what Lunette keeps.
            let kept = try await Command("grep", "-rlF", RegistryFixture.password, home.root, home.state).run(expecting: nil)
            #expect(kept.text == "")
        }
    }

    @Test func aCanaryIsComparedAndNothingStays() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("tag", image, "next:1")
            let script = Self.path("canary.lua")
            let program = ["--", "httpd", "-f", "-p", "8080", "-h", "/etc"]
            let promoted = try await home.command(
                [script, image, "next:1", "--http", "8080/hosts", "--rounds", "5", "--period", "50ms", "--slower", "900"] + program
            ).run()
            #expect(promoted.text.contains("promote next:1") && promoted.text.contains("old   \(image)"), "\(promoted)")
            let kept = try await home.command(
                [script, image, "next:1", "--rounds", "4", "--period", "10ms", "--ready", "0s", "--exec", "false"] + program
            ).run(expecting: 1)
            #expect(kept.text.contains("keep \(image): every probe of the new image failed"), "\(kept)")
            #expect(try await home.lunette("ps", "-a", "-q").text == "")
        }
    }

    private static func check(_ output: String, home: LunetteHome, reference: String) async throws {
        for expected in [
            "pull      download", "memory limit 128 MiB", "killed    exit code 137, SIGKILL", "found     3 of 3 keys", "gone      the file",
            "same      image", "cleaned",
        ] {
            #expect(output.contains(expected), "\(output)")
        }
        // The image is the one that was pushed, and its unpacked tree is what another tool unpacks.
        try await home.lunette("run", "--name", "witness", "-d", reference, "sleep", "60")
        let ours = try await home.lunette(
            "exec", "witness", "sh", "-c",
            "find / -xdev -type f -o -xdev -type l | sort | grep -vE '^/(proc|sys|dev|etc/(hosts|hostname|resolv.conf))'"
        ).lines
        try await home.lunette("rm", "-f", "witness")
        let layout = try await TestImage.redis.folder()
        let tree = try await Command.shell(
            """
            cd \(layout); mkdir \(home.folder)/tree
            for digest in $(jq -r '.manifests[0].digest' index.json | cut -d: -f2 | xargs -I@ jq -r '.layers[].digest' blobs/sha256/@ | cut -d: -f2); do
                tar -xzf blobs/sha256/$digest -C \(home.folder)/tree
            done
            cd \(home.folder)/tree; find . -type f -o -type l | sed 's/^.//' | sort | grep -vE '^/etc/(hosts|hostname|resolv.conf)'
            """
        ).run().lines
        #expect(ours == tree)
    }
}

extension LunetteHome {
    /// Ends this home's engine by SIGTERM and waits until it is gone.
    func stopEngine(with number: Int32 = SIGTERM) async throws {
        guard let engine = enginePID() else { return }
        kill(engine, number)
        try await eventually("engine \(engine) is gone") {
            !FileManager.default.fileExists(atPath: "/proc/\(engine)/cmdline") || kill(engine, 0) != 0
        }
    }
}
