import Foundation
import LunetteImages
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@Suite("building images") struct BuildTests {
    /// Mounts the layers as the engine would and runs the command by chroot: the hook's contract without a container.
    struct ChrootRunner: BuildRunner {
        func run(_ step: BuildRun, output: @escaping @Sendable ([UInt8]) -> Void) async throws(LunetteError) -> Int32 {
            do {
                let root = (step.upper as NSString).deletingLastPathComponent + "/root"
                try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
                let options = "redirect_dir=off,lowerdir=\(step.lower.joined(separator: ":")),upperdir=\(step.upper),workdir=\(step.work)"
                try await Command("mount", "-t", "overlay", "overlay", "-o", options, root).run()
                let finished = try await Command(["chroot", root] + step.args).run(expecting: nil)
                try await Command("umount", root).run()
                output(Array(finished.stdout))
                return finished.code
            } catch { throw LunetteError(.io, "\(error)") }
        }
    }

    private func context(_ workspace: Workspace) throws -> String {
        let folder = "\(workspace.folder)/context"
        try FileManager.default.createDirectory(atPath: "\(folder)/sub", withIntermediateDirectories: true)
        try Data("one".utf8).write(to: URL(fileURLWithPath: "\(folder)/one"))
        try Data("two".utf8).write(to: URL(fileURLWithPath: "\(folder)/sub/two"))
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/link", withDestinationPath: "/etc/passwd")
        return folder
    }

    @Test("from scratch: files, modes, owners, links, config", .requires(.root)) func scratch() async throws {
        try await withWorkspace { workspace in
            let folder = try context(workspace)
            let store = try await workspace.open()
            let spec = try BuildSpec(
                value: [
                    "tag": "localhost/built:1", "from": "scratch",
                    "copy": [
                        ["from": .string(folder), "to": "/app"], ["from": "context/one", "to": "/bin/", "mode": "0755", "owner": "12:34"],
                        ["from": "/bin/sh", "to": "/bin/sh"],
                    ],
                    "config": [
                        "entrypoint": ["/bin/sh"], "cmd": ["-c", "true"], "env": ["A": "1"], "workdir": "/app", "user": "12",
                        "labels": ["x": "y"],
                        "exposed_ports": [80, "53/udp"], "volumes": ["/data"],
                    ],
                ], workingDirectory: workspace.folder)
            let image = try await store.build(spec, runner: nil)
            #expect(image.references == ["localhost/built:1"])
            #expect(image.layers.count == 1)
            let output = try await Command.shell("cd \(image.snapshotPaths[0]) && find . -mindepth 1 -printf '%P %y %m %U:%G %l\\n' | sort")
                .run().text
            let mode = try await Command("stat", "-Lc", "%a", "/bin/sh").run().text
            #expect(
                output == """
                    app d 755 0:0\u{20}
                    app/link l 777 0:0 /etc/passwd
                    app/one f 644 0:0\u{20}
                    app/sub d 755 0:0\u{20}
                    app/sub/two f 644 0:0\u{20}
                    bin d 755 0:0\u{20}
                    bin/one f 755 12:34\u{20}
                    bin/sh f \(mode) 0:0\u{20}
                    """)
            let config = image.config.config
            #expect(
                config.entrypoint == ["/bin/sh"] && config.cmd == ["-c", "true"] && config.env == ["A=1"] && config.workingDir == "/app")
            #expect(
                config.user == "12" && config.labels == ["x": "y"] && config.exposedPorts == ["53/udp", "80/tcp"]
                    && config.volumes == ["/data"])
            #expect(try await store.check().isClean)
            #expect(workspace.leftovers() == [])
        }
    }

    /// Leaves folders within folders behind.
    struct DeepRunner: BuildRunner {
        let levels: Int
        func run(_ step: BuildRun, output: @escaping @Sendable ([UInt8]) -> Void) async throws(LunetteError) -> Int32 {
            do { try Directory(step.upper).makeDeepTree("d", levels: levels, file: "file") } catch { throw LunetteError(.io, "\(error)") }
            return 0
        }
    }

    @Test(
        "folders as deep as a layer may hold are built and unpacked; deeper ones are an error", .requires(.root), arguments: [511, 2000])
    func deep(_ levels: Int) async throws {
        try await withWorkspace { workspace in
            let context = try Directory(workspace.folder).makeDirectory("context")
            try context.makeDeepTree("d", levels: levels, file: "file")
            let store = try await workspace.open()
            var copy = BuildSpec()
            copy.copy = [.init(from: context.label, to: "/")]
            var run = BuildSpec()
            run.run = [.exec(["deep"])]
            for spec in [copy, run] {
                if levels == 511 {
                    let image = try await store.build(spec, runner: DeepRunner(levels: levels))
                    #expect(try Directory(image.snapshotPaths[0]).levels(of: "d") == 511)
                } else {
                    let error = await #expect(throws: LunetteError.self) {
                        _ = try await store.build(spec, runner: DeepRunner(levels: levels))
                    }
                    #expect(error?.message.contains("lies deeper than 512 folders or 4095 bytes") == true, "\(String(describing: error))")
                }
            }
            #expect(workspace.leftovers() == [])
            try context.removeTree("d")
        }
    }

    @Test("the same inputs give the same image", .requires(.root)) func reproducible() async throws {
        try await withWorkspace { workspace in
            let folder = try context(workspace)
            let store = try await workspace.open()
            var spec = BuildSpec()
            spec.copy = [.init(from: folder, to: "/app")]
            spec.timestamp = 1_700_000_000
            let first = try await store.build(spec, runner: nil)
            try await Command.shell("touch \(folder)/one \(folder)/sub/two \(folder)/sub \(folder)").run()
            let second = try await ImageStore.open(root: "\(workspace.folder)/other").build(spec, runner: nil)
            #expect(first.digest == second.digest)
        }
    }

    @Test("on a base: links of the base are followed, its folders keep their look, its config is merged", .requires(.root)) func base()
        async throws
    {
        try await withWorkspace { workspace in
            let folder = try context(workspace)
            var tar = TarBuilder()
            tar.folder("usr/lib", mode: 0o750)
            tar.link("lib", to: "usr/lib")
            tar.link("abs", to: "/usr/lib")
            tar.link("evil", to: "../../../../etc")
            tar.add("etc/passwd", Array("ada:x:77:88::/:/bin/sh\n".utf8))
            _ = try await workspace.load([tar.finished])
            let store = try await workspace.open()
            var spec = BuildSpec()
            spec.from = "test.local/image:1"
            spec.copy = [
                .init(from: "\(folder)/one", to: "/lib/one"), .init(from: "\(folder)/one", to: "/abs/two"),
                .init(from: folder, to: "/lib", owner: "ada"),
                .init(from: "\(folder)/one", to: "/evil/three"),
            ]
            let image = try await store.build(spec, runner: nil)
            let output = try await Command.shell("cd \(image.snapshotPaths[0]) && find . -mindepth 1 -printf '%P %y %m %U:%G\\n' | sort")
                .run().text
            #expect(
                output == """
                    etc d 755 0:0
                    etc/three f 644 0:0
                    usr d 755 0:0
                    usr/lib d 750 0:0
                    usr/lib/link l 777 77:88
                    usr/lib/one f 644 77:88
                    usr/lib/sub d 755 77:88
                    usr/lib/sub/two f 644 77:88
                    usr/lib/two f 644 0:0
                    """)
        }
    }

    @Test("commands become layers with whiteouts; a failing one ends the build", .requires(.root, .overlay)) func runs() async throws {
        try await withWorkspace { workspace in
            let store = try await workspace.open()
            _ = try await store.load(try await TestImage.busybox.folder(), tag: "localhost/busybox:1")
            var spec = BuildSpec()
            spec.from = "localhost/busybox:1"
            spec.tag = "localhost/ran:1"
            spec.run = [
                "mkdir -p /d && echo hi >/d/x && ln /d/x /d/y",
                "rm /d/x && rm -rf /bin/busybox.gone; mkdir /n; rm -r /d; mkdir /d; echo new >/d/z",
            ]
            let image = try await store.build(spec, runner: ChrootRunner())
            #expect(image.layers.count == 3)
            let tar = "\(workspace.folder)/out.tar"
            try await store.save(["localhost/ran:1"], to: tar)
            // The layer's own tar, as other tools read it.
            let blob = "\(workspace.root)/content/blobs/sha256/\(image.layers[2].digest.dropFirst(7))"
            let names = try await Command("tar", "-tzf", blob).run().lines
            #expect(names.contains("d/.wh..wh..opq"))
            #expect(names.contains("d/z"))
            let first = try await Command("tar", "-tvzf", "\(workspace.root)/content/blobs/sha256/\(image.layers[1].digest.dropFirst(7))")
                .run().text
            #expect(first.contains("d/y link to d/x"))
            try await Command("umoci", "unpack", "--image", "\(workspace.root)/content:localhost/ran:1", "\(workspace.folder)/bundle").run(
                expecting: nil)
            spec.run = ["exit 3"]
            let failing = spec
            let error = await #expect(throws: LunetteError.self) { try await store.build(failing, runner: ChrootRunner()) }
            #expect(error?.code == .exitStatus)
            #expect(error?.path == "run[1]")
            #expect(workspace.paths("builds") == [])
        }
    }

    @Test("wrong items are errors with their field", .requires(.root)) func wrong() async throws {
        try await withWorkspace { workspace in
            let store = try await workspace.open()
            for (copy, code) in [
                (BuildSpec.Copy(from: "/no/such", to: "/x"), ErrorCode.notFound),
                (.init(from: "/etc/passwd", to: "relative"), .invalidArgument),
                (.init(from: "/etc/passwd", to: "/x", owner: "nobody-there"), .invalidArgument),
                (.init(from: "/dev/null", to: "/x"), .invalidArgument),
                (.init(from: "/etc/passwd", to: "/x", owner: "70000"), .invalidArgument),
            ] {
                var spec = BuildSpec()
                spec.copy = [copy]
                let wrong = spec
                let error = await #expect(throws: LunetteError.self) { try await store.build(wrong, runner: nil) }
                #expect(error?.code == code, "\(copy)")
            }
            #expect(throws: LunetteError.self) { try BuildSpec(value: ["copi": []], workingDirectory: "/") }
            #expect(throws: LunetteError.self) { try BuildSpec(value: ["run": [["a", 1]]], workingDirectory: "/") }
            let both = try BuildSpec(value: ["run": ["echo hi", ["/bin/busybox", "true"]]], workingDirectory: "/")
            #expect(both.run == [.shell("echo hi"), .exec(["/bin/busybox", "true"])])
            #expect(workspace.leftovers() == [])
        }
    }
}
