import Foundation
import LunetteImages
import LunetteSpec
import LunetteTesting
import Testing

@Suite("layers") struct LayerTests {
    private func describe(_ path: String) async throws -> String {
        // Every entry with kind, mode, owner, size, times, link and content.
        try await Command.shell(
            """
            cd \(path) && find . -mindepth 1 -printf '%P %y %#m %U:%G %l %T@ ' \\( -type f -printf '%s\\n' -o -printf '\\n' \\) | sort
            find . -type f -print0 | sort -z | xargs -0 -r sha256sum
            getfattr -R -h -d -m - . 2>/dev/null | sort || true
            """
        ).run().text
    }

    @Test("the unpacked tree equals umoci's", .requires(.root, .command("umoci")))
    func equalsUmoci() async throws {
        try await withWorkspace { workspace in
            let layout = try await TestImage.python.layout()
            let store = try await workspace.open()
            let image = try #require(try await store.load(try await TestImage.python.folder()).first)
            try await Command("umoci", "unpack", "--image", layout, "\(workspace.folder)/bundle").run(timeout: .seconds(120))
            let merged = "\(workspace.folder)/merged"
            try FileManager.default.createDirectory(atPath: merged, withIntermediateDirectories: true)
            var lower = image.snapshotPaths
            if lower.count == 1 {
                try FileManager.default.createDirectory(atPath: "\(workspace.folder)/empty", withIntermediateDirectories: true)
                lower.append("\(workspace.folder)/empty")
            }
            try await Command("mount", "-t", "overlay", "overlay", "-o", "ro,lowerdir=\(lower.joined(separator: ":"))", merged).run()
            do {
                let (ours, theirs) = (try await describe(merged), try await describe("\(workspace.folder)/bundle/rootfs"))
                #expect(ours == theirs)
            } catch {
                try await Command("umount", merged).run()
                throw error
            }
            try await Command("umount", merged).run()
        }
    }

    @Test("whiteouts and opaque folders hide lower layers wherever they stand in the tar", .requires(.root, .overlay))
    func whiteouts() async throws {
        try await withWorkspace { workspace in
            var base = TarBuilder()
            for path in ["gone", "kept", "was-folder/x", "opaque/low", "late/low", "both", "refolder/low"] {
                base.add(path, Array("low".utf8))
            }
            var top = TarBuilder()
            top.add(".wh.gone")
            top.add(".wh.was-folder")
            top.add("opaque/new", Array("new".utf8))
            top.folder("opaque")
            top.add("opaque/.wh..wh..opq")
            top.add("late/.wh..wh..opq")
            top.add("late/new")
            // The layer's own entry stands, before or after the whiteout of its name.
            top.add("both", Array("top".utf8))
            top.add(".wh.both")
            top.add(".wh.refolder")
            top.folder("refolder")
            top.add("refolder/new")
            // Bookkeeping of aufs.
            top.add(".wh..wh.plnk/12.34")
            let image = try await workspace.load([base.finished, top.finished])
            let script = """
                mkdir -p \(workspace.folder)/m
                mount -t overlay overlay -o ro,lowerdir=\(image.snapshotPaths.joined(separator: ":")) \(workspace.folder)/m
                (cd \(workspace.folder)/m && find . -mindepth 1 | sort | tr '\\n' ' '; cat both)
                umount \(workspace.folder)/m
                """
            let output = try await Command.shell(script).run().text
            #expect(output == "./both ./kept ./late ./late/new ./opaque ./opaque/new ./refolder ./refolder/new top")
        }
    }

    @Test("a later entry replaces an earlier one of the same name", .requires(.root))
    func duplicates() async throws {
        try await withWorkspace { workspace in
            var tar = TarBuilder()
            tar.add("a", Array("1".utf8))
            tar.add("a", Array("2".utf8))
            tar.folder("b/c")
            tar.add("b/c/x")
            tar.add("b/c", Array("file".utf8))
            tar.add("b/c", Array("again".utf8))
            tar.add("d")
            tar.folder("d", mode: 0o700)
            tar.add("d/x")
            tar.folder("d", mode: 0o711)
            let root = try await workspace.load([tar.finished]).snapshotPaths[0]
            let output = try await Command.shell("cd \(root) && cat a b/c && stat -c '%F %a' d && ls d").run().text
            #expect(output == "2againdirectory 711\nx")
        }
    }

    @Test("a layer may end with its last file's last byte, as umoci writes them", .requires(.root))
    func withoutPadding() async throws {
        try await withWorkspace { workspace in
            var tar = TarBuilder()
            tar.add("a", Array("first".utf8))
            tar.add("b", Array("last".utf8))
            let root = try await workspace.load([Array(tar.bytes.dropLast(508))]).snapshotPaths[0]
            #expect(try await Command.shell("cd \(root) && cat a b").run().text == "firstlast")
        }
    }

    @Test("a folder that a layer only passes through keeps the look that it has below", .requires(.root))
    func impliedFolders() async throws {
        try await withWorkspace { workspace in
            var base = TarBuilder()
            base.folder("tmp", mode: 0o1777)
            base.folder("home/ada", mode: 0o700, uid: 1000)
            var top = TarBuilder()
            top.add("tmp/x")
            top.add("home/ada/notes") { $0.uid = 1000 }
            let image = try await workspace.load([base.finished, top.finished])
            let output = try await Command.shell(
                "stat -c '%a %u' \(image.snapshotPaths[0])/tmp \(image.snapshotPaths[0])/home/ada \(image.snapshotPaths[0])/home"
            ).run().text
            #expect(output == "1777 0\n700 1000\n755 0")
            #expect(try await workspace.open().get("test.local/image:1").snapshotPaths == image.snapshotPaths)
            #expect(try await workspace.open().check().isClean)
        }
    }

    @Test("an image without layers and one with the same layer twice are images", .requires(.root))
    func oddCounts() async throws {
        try await withWorkspace { workspace in
            #expect(try await workspace.load([]).snapshotPaths == [])
            var tar = TarBuilder()
            tar.add("x")
            let image = try await workspace.load([tar.finished, tar.finished])
            #expect(image.snapshotPaths.count == 2)
            #expect(Set(image.snapshotPaths).count == 1)
        }
    }
}
