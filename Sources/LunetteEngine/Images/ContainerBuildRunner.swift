import LunetteAPI
import LunetteImages
import LunetteLinux
import LunetteRuntime
import LunetteSpec

/// Runs a build's commands in containers of their own: no row, but a ledger row, so that a death in between leaves nothing.
struct ContainerBuildRunner: BuildRunner {
    let engine: Engine
    let call: Call
    let network: String

    func run(_ step: BuildRun, output: @escaping @Sendable ([UInt8]) -> Void) async throws(LunetteError) -> Int32 {
        let id = Identifier.container()
        let range = try await engine.state.promiseRange(reserved: engine.reservedRanges)
        let row = LedgerRow(.containerFiles, id, detail: ["build": .string(call.request.id)])
        do throws(LunetteError) {
            var changes = Changes()
            changes.ledger = [row]
            try await engine.state.commit(changes)
            faultPoint("build.ledger")
            let code = try await launch(id, step, range, output)
            faultPoint("build.ran")
            // What the step wrote becomes the store's upper; the container's own directory goes with the undo.
            try await blocking { [root = engine.configuration.root] () throws(LunetteError) in
                try atBorder("take over what the build step wrote") { () throws(SystemCallError) in
                    try takeOver(upper: "\(root)/containers/\(id)", for: step.upper)
                }
            }
            await undo(id, row, range)
            return code
        } catch {
            await undo(id, row, range)
            throw error
        }
    }

    private func launch(
        _ id: String, _ step: BuildRun, _ range: IDRange, _ output: @escaping @Sendable ([UInt8]) -> Void
    ) async throws(LunetteError) -> Int32 {
        var fields: ValueMap = [
            "rootfs": "/", "entrypoint": .array(Self.withoutShell(step.args).map(Value.string)), "network": .string(network),
            "hostname": "build", "init": true,
            "workdir": .string(step.workdir.isEmpty ? "/" : step.workdir),
        ]
        if !step.user.isEmpty { fields["user"] = .string(step.user) }
        var environment = ValueMap()
        for entry in step.env {
            if let (name, value) = entry.cut(at: "=") { environment[String(name)] = .string(String(value)) }
        }
        fields["env"] = .map(environment)
        let spec = try ContainerSpec(.map(fields))
        var request = CreateRequest(id: id, spec: spec, image: nil, root: .layers(step.lower), idRange: range)
        let (reading, writing) = try atBorder("make a pipe for the build's output") { () throws(SystemCallError) in
            try FileDescriptor.pipe()
        }
        let errors = try atBorder { () throws(SystemCallError) in try writing.duplicate() }
        // Our ends must go once the shim has its own: the relay reads until the last writer has closed.
        defer {
            writing.close()
            errors.close()
        }
        request.io = ProcessIO(stdout: writing, stderr: errors)
        let container = try await engine.host.create(request, launched: nil)
        let relay = Task { await blocking { relayLines(reading, output) } }
        do throws(LunetteError) {
            try await container.start()
            writing.close()
            errors.close()
            let exit = try await container.exit()
            await relay.value
            if let failure = exit.launchFailure { throw failure }
            return exit.code
        } catch {
            // The shim's end of the pipe goes with the undo, and the relay with it.
            throw error
        }
    }

    /// Runs a command that a shell would only split at its spaces without one, so that a step can be the one that installs the shell.
    static func withoutShell(_ args: [String]) -> [String] {
        guard args.count == 3, args[0] == "/bin/sh", args[1] == "-c", args[2].utf8.first == UInt8(ascii: "/") else { return args }
        let isPlain = args[2].utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                || " /._-:,+@%=".utf8.contains(byte)
        }
        return isPlain ? args[2].split(separator: " ").map(String.init) : args
    }

    private func undo(_ id: String, _ row: LedgerRow, _ range: IDRange) async {
        let report = await engine.host.reap(id: id, storage: true)
        await engine.state.withdraw(range: range)
        guard report.isClean else { return }
        var changes = Changes()
        changes.closedLedger = [row.key]
        do throws(LunetteError) { try await engine.state.commit(changes) } catch {
            // The row stays, and with it the undo, which then finds nothing.
        }
    }
}

/// Moves a container's upper over the empty directory that the store prepared. Blocks.
private func takeOver(upper container: String, for prepared: String) throws(SystemCallError) {
    let source = try Directory(container)
    let (parent, name) =
        prepared.lastIndex(of: "/").map { (String(prepared[..<$0]), String(prepared[prepared.index(after: $0)...])) } ?? (".", prepared)
    try source.rename("upper", to: name, in: try Directory(parent))
}

/// Hands output on as it comes. Blocks until the last writer has closed.
private func relayLines(_ descriptor: FileDescriptor, _ output: @Sendable ([UInt8]) -> Void) {
    while let bytes = try? descriptor.read(upTo: 65536), !bytes.isEmpty { output(bytes) }  // A pipe that fails has ended.
}
