import Foundation
import LunetteTesting
import Testing

/// Namespaces shared between containers, and pods built on that.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct PodTests {
    @Test func whoSharesAlongAChainStaysInItsUserNamespace() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "owner", image, "sleep", "60")
            try await home.lunette("run", "-d", "--name", "middle", "--network", "container:owner", image, "sleep", "60")
            let line = "cat /proc/self/uid_map; readlink /proc/self/ns/user /proc/self/ns/net; hostname"
            let owner = try await home.lunette("exec", "owner", "sh", "-c", line).lines
            // Through the middle one: once, this ran as the host's root.
            let last = try await home.lunette("run", "--rm", "--network", "container:middle", image, "sh", "-c", line).lines
            #expect(last == owner)
            #expect(!owner[0].contains("4294967295"))
            let ranges = try await [home.inspect("owner"), home.inspect("middle")].map { ($0["id_range"] as? [String: Int])?["first"] }
            #expect(ranges[0] != nil && ranges[0] == ranges[1])
            try await home.lunette("rm", "-f", "owner", "middle")
        }
    }

    @Test func sharingNeedsOneUserNamespaceAndSaysSo() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "own", image, "sleep", "60")
            try await home.lunette("run", "-d", "--name", "host", "--userns", "host", image, "sleep", "60")
            try await home.lunette("run", "-d", "--name", "other", image, "sleep", "60")
            let without = try await home.lunette("run", "--network", "container:host", image, "true", expecting: 125)
            #expect(without.errorText.contains("host has no user namespace"), "\(without.errorText)")
            #expect(without.errorText.contains("--userns host"), "\(without.errorText)")
            let off = try await home.lunette("run", "--userns", "host", "--network", "container:own", image, "true", expecting: 125)
            #expect(off.errorText.contains("own, which has a user namespace"), "\(off.errorText)")
            let both = try await home.lunette(
                "run", "--network", "container:own", "--ipc", "container:other", image, "true", expecting: 125)
            #expect(both.errorText.contains("different user namespaces"), "\(both.errorText)")
            // Where the owner has none, it can be shared by who says so.
            #expect(
                try await home.lunette("run", "--rm", "--userns", "host", "--network", "container:host", image, "id", "-u").text == "0")
            // What --rm takes away goes when the program has ended, which may be a moment after its caller has left.
            try await eventually("the refused ones left nothing") { try await home.lunette("ps", "-aq").lines.count == 3 }
        }
    }

    /// What the command line wrote is what its errors name.
    @Test func aPodIsNamedByItsOptionAndRunsNothing() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let missing = try await home.lunette("run", "--pod", "nope", image, "true", expecting: 125)
            #expect(missing.errorText.contains("--pod nope: ") && !missing.errorText.contains("spec."), "\(missing.errorText)")
            let mount = try await home.lunette("create", "-v", "v:/v", "-v", "/nope:/x", image, expecting: 125)
            #expect(mount.errorText.contains("--volume /nope:/x: ") && !mount.errorText.contains("spec."), "\(mount.errorText)")
            try await home.lunette("run", "-d", "--new-pod", "--name", "p")
            let exec = try await home.lunette("exec", "p", "ls", expecting: 125)
            #expect(exec.errorText.contains("a pod runs nothing of its own") && exec.errorText.contains("--pod p"), "\(exec.errorText)")
            // Docker's: started is started.
            #expect(try await home.lunette("start", "p").text == "p")
        }
    }

    @Test func theOwnersNetworkIsTheHostsWhenItUsesThat() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "owner", "--network", "host", image, "sleep", "60")
            let link = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
            let shared = try await home.lunette(
                "run", "--rm", "--network", "container:owner", image, "sh", "-c", "readlink /proc/self/ns/net; cat /proc/self/uid_map")
            #expect(shared.lines[0] == link)
            #expect(!shared.lines[1].contains("4294967295"))
        }
    }

    @Test func anOwnerThatStopsIsMissedAndARenamedOneIsFound() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--name", "owner", "--stop-timeout", "0", image, "sleep", "60")
            try await home.lunette(
                "run", "-d", "--name", "sharer", "--network", "container:owner", "--stop-timeout", "0", image, "sleep", "60")
            let removal = try await home.lunette("rm", "-f", "owner", expecting: 125)
            #expect(removal.errorText.contains("sharer shares its namespaces"), "\(removal.errorText)")
            try await home.lunette("rename", "owner", "holder")
            #expect((try await home.inspect("sharer")["spec"] as? [String: Any])?["network"] as? String == "container:holder")
            try await home.lunette("stop", "holder")
            #expect("\(try await home.inspect("sharer")["degraded"] ?? "")".contains("an earlier run of holder"))
            try await home.lunette("stop", "sharer")
            let start = try await home.lunette("start", "sharer", expecting: 125)
            #expect(start.errorText.contains("it shares the network of holder, which is stopped"), "\(start.errorText)")
            try await home.lunette("start", "holder", "sharer")
            #expect("\(try await home.inspect("sharer")["degraded"] ?? "")".contains("earlier") == false)
            // In whatever order they are named, who shares goes first.
            #expect(try await home.lunette("rm", "-f", "holder", "sharer").lines == ["holder", "sharer"])
        }
    }

    @Test func aPodHoldsNamespacesStopsItsMembersAndGoesWithThem() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--new-pod", "--name", "pod")
            let info = try await home.inspect("pod")
            let pid = info["pid"] as? Int ?? 0
            // Nothing was executed: the process is the shim's own, closed to everybody inside.
            #expect(try String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8) == "lunette-pod\n")
            let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
            #expect(status.contains("CapEff:\t0000000000000000"))
            #expect(status.contains("CapBnd:\t0000000000000000"))
            #expect(status.contains("Seccomp:\t2"))

            try await home.lunette(
                "run", "-d", "--name", "server", "--pod", "pod", "--pid", "container:pod", image, "sh", "-c",
                "mkdir -p /www && echo hello > /www/index.html && exec httpd -f -p 8080 -h /www")
            try await home.lunette("run", "-d", "--name", "side", "--pod", "pod", "--pid", "container:pod", image, "sleep", "60")
            try await eventually("the server answers its sidecar", within: .seconds(20)) {
                try await home.lunette("exec", "side", "wget", "-qO-", "http://127.0.0.1:8080/", expecting: nil).text == "hello"
            }
            #expect(try await home.lunette("exec", "side", "hostname").text == "pod")
            let looked = try await home.lunette(
                "exec", "side", "sh", "-c", "ps | grep -c '[h]ttpd -f'; readlink /proc/1/exe || echo closed", expecting: 0)
            #expect(looked.lines == ["1", "closed"], "\(looked.text) \(looked.errorText)")

            // Zombies left to pid 1 are reaped by it.
            try await home.lunette("exec", "side", "sh", "-c", "(sleep 0.1 &) ; exit 0")
            try await eventually("no zombie is left", within: .seconds(10)) {
                try await home.lunette("exec", "side", "sh", "-c", "grep -l 'State:.Z' /proc/[0-9]*/status || true").text == ""
            }

            let refused = try await home.lunette("rm", "pod", expecting: 125)
            #expect(refused.errorText.contains("it is running"), "\(refused.errorText)")
            try await home.lunette("stop", "-t", "2", "pod")
            for name in ["pod", "server", "side"] { #expect(try await home.inspect(name)["status"] as? String == "stopped") }
            #expect((try await home.inspect("pod")["exit"] as? [String: Any])?["code"] as? Int == 0)
            let still = try await home.lunette("rm", "pod", expecting: 125)
            #expect(still.errorText.contains("share its namespaces"), "\(still.errorText)")
            try await home.lunette("start", "pod", "side")
            try await home.lunette("rm", "-f", "pod")
            #expect(try await home.lunette("ps", "-aq").text == "")
        }
    }

    @Test func aPodOutlivesItsEngine() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            try await home.lunette("run", "-d", "--new-pod", "--name", "pod")
            try await home.lunette("run", "-d", "--name", "member", "--pod", "pod", image, "sleep", "60")
            let engine = try #require(home.enginePID())
            kill(engine, SIGKILL)
            #expect(try await home.inspect("pod")["status"] as? String == "running")
            try await home.lunette("run", "--rm", "--pod", "pod", image, "true")
            try await home.lunette("rm", "-f", "pod")
            #expect(try await home.lunette("ps", "-aq").text == "")
        }
    }

    @Test(arguments: [
        (["--new-pod", "IMAGE"], "a pod has no image"), (["--new-pod", "--pod", "x"], "a pod is in no other"),
        (["--new-pod", "-e", "A=b"], "a pod runs no program"), (["--new-pod", "-v", "/tmp:/x"], "a pod runs no program"),
        (["--pod", "nope", "IMAGE"], "no container is called"),
        (["--pod", "p", "--network", "host", "IMAGE"], "can't stand beside network"),
    ])
    func podsAreRefusedWhatTheyHaveNoUseFor(_ arguments: [String], _ words: String) async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let line = ["run"] + arguments.map { $0 == "IMAGE" ? image : $0 }
            let finished = try await home.command(line).run(expecting: 125)
            #expect(finished.errorText.contains(words), "\(finished.errorText)")
            #expect(try await home.lunette("ps", "-aq").text == "")
        }
    }

    @Test(.requires(.file("/bin/busybox")))
    func theScriptRunsAPodAndCleansUp() async throws {
        try await withLunette { home in
            let output = try await home.lunette("\(LunetteHome.package)/scripts/pod.lua", timeout: .seconds(120)).text
            for expected in [
                "the sidecar reads over 127.0.0.1: hello from the pod", "the sidecar sees the server: yes", "host name example-pod",
                "one range for all: yes", "refused   invalid_state", "stopped   pod stopped, server stopped, sidecar stopped", "removed",
            ] {
                #expect(output.contains(expected), "\(output)")
            }
            #expect(try await home.lunette("ps", "-aq").text == "")
        }
    }
}
