import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteRuntime

@Suite(.requires(.root, .overlay, .userNamespaces, .file("/usr/bin/busybox"))) struct CopyTests {
    private func put(_ path: String, _ text: String) throws {
        let (folder, name) = (path.prefix(upTo: path.lastIndex(of: "/")!), path.suffix(from: path.index(after: path.lastIndex(of: "/")!)))
        try Directory(making: String(folder)).write(String(name), Array(text.utf8), mode: 0o640)
    }

    private func withRunning(_ body: (RuntimeFixture, Container, String) async throws -> Void) async throws {
        try await RuntimeFixture.with { fixture in
            let container = try await fixture.runtime.create(fixture.request("c1", ["sleep", "1000"]))
            try await container.start()
            let host = try Directory(making: "\(fixture.folder)/host").label
            try await body(fixture, container, host)
        }
    }

    @Test func filesGoInAndComeOutOfARunningContainer() async throws {
        try await withRunning { fixture, container, host in
            try put("\(host)/tree/deep/file", "content")
            #expect(symlink("/etc/shadow", "\(host)/tree/link") == 0)
            try await fixture.runtime.copyIn(
                id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "\(host)/tree", to: "/tmp")
            try await fixture.runtime.copyIn(
                id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "\(host)/tree/.", to: "/tmp/renamed")
            // On disk the ids are the container's own: what belongs to its root belongs to 0.
            let upper = try Directory("\(fixture.folder)/r/containers/c1/upper")
            let file = try #require(try upper.openDirectory("tmp/tree/deep").status("file"))
            #expect(file.uid == 0 && file.gid == 0 && file.permissions == 0o640)
            #expect(try upper.exists("tmp"))
            #expect(try upper.openDirectory("tmp/renamed").exists("deep"))
            try await fixture.runtime.copyOut(
                id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "/tmp/tree", to: "\(host)/back")
            #expect(try Directory("\(host)/back/deep").read("file") == Array("content".utf8))
            #expect(try Directory("\(host)/back").status("link")?.kind == .symbolicLink)
            try await fixture.runtime.copyOut(
                id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "/etc/hostname", to: host)
            #expect(try Directory(host).read("hostname") == Array("c1\n".utf8))
        }
    }

    @Test func foldersOfAnyDepthGoInAndOut() async throws {
        try await withRunning { fixture, container, host in
            let files = CopyFiles(name: "c1", layers: [])
            try Directory(host).makeDeepTree("tree", levels: 2000, file: "file")
            try await fixture.runtime.copyIn(id: "c1", container: container, files: files, from: "\(host)/tree", to: "/tmp")
            try await fixture.runtime.copyOut(id: "c1", container: container, files: files, from: "/tmp/tree", to: "\(host)/back")
            #expect(try Directory(host).levels(of: "back") == 2000)
        }
    }

    /// A name that is no UTF-8 hides nothing, and two that look alike when repaired are two.
    @Test func changesOfAnyNameAreListed() async throws {
        try await RuntimeFixture.with { fixture in
            let line = #"cd /bin; touch $(printf '\376x') $(printf '\377x'); cd /tmp; mkdir $(printf 'd\377é'); touch $(printf 'd\377é')/f"#
            func run(_ line: String) async throws {
                let container = try await fixture.runtime.create(fixture.request("c1", ["sh", "-c", line]))
                try await container.start()
                #expect(try await container.exit().code == 0)
                #expect(await fixture.runtime.reap(id: "c1", ReapOptions(storage: false)).isClean)
            }
            try await run(line)
            func paths() async throws -> [String] {
                try await fixture.runtime.changes(id: "c1", name: "c1", layers: [fixture.layer], hidden: []).map {
                    "\($0.kind) \($0.path)"
                }
            }
            let listed = try await paths()
            for path in [#"/bin/\xfex"#, #"/bin/\xffx"#, #"/tmp/d\xffé"#, #"/tmp/d\xffé/f"#] {
                #expect(listed.contains("added " + path), "\(listed)")
            }
            // Of the image too: changed, removed by itself, and hidden by a folder made anew.
            let layer = try Directory(fixture.layer)
            let folder = try layer.makeDirectory("raw")
            for name in ["\\377a", "\\377b"] { _ = try await Command("sh", "-c", "touch $(printf '\(folder.label)/\(name)')").run() }
            try await run(#"echo x > $(printf '/raw/\377a'); rm $(printf '/raw/\377b')"#)
            let changed = try await paths()
            #expect(changed.contains(#"changed /raw/\xffa"#) && changed.contains(#"removed /raw/\xffb"#), "\(changed)")
            try await run("rm -r /raw; mkdir /raw")
            let hidden = try await paths()
            #expect(hidden.contains(#"removed /raw/\xffa"#) && hidden.contains(#"removed /raw/\xffb"#), "\(hidden)")
        }
    }

    @Test func whatHoldsTheRuntimesMountPointsAloneIsNotChanged() async throws {
        try await withRunning { fixture, _, _ in
            let image = try Directory(fixture.layer)
            for name in ["own", "theirs", "mode"] { _ = try image.makeDirectory(name).makeDirectory("inner", mode: 0o755) }
            let upper = try Directory("\(fixture.folder)/r/containers/c1/upper")
            for name in ["own", "theirs", "mode"] {
                let inner = try upper.makeDirectory(name).makeDirectory("inner", mode: name == "mode" ? 0o700 : 0o755)
                try inner.create("hosts", [])
                if name == "theirs" { try inner.create("file", [120]) }
            }
            let hidden = Set(["own", "theirs", "mode"].map { "/\($0)/inner/hosts" })
            let changes = try await fixture.runtime.changes(id: "c1", name: "c1", layers: [fixture.layer], hidden: hidden)
            let paths = changes.map(\.path)
            #expect(!paths.contains { $0.hasPrefix("/own") }, "\(paths)")
            #expect(paths.filter { $0.hasPrefix("/theirs") } == ["/theirs", "/theirs/inner", "/theirs/inner/file"], "\(paths)")
            #expect(paths.filter { $0.hasPrefix("/mode") } == ["/mode", "/mode/inner"], "\(paths)")
        }
    }

    /// Paths that nobody can use aren't listed: the error says where they begin.
    @Test func changesAreListedAsDeepAsPathsReach() async throws {
        try await withRunning { fixture, _, _ in
            func changes() async throws -> [FileChange] {
                try await fixture.runtime.changes(id: "c1", name: "c1", layers: [fixture.layer], hidden: [])
            }
            let upper = try Directory("\(fixture.folder)/r/containers/c1/upper")
            _ = try upper.makeDirectory("tmp")
            let before = try await changes().count
            try upper.openDirectory("tmp").makeDeepTree("d", levels: 2045)
            let deepest = try await changes()
            #expect(deepest.count == before + 2045 && deepest.last?.path == "/tmp" + String(repeating: "/d", count: 2045))
            try upper.openDirectory("tmp").removeTree("d")
            try upper.openDirectory("tmp").makeDeepTree("d", levels: 2500)
            let error = await #expect(throws: LunetteError.self) { _ = try await changes() }
            #expect(error?.message.contains("list a path longer than 4095 bytes /tmp/d/d/d") == true, "\(String(describing: error))")
            #expect(error?.message.contains("…") == true && error?.message.utf8.count ?? 0 < 500)
        }
    }

    @Test func aStoppedContainersFilesAreReachedToo() async throws {
        try await withRunning { fixture, container, host in
            try await container.kill(signal: SIGKILL)
            _ = try await container.exit()
            #expect(await fixture.runtime.reap(id: "c1", ReapOptions(storage: false)).isClean)
            try put("\(host)/file", "stopped")
            try await fixture.runtime.copyIn(
                id: "c1", container: nil, files: CopyFiles(name: "c1", layers: [fixture.layer]), from: "\(host)/file", to: "/etc/new")
            try await fixture.runtime.copyOut(
                id: "c1", container: nil, files: CopyFiles(name: "c1", layers: [fixture.layer]), from: "/etc", to: "\(host)/etc")
            #expect(try Directory("\(host)/etc").read("new") == Array("stopped".utf8))
            #expect(try Directory("\(host)/etc").exists("passwd"))
            let again = try await fixture.runtime.create(fixture.request("c1", ["cat", "/etc/new"]))
            try await again.start()
            #expect(try await again.exit().code == 0)
            #expect(try await fixture.log() == "stopped")
        }
    }

    /// A second overlay on the same upper and work would take them from a start that comes now.
    @Test func readingAStoppedContainerMakesAndMountsNothingOfIt() async throws {
        try await withRunning { fixture, container, host in
            let exec = try await container.exec(
                ExecRequest(
                    id: "e", spec: ExecSpec(args: ["sh", "-c", "echo mine > /etc/own; rm /etc/passwd"]),
                    container: fixture.request("c1", ["x"]).spec, image: ImageProcessConfig()))
            #expect(try await exec.exit().code == 0)
            try await container.kill(signal: SIGKILL)
            _ = try await container.exit()
            #expect(await fixture.runtime.reap(id: "c1", ReapOptions(storage: false)).isClean)
            let store = try Directory("\(fixture.folder)/r/containers/c1")
            try store.removeTree("work")
            let files = CopyFiles(name: "c1", layers: [fixture.layer])
            try await fixture.runtime.copyOut(id: "c1", container: nil, files: files, from: "/etc", to: "\(host)/etc")
            #expect(try Directory("\(host)/etc").read("own") == Array("mine\n".utf8))
            #expect(try !Directory("\(host)/etc").exists("passwd"))
            #expect(try !store.exists("work"))
            // One that never ran, or is gone.
            try await fixture.runtime.copyOut(id: "c2", container: nil, files: files, from: "/etc/passwd", to: host)
            #expect(try Directory(host).exists("passwd"))
            #expect(try !Directory("\(fixture.folder)/r/containers").exists("c2"))
        }
    }

    @Test func linksOfTheContainerLeadNowhereOnTheHost() async throws {
        try await withRunning { fixture, container, host in
            try put("\(host)/canary", "untouched")
            let exec = try await container.exec(
                ExecRequest(
                    id: "e",
                    spec: ExecSpec(args: [
                        "sh", "-c", "ln -s \(host) /escape; ln -s ../../../../../../..\(host)/canary /up; ln -s /etc /inside",
                    ]),
                    container: fixture.request("c1", ["x"]).spec, image: ImageProcessConfig()))
            #expect(try await exec.exit().code == 0)
            let upper = "\(fixture.folder)/r/containers/c1/upper"
            for path in ["\(upper)/escape/canary", "\(upper)/up"] {
                let read = try await Command("cat", path).run(expecting: nil).text
                undefended("read by its name in the upper layer, the link leads to the host's file", read == "untouched", path)
            }
            try put("\(host)/evil", "evil")
            await #expect(throws: LunetteError.self) {
                try await fixture.runtime.copyIn(
                    id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "\(host)/evil", to: "/escape/canary")
            }
            // The link itself is replaced, not what it names.
            try await fixture.runtime.copyIn(
                id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "\(host)/evil", to: "/up")
            #expect(try Directory(host).read("canary") == Array("untouched".utf8))
            await #expect(throws: LunetteError.self) {
                try await fixture.runtime.copyOut(
                    id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "/escape/canary", to: "\(host)/stolen")
            }
            // Attack 34: the kernel's own links, which lead where no path does.
            for magic in [
                "/proc/1/root\(host)/canary", "/proc/self/root\(host)/canary", "/proc/self/cwd\(host)/canary",
                "/proc/1/cwd/../\(host)/canary",
            ] {
                await #expect(throws: LunetteError.self, "\(magic)") {
                    try await fixture.runtime.copyOut(
                        id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: magic, to: "\(host)/stolen")
                }
                // Refused, or written inside.
                try? await fixture.runtime.copyIn(
                    id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "\(host)/evil", to: magic)
                #expect(try Directory(host).read("canary") == Array("untouched".utf8), "\(magic)")
            }
            // A link that stays inside is followed.
            try await fixture.runtime.copyIn(
                id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "\(host)/evil", to: "/inside/here")
            try await fixture.runtime.copyOut(
                id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "/etc/here", to: "\(host)/here")
            #expect(try Directory(host).read("here") == Array("evil".utf8))
        }
    }

    @Test func aRacerThatSwapsTheTargetReachesNothingOutside() async throws {
        try await withRunning { fixture, container, host in
            try put("\(host)/secret/file", "secret")
            try put("\(host)/evil", "evil")
            // A folder and a link to the host's path of the same name change places as fast as a shell can.
            let racer = try await container.exec(
                ExecRequest(
                    id: "e",
                    spec: ExecSpec(args: [
                        "sh", "-c",
                        "mkdir /race /a; ln -s \(host)/secret /b; touch /ready; while true; do rm -rf /race; ln -s \(host)/secret /race; rm /race; mkdir /race; done",
                    ]), container: fixture.request("c1", ["x"]).spec, image: ImageProcessConfig()))
            // Whoever reads by name beside it is led to the secret some time.
            let line =
                "for i in $(seq 100000); do if [ \"$(<'\(fixture.folder)/r/containers/c1/upper/race/file')\" = secret ]; then echo led; break; fi; done"
            let naive = try await Command(["bash", "-c", line]).run(expecting: nil).text
            undefended("the racer leads a reader astray", naive == "led", naive)
            for _ in 0..<300 {
                // Each may fail or work, inside.
                try? await fixture.runtime.copyIn(
                    id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "\(host)/evil", to: "/race/file")
                try? await fixture.runtime.copyOut(
                    id: "c1", container: container, files: CopyFiles(name: "c1", layers: []), from: "/race/file", to: "\(host)/out")
            }
            #expect(try Directory("\(host)/secret").read("file") == Array("secret".utf8))
            #expect(try Directory("\(host)/secret").entries() == ["file"])
            #expect(try Directory(host).read("out") != Array("secret".utf8))
            try await racer.kill(signal: SIGKILL)
        }
    }

    @Test func aVolumeGetsWhatTheImageHasThere() async throws {
        try await RuntimeFixture.with { fixture in
            let data = try Directory(making: "\(fixture.layer)/var/data")
            try data.write("file", Array("image".utf8), mode: 0o4750)
            #expect(chown("\(data.label)/file", 33, 50) == 0 && chmod("\(data.label)/file", 0o4750) == 0)
            #expect(link("\(data.label)/file", "\(data.label)/second") == 0)
            #expect(symlink("file", "\(data.label)/link") == 0)
            #expect(chown(data.label, 7, 8) == 0 && chmod(data.label, 0o2775) == 0)
            #expect(symlink("data", "\(fixture.layer)/var/alias") == 0)
            #expect(symlink("\(fixture.folder)", "\(fixture.layer)/var/outside") == 0)
            let volume = try Directory(making: "\(fixture.folder)/volume")
            #expect(try await fixture.runtime.copyUp(layers: [fixture.layer], from: "/var/alias", to: volume.label))
            let file = try #require(try volume.status("file"))
            #expect(file.uid == 33 && file.gid == 50 && file.permissions == 0o4750 && file.links == 2)
            #expect(try volume.status("second")?.inode == file.inode)
            #expect(try volume.status("link")?.kind == .symbolicLink)
            let itself = try #require(try Directory(fixture.folder).status("volume"))
            #expect(itself.uid == 7 && itself.gid == 8 && itself.permissions == 0o2775)
            let copied = try await Command("ls", "\(fixture.layer)/var/outside/").run().lines
            undefended("a copy by name takes what lies outside", copied.contains("volume"), copied)
            #expect(try await !fixture.runtime.copyUp(layers: [fixture.layer], from: "/var/outside", to: volume.label))
            #expect(try await !fixture.runtime.copyUp(layers: [fixture.layer], from: "/nothing", to: volume.label))
        }
    }
}
