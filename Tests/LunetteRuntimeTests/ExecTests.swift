import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteRuntime

@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/bin/busybox"))) struct ExecTests {
    /// A running container to exec in.
    private func withSleeper(
        _ change: (inout ContainerSpec) -> Void = { _ in }, _ body: (RuntimeFixture, Container, CreateRequest) async throws -> Void
    ) async throws {
        try await RuntimeFixture.with { fixture in
            let request = fixture.request("c1", ["sleep", "1000"], change)
            let container = try await fixture.runtime.create(request)
            try await container.start()
            try await body(fixture, container, request)
        }
    }

    /// Runs one exec to its end and reads what it wrote.
    private func exec(
        _ container: Container, _ request: CreateRequest, _ args: [String], id: String = "e\(UInt32.random(in: 0...UInt32.max))",
        input: String? = nil,
        _ change: (inout ExecSpec) -> Void = { _ in }
    ) async throws -> (output: String, errors: String, exit: ContainerExit) {
        var spec = ExecSpec(args: args)
        change(&spec)
        let (output, outputEnd) = try FileDescriptor.pipe()
        let (errors, errorsEnd) = try FileDescriptor.pipe()
        var exec = ExecRequest(id: id, spec: spec, container: request.spec, image: request.image)
        exec.io = ProcessIO(stdout: outputEnd, stderr: errorsEnd)
        if let input {
            let (inputEnd, source) = try FileDescriptor.pipe()
            try source.writeAll(Array(input.utf8))
            exec.io.stdin = inputEnd
        }
        let process = try await container.exec(exec)
        outputEnd.close()
        errorsEnd.close()
        let text = try await blocking { () throws(SystemCallError) in
            (
                String(decoding: try output.readAll(limit: 1 << 20), as: UTF8.self),
                String(decoding: try errors.readAll(limit: 1 << 20), as: UTF8.self)
            )
        }
        return (text.0, text.1, try await process.exit())
    }

    @Test func anExecJoinsAllNamespaces() async throws {
        try await withSleeper { fixture, container, request in
            let (output, errors, exit) = try await exec(container, request, ["sh", "-c", "hostname; id -u; echo oops >&2; exit 3"])
            #expect(output == "c1\n0\n")
            #expect(errors == "oops\n")
            #expect(exit.code == 3)
            let (links, problems, end) = try await exec(
                container, request, ["sh", "-c", "for n in user mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done"])
            let program = try #require(container.programPID)
            let inits = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"].map { readLink("/proc/\(program)/ns/\($0)") + "\n" }
                .joined()
            #expect(problems == "" && end.code == 0)
            #expect(links == inits)
            #expect(links.split(separator: "\n").count == 7)
        }
    }

    @Test func anExecHasItsOwnUserFolderAndVariables() async throws {
        try await withSleeper { fixture, container, request in
            let (output, _, exit) = try await exec(container, request, ["sh", "-c", "id; pwd; echo $COLOUR $PATH"]) {
                $0.user = try? UserString("web")
                $0.workdir = "/tmp"
                $0.env = ["COLOUR": "red"]
            }
            #expect(exit.code == 0)
            #expect(output.contains("uid=33(web) gid=33(web)"))
            #expect(output.contains("50(extra)"))
            #expect(output.hasSuffix("/tmp\nred /bin\n"))
        }
    }

    @Test func anExecReadsItsStdinToTheEnd() async throws {
        try await withSleeper { fixture, container, request in
            let (output, _, _) = try await exec(container, request, ["cat"], input: "given\n")
            #expect(output == "given\n")
        }
    }

    @Test func anExecThatCannotRunIsSaidBeforeItRuns() async throws {
        try await withSleeper { fixture, container, request in
            let failure = await #expect(throws: LunetteError.self) { try await exec(container, request, ["nosuchprogram"]) }
            #expect(failure?.code == .notFound)
            #expect(failure?.details?["exit_code"]?.intValue == 127)
            #expect(container.knownExit == nil)
        }
    }

    @Test func anExecIsKilledAloneAndAllEndWithTheContainer() async throws {
        try await withSleeper { fixture, container, request in
            let first = try await container.exec(
                ExecRequest(id: "a", spec: ExecSpec(args: ["sleep", "500"]), container: request.spec, image: request.image))
            let second = try await container.exec(
                ExecRequest(id: "b", spec: ExecSpec(args: ["sleep", "500"]), container: request.spec, image: request.image))
            try await container.kill(exec: "a", signal: SIGTERM)
            #expect(try await first.exit().signal == "SIGTERM")
            #expect(container.knownExit == nil)
            try await container.kill(signal: SIGKILL)
            #expect(try await second.exit().signal == "SIGKILL")
            _ = try await container.exit()
            await #expect(throws: LunetteError.self) {
                try await container.exec(
                    ExecRequest(id: "c", spec: ExecSpec(args: ["true"]), container: request.spec, image: request.image))
            }
        }
    }

    @Test func manyExecsRunAtOnce() async throws {
        try await withSleeper { fixture, container, request in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        let (output, _, exit) = try await exec(container, request, ["echo", "\(number)"], id: "e\(number)")
                        #expect(output == "\(number)\n")
                        #expect(exit.code == 0)
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}

private func readLink(_ path: String) -> String {
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = path.withCString { path in buffer.withUnsafeMutableBytes { readlink(path, $0.baseAddress!, $0.count) } }
    #expect(count > 0)
    return String(decoding: buffer.prefix(count), as: UTF8.self)
}
