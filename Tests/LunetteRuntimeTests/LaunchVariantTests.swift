import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteRuntime

@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/bin/busybox"))) struct LaunchVariantTests {
    @Test func groupsAreRefusedWhereTheyCannotBeSet() throws {
        try ContainerRuntime.refuse(groups: [])
        let error = #expect(throws: LunetteError.self) { try ContainerRuntime.refuse(groups: [5, 6]) }
        #expect(error?.message.hasPrefix("add the groups 5, 6: ") == true && error?.hint?.contains("/etc/subgid") == true)
    }

    @Test func aRootfsFolderIsUsedAsItIs() async throws {
        try await RuntimeFixture.with { fixture in
            var request = fixture.request("c1", ["sh", "-c", "echo kept > /written; stat -c %u:%g /written"])
            request.root = .directory(fixture.layer)
            let (output, exit) = try await fixture.run(request)
            #expect(exit.code == 0)
            #expect(output == "0:0\n")
            let layer = try Directory(fixture.layer)
            #expect(try layer.read("written") == Array("kept\n".utf8))
            #expect(try layer.status("written")?.uid == 0)
        }
    }

    @Test func withoutAUserNamespaceItSaysSo() async throws {
        try await RuntimeFixture.with { fixture in
            var request = fixture.request("c1", ["sh", "-c", "cat /proc/self/uid_map; hostname; grep -c . /proc/self/status"]) {
                $0.security.hasUserNamespace = false
            }
            request.idRange = nil
            let container = try await fixture.runtime.create(request)
            #expect(container.record.notEnforced.contains { $0.field == "security.user_namespace" })
            try await container.start()
            #expect(try await container.exit().code == 0)
            let output = try await fixture.log()
            #expect(output.split(whereSeparator: \.isWhitespace).prefix(4).joined(separator: " ") == "0 0 4294967295 c1")
        }
    }

    @Test func aContainerJoinsAnothersNetwork() async throws {
        try await RuntimeFixture.with { fixture in
            let first = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await first.start()
            var request = fixture.request("c2", ["sh", "-c", "readlink /proc/self/ns/net; readlink /proc/self/ns/user"]) {
                $0.network = .container("c1")
            }
            request.joinNetworkOf = first.record.initProcess
            let (output, exit) = try await fixture.run(request)
            #expect(exit.code == 0)
            let pid = try #require(first.record.initProcess?.pid)
            #expect(output == link(pid, "net") + "\n" + link(pid, "user") + "\n")
            try await first.kill(signal: SIGKILL)
            _ = try await first.exit()
            // Its init has told the program's end, and may not have ended itself yet.
            if let initProcess = first.record.initProcess?.open() { #expect(initProcess.waitForExit(milliseconds: 30_000)) }
            let failure = await #expect(throws: LunetteError.self) { try await fixture.runtime.create(request) }
            #expect(failure?.code == .invalidState)
        }
    }

    private func link(_ pid: Int32, _ kind: String) -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = "/proc/\(pid)/ns/\(kind)".withCString { path in
            buffer.withUnsafeMutableBytes { readlink(path, $0.baseAddress!, $0.count) }
        }
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    @Test func aHostFolderKeepsTheContainersIdsOnDisk() async throws {
        try await RuntimeFixture.with { fixture in
            let data = try Directory(making: "\(fixture.folder)/data")
            #expect(chmod(data.label, 0o777) == 0)
            var request = fixture.request("c1", ["sh", "-c", "touch /data/file; stat -c %u:%g /data/file"]) {
                $0.mounts = [MountSpec(.volume, source: "v", target: "/data")]
                $0.user = try? UserString("33:50")
            }
            request.mounts = [.init(index: 0, sources: [data.label])]
            let (output, exit) = try await fixture.run(request)
            #expect(exit.code == 0)
            #expect(output == "33:50\n")
            let file = try #require(try data.status("file"))
            #expect(file.uid == 33 && file.gid == 50)
            request.mounts[0].readonly = true
            #expect(try await fixture.run(request).exit.code == 0)
            let (denied, _) = try await fixture.run(request)
            #expect(denied.contains("Read-only file system"))
        }
    }

    /// Attack 3: descriptors that the caller leaks stay outside.
    @Test func strayDescriptorsOfTheEngineDoNotReachTheContainer() async throws {
        try await RuntimeFixture.with { fixture in
            let strays = (0..<40).map { _ in open("/etc", O_RDONLY | O_DIRECTORY) }
            defer { for stray in strays { close(stray) } }
            let plain = try await Command("bash", "-c", "exec 7</etc 8</etc; ls -l /proc/self/fd | grep -c etc").run().text
            undefended("a program that is started as it is finds what was left open", plain == "2", plain)
            let (output, _) = try await fixture.run("ls -l /proc/self/fd /proc/1/fd 2>/dev/null | grep -c etc")
            #expect(output == "0\n")
            let (numbers, _) = try await fixture.run("cd /proc/self/fd; echo *")
            // The shell's own descriptor for the directory may be there while it expands.
            #expect(numbers.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.filter { $0 < 3 } == [0, 1, 2])
            #expect(numbers.split(whereSeparator: \.isWhitespace).count <= 4)
        }
    }

    @Test func thePlanIsPrintedWithoutAnythingBeingMade() async throws {
        try await RuntimeFixture.with { fixture in
            let (plan, spec) = try await fixture.runtime.describeLaunch(fixture.request("c1", ["true"]))
            #expect(plan.contains("pivot-root"))
            #expect(plan.contains("/lunette/c1"))
            #expect(spec["process"]?["args"]?.arrayValue == ["true"])
            let survey = try await fixture.runtime.survey()
            #expect(survey.ids.isEmpty)
        }
    }
}
