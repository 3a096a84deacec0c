import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

extension OCIBundle {
    /// Makes the probe, with these questions, the program.
    func asks(_ questions: String...) { change(["process": ["args": .array((["/probe"] + questions).map { .string($0) })]]) }

    /// Makes a line of shell the program.
    func shell(_ line: String) { change(["process": ["args": ["/bin/sh", "-c", .string(line)]]]) }

    /// Asks the probe in a created and started container, whose create's stdout it has.
    func answers() -> ProbeAnswers { ProbeAnswers(text: output, errors: errors) }

    /// The pid of the container's process, on the host.
    func pid() async throws -> Int32 { Int32(try #require(try await state()["pid"]?.intValue)) }

    /// The folder of the container's cgroup of v1, asked from the kernel.
    func cgroup(_ controller: String) async throws -> String {
        let lines = try String(contentsOfFile: "/proc/\(try await pid())/cgroup", encoding: .utf8).components(separatedBy: "\n")
        for line in lines {
            let parts = line.components(separatedBy: ":")
            if parts.count == 3, parts[1].components(separatedBy: ",").contains(controller) {
                return "/sys/fs/cgroup/\(controller)\(parts[2])"
            }
        }
        throw CommandFailure("no \(controller) in \(lines)")
    }

    /// A file of the container's cgroup, without the last newline.
    func cgroupFile(_ name: String, of controller: String) async throws -> String {
        let text = try String(contentsOfFile: "\(try await cgroup(controller))/\(name)", encoding: .utf8)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }

    /// A folder of the bundle, made.
    @discardableResult
    func makeFolder(_ name: String) throws -> String {
        let path = "\(folder)/\(name)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    /// A file of the bundle, written; the path is relative to the bundle.
    @discardableResult
    func makeFile(_ name: String, _ text: String = "") throws -> String {
        let path = "\(folder)/\(name)"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    func file(_ name: String) -> String {
        String(decoding: FileManager.default.contents(atPath: "\(folder)/\(name)") ?? Data(), as: UTF8.self)
    }

    /// A folder of the bundle that is a mount of the host's (tmpfs), with another one mounted below; both have a file.
    func makeMountedFolder(_ name: String, options: String = "defaults", propagation: String = "private") async throws -> String {
        let path = try makeFolder(name)
        cleanUp.add("unmount \(path)") { try await Command("umount", "-R", path).run() }
        try await Command.shell(
            """
            mount -t tmpfs none \(path); mkdir \(path)/below; echo upper > \(path)/file
            mount -t tmpfs none \(path)/below; echo lower > \(path)/below/file
            mount -o remount,bind,\(options) \(path)/below; mount -o remount,bind,\(options) \(path)
            mount --make-r\(propagation) \(path)
            """
        ).run()
        return path
    }

    /// Runs the probe with a terminal, which a listener on the console socket takes, as an engine's monitor would.
    func runInTerminal(_ questions: String...) async throws -> ProbeAnswers {
        change(["process": ["terminal": true, "args": .array((["/probe"] + questions + ["print=end"]).map { .string($0) })]])
        let socket = "\(folder)/console"
        let listener = try Command(try await CProbe.container.path(), "console", socket).start()
        try await listener.says("listening")
        try await create("--console-socket", socket)
        try await start()
        try await listener.says("end")
        try await becomes("stopped")
        let finished = try await listener.wait()
        return ProbeAnswers(finished)
    }
}

/// Says that `create` refuses the standard configuration with this change, and leaves nothing.
/// - Parameter word: what the message has to mention, where it is ours.
func expectRefused(_ change: Value, mentioning word: String? = nil, sourceLocation: SourceLocation = #_sourceLocation) async {
    await #expect(throws: Never.self, "\(change)", sourceLocation: sourceLocation) {
        try await withBundle { bundle in
            bundle.change(change)
            try await bundle.refusal(mentioning: word)
        }
    }
}

/// Says that `create` takes the standard configuration with this change.
func expectTaken(_ change: Value, sourceLocation: SourceLocation = #_sourceLocation) async {
    await #expect(throws: Never.self, "\(change)", sourceLocation: sourceLocation) {
        try await withBundle { bundle in
            bundle.change(change)
            try await bundle.create()
        }
    }
}
