import Foundation
import LunetteTesting
import Testing

/// What Lunette writes, others read; what others write, Lunette reads.
@Suite(.serialized, .requires(.root, .overlay, .userNamespaces))
struct InteropTests {
    private static let build = """
        return image.build { tag = "interop:1", copy = { { from = "/bin/busybox", to = "/bin/busybox", mode = 493 } },
          run = { "/bin/busybox --install -s /bin", "mkdir -p /etc /tmp && echo one >/one", "rm /one && echo two >/two" },
          config = { cmd = { "cat", "/two" }, env = { PATH = "/bin" }, labels = { made = "by lunette" } } }.id
        """

    @Test(.requires(.podman)) func anImageBuiltAndSavedByUsRunsUnderPodman() async throws {
        try await withLunette { home in
            try await home.lunette("-e", Self.build)
            #expect(try await home.lunette("run", "--rm", "interop:1").text == "two")
            for format in ["oci", "docker"] {
                let archive = "\(home.folder)/\(format).tar"
                try await home.lunette("-e", "image.save('interop:1', '\(archive)', { format = '\(format)' })")
                // crun and Podman want a cgroup tree that this machine may not have: none is asked for, in a mount namespace of its own.
                let podman = """
                    umount /sys/fs/cgroup/unified 2>/dev/null || true
                    export XDG_RUNTIME_DIR=\(home.folder)
                    podman() { command podman --root \(home.folder)/p --runroot \(home.folder)/pr --storage-driver vfs --cgroup-manager cgroupfs --runtime crun "$@"; }
                    id=$(podman load -q -i \(archive) | sed 's/.*: //')
                    podman run --rm --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none --cgroups disabled "$id"
                    podman rmi -f "$id" >/dev/null
                    """
                let finished = try await Command(["unshare", "-m", "--propagation", "private", "bash", "-euc", podman]).run(
                    timeout: .seconds(90))
                #expect(finished.text.hasSuffix("two"), "\(format): \(finished.text) \(finished.errorText)")
            }
        }
    }

    @Test(.requires(.skopeo, .command("jq"))) func theContentStoreIsAnOCILayoutThatSkopeoReads() async throws {
        try await withLunette { home in
            try await home.lunette("-e", Self.build)
            let index = try await Command(
                "jq", "-r", ".manifests[].annotations[\"org.opencontainers.image.ref.name\"]", "\(home.root)/content/index.json"
            ).run()
            let name = try #require(index.lines.first { $0.contains("interop") })
            let inspected = try await Command("skopeo", "inspect", "oci:\(home.root)/content:\(name)").run()
            #expect(inspected.text.contains("\"made\": \"by lunette\""))
        }
    }

    @Test(.requires(.file("/usr/lib/python3/dist-packages/jsonschema"))) func whatWeWriteIsValidByTheSpecsOwnSchemas() async throws {
        try await withLunette { home in
            try await home.lunette("-e", Self.build)
            try await home.load(.redis)
            let saved = "\(home.folder)/saved"
            try await home.lunette("-e", "image.save({ 'interop:1', 'lunette.test/redis:latest' }, '\(saved)', { format = 'oci-dir' })")
            for layout in [saved, "\(home.root)/content"] {
                let result = try await Command("\(LunetteHome.package)/scripts/dev/validate-layout", layout).run(expecting: nil)
                #expect(result.code == 0, "\(result.text) \(result.errorText)")
            }
        }
    }

    @Test(.requires(.skopeo)) func loadsWhatSkopeoWrites() async throws {
        try await withLunette { home in
            let layout = try await TestImage.busybox.layout()
            for kind in ["docker-archive", "oci-archive", "dir-oci"] {
                let target = "\(home.folder)/\(kind)"
                let destination = kind == "dir-oci" ? "oci:\(target):x" : "\(kind):\(target):written.test/by-skopeo:1"
                try await Command("skopeo", "copy", "-q", "--insecure-policy", "oci:\(layout)", destination).run()
                #expect(
                    try await home.lunette("-e", "return image.load('\(target)', { tag = 'l:\(kind)' }).name").text.contains("l:\(kind)"))
                #expect(try await home.lunette("run", "--rm", "l:\(kind)", "echo", kind).text == kind)
            }
        }
    }

    @Test(.requires(.dockerRegistry, .skopeo, .command("jq"))) func whatWePushSkopeoPulls() async throws {
        try await withLunette { home in
            let registry = try await RegistryFixture(folder: "\(home.folder)/registry")
            home.cleanUp.add("stop the registry") { try await registry.stop() }
            try await home.lunette("-e", Self.build)
            let reference = "\(registry.host)/ours/interop:1"
            try await home.lunette("tag", "interop:1", reference)
            try await home.lunette("push", reference)
            let digest = try await Command("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://\(reference)")
                .run().text
            #expect(try await home.lunette("-e", "return image.get('interop:1'):inspect().digest").text.contains(digest))
        }
    }

    @Test func listingsAreJSONWhenAsked() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "c", "--label", "a=b", image, "sleep", "60")
            try await home.lunette("volume", "create", "v")
            for arguments in [
                ["ps"], ["ps", "-a"], ["images"], ["volume", "ls"], ["system", "info"], ["version"], ["stats", "--no-stream"],
            ] {
                let output = try await home.command(arguments + ["--format", "json"]).run().stdout
                let text = String(decoding: output, as: UTF8.self)
                // One document, or one a line.
                let isWhole = (try? JSONSerialization.jsonObject(with: output)) != nil
                let isLines = text.split(separator: "\n").allSatisfy { (try? JSONSerialization.jsonObject(with: Data($0.utf8))) != nil }
                #expect(isWhole || isLines, "\(arguments): \(text)")
            }
            #expect(try await home.lunette("ps", "--format", "{{.Names}}").text == "c")
            #expect(try await home.lunette("inspect", "--launch-plan", "c").text.contains("pivot-root"))
        }
    }

    @Test(.requires(.command("luac5.4"))) func theTypesFileIsLua() async throws {
        try await Command("luac5.4", "-p", "\(LunetteHome.package)/docs/types/lunette.lua").run()
    }
}
