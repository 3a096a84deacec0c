import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// Names in a bundle's root change places tens of thousands of times a second while `lunette-oci` works there, whose root is the host's: attacks
/// 2, 8, 9, 12, 17, 51. Beside each race the same is done the naive way, and must be led to the canary.
@Suite(
    .serialized, .runtimeUnderTest, .enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own defences"),
    .requires(.root, .command("gcc")))
struct PathRaceTests {
    /// `LUNETTE_RACE_ROUNDS`: 2,000 and more by hand; nil are the few that CI has time for.
    static let rounds = ProcessInfo.processInfo.environment["LUNETTE_RACE_ROUNDS"].flatMap { Int($0) }
    private static let launches = rounds ?? 50

    /// Does something the naive way until it has been led astray.
    /// - Parameter words: of `race beat`: use, place, name, canary.
    static func lose(_ words: [String]) async throws {
        let probe = try await CProbe.race.path()
        let naive = try await Command([probe, "beat"] + words + ["\(rounds ?? 50)", "30"]).run(timeout: .seconds(60))
        let beaten = ProbeAnswers(naive)["beaten"].flatMap { Int($0) } ?? 0
        undefended("a racer beats whoever looks first and uses the name then", beaten > 0, "\(words): \(naive.text)")
        print("  race \(words[0]): \(naive.lines.joined(separator: ", "))")
    }

    /// A bundle with two names that change places while `body` runs: `one`, and `other`, which leads to `outside`.
    private func race(
        _ use: String, _ name: String, canary: String, one: String = "data/dir", other: String = "data/link", file: String = "",
        body: (OCIBundle, _ outside: String, _ race: () async throws -> Racer) async throws -> Void
    ) async throws {
        let hidden = try Canary()
        defer { hidden.remove() }
        let outside = (hidden.path as NSString).deletingLastPathComponent
        try await withBundle { bundle in
            try FileManager.default.createDirectory(atPath: "\(bundle.rootfs)/data/dir/work", withIntermediateDirectories: true)
            try FileManager.default.createDirectory(atPath: "\(outside)/work", withIntermediateDirectories: true)
            #expect(symlink(outside + file, "\(bundle.rootfs)/\(other)") == 0)
            try await body(bundle, outside) {
                let racer = try await Racer(
                    "\(bundle.rootfs)/\(one)", "\(bundle.rootfs)/\(other)", stop: "\(bundle.folder)/stop", cleanUp: bundle.cleanUp)
                try await Self.lose([use, bundle.rootfs, name, "\(outside)/\(canary)"])
                return racer
            }
        }
        #expect(hidden.isUntouched)
    }

    /// Repeats a command of the runtime; each may fail cleanly.
    private func repeating(_ bundle: OCIBundle, _ words: String...) async throws -> [String] {
        let line = "\(bundle.runtime.path) --root \(bundle.root) \(words.joined(separator: " "))"
        return try await Command(["bash", "-c", "for i in $(seq \(Self.launches)); do \(line) 2>&1; done"]).run(
            expecting: nil, timeout: .seconds(580)
        ).lines
    }

    /// Root stands in a folder whose name its owner exchanges with a link: the sandbox's working folder is where root stands, not where the name leads.
    @Test(.requires(.userNamespaces)) func aSandboxIsWhereItsCallerStands() async throws {
        let hidden = try Canary()
        defer { hidden.remove() }
        let outside = (hidden.path as NSString).deletingLastPathComponent
        let place = "/tmp/lunette-race.\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: place) }
        try FileManager.default.createDirectory(atPath: "\(place)/real", withIntermediateDirectories: true)
        try Data().write(to: URL(fileURLWithPath: "\(place)/real/marker"))
        #expect(symlink(outside, "\(place)/link") == 0)
        let cleanUp = CleanUp()
        let racer = try await Racer("\(place)/real", "\(place)/link", stop: "\(place)/stop", cleanUp: cleanUp)
        try await Self.lose(["create", place, "real/made", "\(outside)/made"])
        unlink("\(outside)/made")
        let line = """
            for i in $(seq \(Self.launches)); do
                until cd \(place)/real 2>/dev/null && [ -e ./marker ]; do cd /; done
                \(LunetteHome.binary) sandbox -- sh -c 'echo wrote > file && echo ran' 2>&1
                cd /
            done
            """
        let said = try await Command(["bash", "-c", line]).run(expecting: nil, timeout: .seconds(300)).lines
        try await racer.stop()
        #expect(await cleanUp.run() == [])
        #expect(said.contains("ran"), "\(said.prefix(5))")
        let there = try FileManager.default.contentsOfDirectory(atPath: outside)
        #expect(there == ["canary"], "\(there)")
        #expect(hidden.isUntouched)
    }

    /// CVE-2021-30465, CVE-2024-45310, without a user namespace: no file or folder appears on the host, nothing is mounted there.
    @Test func mountTargetsStayInside() async throws {
        try await race("mkdir", "data/dir/made", canary: "made") { bundle, outside, start in
            bundle.mount(
                ["destination": "/data/dir/made", "type": "tmpfs", "source": "tmpfs"],
                ["destination": "/data/dir/de/ep/file", "type": "bind", "source": "/proc/version", "options": ["bind"]],
                ["destination": .string("/\(bundle.id)/made"), "type": "tmpfs", "source": "tmpfs"])
            bundle.cleanUp.add("remove what was made on the host") {
                for folder in ["/\(bundle.id)/made", "/\(bundle.id)"] { rmdir(folder) }
            }
            bundle.change(["process": ["args": ["/bin/sh", "-c", "echo ran; cat /data/dir/canary 2>/dev/null"]]])
            try bundle.write()
            let racer = try await start()
            let said = try await repeating(bundle, "run", "--bundle", bundle.folder, bundle.id)
            try await racer.stop()
            #expect(said.contains("ran"), "\(said.prefix(3))")
            #expect(!said.contains { $0.contains("canary ") && !$0.hasPrefix("lunette-oci") })
            #expect(try FileManager.default.contentsOfDirectory(atPath: outside).sorted() == ["canary", "work"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(outside)/work") == [])
            // The same path of the host's: a root that isn't one.
            #expect(!FileManager.default.fileExists(atPath: "/\(bundle.id)"))
        }
    }

    /// CVE-2024-21626's kin: the working folder of a container and of an exec.
    @Test(arguments: ["run", "exec"])
    func workingFoldersStayInside(_ command: String) async throws {
        try await race("chdir", "data/dir/work", canary: "work") { bundle, outside, start in
            try Data("ASTRAY\n".utf8).write(to: URL(fileURLWithPath: "\(outside)/work/note"))
            try Data("inside\n".utf8).write(to: URL(fileURLWithPath: "\(bundle.rootfs)/data/dir/work/note"))
            let reading: [Value] = ["/bin/cat", "note"]
            let said: [String]
            let racer: Racer
            if command == "run" {
                bundle.change(["process": ["cwd": "/data/dir/work", "args": .array(reading)]])
                try bundle.write()
                racer = try await start()
                said = try await repeating(bundle, "run", "--bundle", bundle.folder, bundle.id)
            } else {
                bundle.change(["process": ["args": ["/probe", "pause"]]])
                try await bundle.create()
                try await bundle.start()
                racer = try await start()
                said = try await repeating(bundle, "exec", "--cwd", "/data/dir/work", bundle.id, "/bin/cat note")
            }
            try await racer.stop()
            #expect(said.contains("inside"), "\(said.prefix(3))")
            #expect(!said.contains { $0.contains("ASTRAY") })
        }
    }

    /// The container's own passwd file, or the folder that it lies in, becomes a link to one of the host's that says otherwise.
    @Test(arguments: ["folder", "file"])
    func usersAreLookedUpInside(_ what: String) async throws {
        let isFile = what == "file"
        try await race(
            "read", "etc/passwd", canary: "passwd", one: isFile ? "etc/passwd" : "etc", other: isFile ? "etc/evil" : "evil",
            file: isFile ? "/passwd" : ""
        ) { bundle, outside, start in
            func write(_ folder: String, _ uid: Int) throws {
                try Data("app:x:\(uid):\(uid)::/:/bin/sh\n".utf8).write(to: URL(fileURLWithPath: "\(folder)/passwd"))
            }
            try write("\(bundle.rootfs)/etc", 1000)
            try write(outside, 4242)
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            try await bundle.start()
            let racer = try await start()
            let said = try await repeating(bundle, "exec", "--user", "app", bundle.id, "/bin/id -u")
            try await racer.stop()
            #expect(said.contains("1000"), "\(said.prefix(3))")
            #expect(!said.contains("4242"))
            #expect(said.allSatisfy { $0 == "1000" || $0.hasPrefix("lunette-oci: ") || $0.hasPrefix("hint: ") }, "\(Set(said))")
        }
    }

    /// A hook of the container's own side (`startContainer`): its path is the container's, and so is what runs.
    @Test func hooksOfTheContainerStayInside() async throws {
        try await race("exec", "data/dir/hook", canary: "ran") { bundle, outside, start in
            func write(_ path: String, _ line: String) throws {
                try Data("#!/bin/sh\n\(line)\n".utf8).write(to: URL(fileURLWithPath: path))
                chmod(path, 0o755)
            }
            try write("\(outside)/hook", ": > \"$1\"")
            try write("\(bundle.rootfs)/data/dir/hook", "exit 0")
            let hook: Value = ["path": "/data/dir/hook", "args": ["hook", .string("\(outside)/ran")], "timeout": 20]
            bundle.change(["process": ["args": ["/bin/sh", "-c", "echo ran"]], "hooks": ["startContainer": [hook]]])
            try bundle.write()
            let racer = try await start()
            let said = try await repeating(bundle, "run", "--bundle", bundle.folder, bundle.id)
            try await racer.stop()
            #expect(said.contains("ran"), "\(said.prefix(3))")
            #expect(!FileManager.default.fileExists(atPath: "\(outside)/ran"))
        }
    }
}

/// Exchanges two names of the host until it is stopped.
struct Racer {
    private let command: RunningCommand
    private let file: String

    /// - Parameter stop: a file whose appearance ends it.
    init(_ one: String, _ other: String, stop: String, cleanUp: CleanUp) async throws {
        file = stop
        let started = try Command(try await CProbe.race.path(), "swap", one, other, stop).start()
        cleanUp.add("end the racer") {
            started.signal(SIGKILL)
            _ = try await started.wait()
        }
        command = started
        try await started.says("swapping ok")
    }

    func stop() async throws {
        try Data().write(to: URL(fileURLWithPath: file))
        let finished = try await command.wait()
        let swaps = ProbeAnswers(finished)["swapped"].flatMap { Int($0) } ?? 0
        #expect(swaps > 10_000, "the racer swapped \(swaps) times: \(finished.text)")
    }
}
