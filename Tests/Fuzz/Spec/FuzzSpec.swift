import Foundation
import LunetteAPI
import LunetteLinux
import LunetteSpec

// libFuzzer's entry for what is read in full Swift. LUNETTE_FUZZ_TARGET: config, seccomp or wire. A crash, a trap or a broken promise is a finding;
// an error with a path is what bad input is owed.

// SAFETY: set by the first line of the process, read by its one thread.
nonisolated(unsafe) private var target = ""
// SAFETY: the same.
nonisolated(unsafe) private var isPlanted = false

private typealias Test = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
private typealias Arguments = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(_ argc: UnsafeMutablePointer<CInt>, _ argv: UnsafeMutablePointer<Arguments>, _ test: Test) -> CInt

/// What SwiftPM calls an executable's entry; libFuzzer's own main isn't linked then.
@_cdecl("lunette_fuzz_main")
public func entry(_ argc: CInt, _ argv: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
    let environment = ProcessInfo.processInfo.environment
    target = environment["LUNETTE_FUZZ_TARGET"] ?? "config"
    if let folder = environment["LUNETTE_FUZZ_SEEDS"] {
        do { try target == "wire" ? Seeds.writeFrames(to: folder) : Seeds.writePlans(to: folder) } catch { fatalError("\(error)") }
        return 0
    }
    isPlanted = environment["LUNETTE_FUZZ_PLANTED"] != nil
    var (argc, argv) = (argc, argv)
    return runDriver(&argc, &argv) { data, size in
        let bytes = Array(UnsafeBufferPointer(start: data, count: size))
        if isPlanted { trap(bytes) }
        switch target {
        case "seccomp": fuzzSeccomp(bytes)
        case "wire": fuzzWire(bytes)
        default: fuzzConfig(bytes)
        }
        return 0
    }
}

/// A bug that `scripts/dev/fuzz --self-check` wants found: an index too far once an input has three bytes that no kept one has all of. Each is its
/// own turn of the loop, so that what has one more of them counts as new.
private func trap(_ bytes: [UInt8]) {
    var found = 0
    for wanted: UInt8 in [0xF8, 0xFB, 0xFD] {
        guard bytes.contains(wanted) else { return }
        found += 1
    }
    if bytes[bytes.count - found + 3] == 0 { fatalError("anything, so that it is read") }
}

/// config.json → plan → the shim's bytes. What was read and can be written is read again as the same.
private func fuzzConfig(_ bytes: [UInt8]) {
    guard let document = try? JSON.decode(bytes, source: "config.json"), let spec = try? RuntimeSpec(document) else { return }
    let text = JSON.encode(spec.value)
    guard let again = try? RuntimeSpec(JSON.decode(Array(text.utf8), source: "itself")) else {
        fatalError("what was written isn't read: \(text)")
    }
    let second = JSON.encode(again.value)
    if second != text { fatalError("reading and writing isn't stable:\n\(text)\n\(second)") }
    for inputs in Seeds.inputs {
        guard let plan = try? LaunchPlanner.plan(spec, inputs) else { continue }
        guard let encoded = try? plan.encoded() else { continue }
        precondition(encoded.count.isMultiple(of: 8) && encoded.count <= LaunchEncoder.maximumSize)
        precondition(!plan.description.isEmpty)
    }
}

/// A profile in either dialect → a program that the kernel's own checker would take.
private func fuzzSeccomp(_ bytes: [UInt8]) {
    guard let document = try? JSON.decode(bytes, source: "profile") else { return }
    for dialect: SeccompProfile.Dialect in [.oci, .engine(Capability.defaults)] {
        guard let profile = try? SeccompProfile(document, dialect: dialect) else { continue }
        guard let again = try? SeccompProfile(profile.value, dialect: .oci), again.canonicalBytes == profile.canonicalBytes else {
            fatalError("what was written isn't read as the same: \(JSON.encode(profile.value))")
        }
        guard let program = try? SeccompCompiler.compile(profile) else { continue }
        check(program)
    }
}

/// As net/core/filter.c's bpf_check_classic and kernel/seccomp.c's seccomp_check_filter: known instructions, jumps that end inside, a return last.
private func check(_ program: [UInt8]) {
    guard let instructions = BPFInstruction.decode(program), (1...BPFInstruction.maximumCount).contains(instructions.count) else {
        fatalError("the program's size")
    }
    for (index, instruction) in instructions.enumerated() {
        switch instruction.code {
        case BPFInstruction.Code.loadWord: precondition(instruction.operand < 64 && instruction.operand.isMultiple(of: 4))
        case BPFInstruction.Code.and, BPFInstruction.Code.return: break
        case BPFInstruction.Code.jump: precondition(index + 1 + Int(instruction.operand) < instructions.count)
        case BPFInstruction.Code.jumpEqual, BPFInstruction.Code.jumpGreater, BPFInstruction.Code.jumpGreaterOrEqual,
            BPFInstruction.Code.jumpSet:
            precondition(index + 1 + Int(max(instruction.jumpTrue, instruction.jumpFalse)) < instructions.count)
        default: fatalError("instruction \(index) has code \(instruction.code)")
        }
    }
    precondition(instructions.last!.code == BPFInstruction.Code.return)
}

/// What the engine's socket gets: a stream in pieces → frames → requests → arguments checked against the registry.
///
///     input = size of a piece u8 | the stream
private func fuzzWire(_ bytes: [UInt8]) {
    guard let first = bytes.first else { return }
    var rest = bytes.dropFirst()
    let piece = max(1, Int(first))
    while !rest.isEmpty {
        // Where a frame ends doesn't depend on how its bytes arrive.
        guard let end = frameEnd(of: rest, inPiecesOf: rest.count), end == frameEnd(of: rest, inPiecesOf: piece) else {
            precondition(frameEnd(of: rest, inPiecesOf: piece) == nil, "the same bytes in pieces make a frame")
            return
        }
        precondition(end > 0 && end <= rest.count)
        fuzzFrame(Array(rest.prefix(end)))
        rest = rest.dropFirst(end)
    }
}

private func frameEnd(of stream: ArraySlice<UInt8>, inPiecesOf size: Int) -> Int? {
    var scanner = WireScanner(limit: 1 << 14)
    var arrived = 0
    while arrived < stream.count {
        arrived = min(stream.count, arrived + size)
        do { if let end = try scanner.end(in: stream.prefix(arrived)) { return end } } catch { return nil }
    }
    return nil
}

private func fuzzFrame(_ bytes: [UInt8]) {
    guard let frame = try? WireFrame(decoding: bytes) else { return }
    let written = frame.encoded
    guard let again = try? WireFrame(decoding: written), again.encoded == written else {
        fatalError("what was written isn't read as the same: \(frame)")
    }
    guard case .request(_, let method, let params) = frame else { return }
    let peer = Actor(uid: 1000, gid: 1000, pid: 1)
    guard let request = try? APIRequest(method: method, params: params, peer: peer, freshID: { "id" }) else { return }
    precondition(request.actor.uid == 1000, "a peer says who it is")
    guard let function = APIRegistry.function(method), (try? APIRegistry.check(request.arguments, for: function)) != nil else { return }
    _ = APIRegistry.withAbsolutePaths(request.arguments, for: function, directory: "/")
    // The schema says what a container's fields are, the spec's reader what they mean.
    if method.hasPrefix("container."), let spec = try? ContainerSpec(request.arguments) { precondition(!spec.value.isNull) }
}
