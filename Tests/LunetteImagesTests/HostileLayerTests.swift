import Foundation
import Glibc
import LunetteImages
import LunetteSpec
import LunetteTesting
import Testing

/// Attacks 40 to 43 of the list: whatever a layer says, only its own folder changes, and the refusal names the entry.
@Suite("hostile layers") struct HostileLayerTests {
    /// Builds a tar, tries to load it as an image and gives the error.
    private func refusal(
        _ code: ErrorCode = .denied, limits: UnpackLimits = UnpackLimits(), of fill: NaiveUnpacker.Fill
    ) async throws -> LunetteError {
        try await withWorkspace { workspace in
            let canary = try Canary()
            defer { canary.remove() }
            var tar = TarBuilder()
            fill(&tar, canary.path)
            let bytes = tar.finished
            let error = await #expect(throws: LunetteError.self) { try await workspace.load([bytes], limits: limits) }
            #expect(canary.isUntouched)
            #expect(workspace.leftovers() == [], "nothing half made is left")
            let store = try await workspace.open()
            #expect(try await store.list().isEmpty)
            let found = try #require(error)
            #expect(found.code == code, "\(found)")
            return found
        }
    }

    @Test("a name with .. is refused", .requires(.root)) func traversal() async throws {
        let climb: NaiveUnpacker.Fill = { tar, _ in tar.add("a/../../x", Array("x".utf8)) }
        let led = try await NaiveUnpacker.led(climb) { _, root in FileManager.default.fileExists(atPath: "\(root)/../x") }
        undefended("tar(1) writes beside the layer", led)
        let error = try await refusal(of: climb)
        #expect(error.message.contains("entry \"a/../../x\""))
        _ = try await refusal { tar, _ in tar.folder("..") }
        _ = try await refusal { tar, _ in tar.link("x/..", to: "/") }
    }

    @Test("an absolute name means the layer's own root", .requires(.root)) func absolute() async throws {
        let led = try await NaiveUnpacker.led { tar, canary in
            tar.add(canary, Array("mine".utf8))
        } _: { canary, _ in
            !canary.isUntouched
        }
        undefended("tar(1) writes where the name says", led)
        try await withWorkspace { workspace in
            let canary = try Canary()
            defer { canary.remove() }
            var tar = TarBuilder()
            tar.add(canary.path, Array("mine".utf8))
            let image = try await workspace.load([tar.finished])
            #expect(canary.isUntouched)
            #expect(FileManager.default.contents(atPath: image.snapshotPaths[0] + canary.path) == Data("mine".utf8))
        }
    }

    @Test("nothing is written through a link that leads out", .requires(.root)) func linkWriteThrough() async throws {
        for climb in ["", "../../../../../../../../../../.."] {
            let fill: NaiveUnpacker.Fill = { tar, canary in
                tar.link("out", to: climb + (canary as NSString).deletingLastPathComponent)
                tar.add("out/canary", Array("x".utf8))
            }
            undefended("tar(1) writes through the link", try await NaiveUnpacker.led(fill) { canary, _ in !canary.isUntouched })
            #expect(try await refusal(of: fill).message.contains("behind a link that leads out"))
        }
        _ = try await refusal { tar, _ in
            tar.link("a", to: "b")
            tar.link("b", to: "/etc")
            tar.folder("a/new")
            tar.add("a/new/x")
        }
        // A link to a link to the file itself: replaced, never followed.
        try await withWorkspace { workspace in
            let canary = try Canary()
            defer { canary.remove() }
            var tar = TarBuilder()
            tar.link("file", to: canary.path)
            tar.add("file", Array("x".utf8))
            let image = try await workspace.load([tar.finished])
            #expect(canary.isUntouched)
            #expect(FileManager.default.contents(atPath: image.snapshotPaths[0] + "/file") == Data("x".utf8))
        }
    }

    @Test("a link inside the layer is followed inside the layer", .requires(.root)) func innerLink() async throws {
        try await withWorkspace { workspace in
            var tar = TarBuilder()
            tar.folder("usr/lib/")
            tar.link("lib", to: "usr/lib")
            tar.add("lib/x", Array("x".utf8))
            let image = try await workspace.load([tar.finished])
            #expect(FileManager.default.contents(atPath: image.snapshotPaths[0] + "/usr/lib/x") == Data("x".utf8))
        }
    }

    @Test("hard links stay inside", .requires(.root)) func hardLinks() async throws {
        _ = try await refusal { tar, _ in tar.hardLink("x", to: "../../etc/shadow") }
        let stolen: NaiveUnpacker.Fill = { tar, canary in tar.hardLink("x", to: canary) }
        let led = try await NaiveUnpacker.led(stolen) { canary, root in
            FileManager.default.contents(atPath: "\(root)/x") == Data(canary.secret.utf8)
        }
        undefended("tar(1) links the host's file into the layer", led)
        _ = try await refusal(of: stolen)
        _ = try await refusal { tar, _ in
            tar.link("etc", to: "/etc")
            tar.hardLink("x", to: "etc/shadow")
        }
        _ = try await refusal { tar, _ in
            tar.folder("d")
            tar.hardLink("x", to: "d")
        }
        let error = try await refusal { tar, _ in tar.hardLink("x", to: "missing") }
        #expect(error.message.contains("isn't in this layer"))
        // A hard link to a link is a second link, and what is written to its name replaces it.
        try await withWorkspace { workspace in
            let canary = try Canary()
            defer { canary.remove() }
            var tar = TarBuilder()
            tar.link("a", to: canary.path)
            tar.hardLink("b", to: "a")
            tar.add("b", Array("x".utf8))
            let image = try await workspace.load([tar.finished])
            #expect(canary.isUntouched)
            #expect(FileManager.default.contents(atPath: image.snapshotPaths[0] + "/b") == Data("x".utf8))
        }
    }

    @Test("the root entry must be a folder", .requires(.root), arguments: [".", "/", "./", "./."]) func rootLink(
        _ name: String
    ) async throws {
        let error = try await refusal { tar, _ in tar.link(name, to: "/etc") }
        #expect(error.message.contains("root"))
    }

    @Test("whiteouts of no name are refused", .requires(.root), arguments: [".wh.", ".wh..", ".wh...", "d/.wh.."])
    func oddWhiteouts(_ name: String) async throws {
        // `.wh...` hides "..": its name is two dots.
        let (folder, last) = ((name as NSString).deletingLastPathComponent, (name as NSString).lastPathComponent)
        let hidden = URL(filePath: "/store/layer/\(folder)/\(last.dropFirst(4))").standardized.path
        undefended("whoever removes what the name says removes the folder", "/store/layer/\(folder)/".hasPrefix("\(hidden)/"), hidden)
        _ = try await refusal { tar, _ in
            tar.folder("d")
            tar.add(name)
        }
    }

    @Test("a whiteout through a link that leads out is refused", .requires(.root)) func whiteoutThroughLink() async throws {
        let led = try await NaiveUnpacker.led { tar, canary in
            tar.link("out", to: (canary as NSString).deletingLastPathComponent)
        } _: { canary, root in
            unlink("\(root)/out/canary") == 0 && !canary.isUntouched
        }
        undefended("whoever removes what the name says removes the host's file", led)
        _ = try await refusal { tar, canary in
            tar.link("out", to: (canary as NSString).deletingLastPathComponent)
            tar.add("out/.wh.canary")
        }
        _ = try await refusal { tar, canary in
            tar.link("out", to: (canary as NSString).deletingLastPathComponent)
            tar.add("out/.wh..wh..opq")
        }
        _ = try await refusal { tar, _ in tar.add(".wh.x/y") }
    }

    @Test(
        "overlay's own attributes are refused", .requires(.root),
        arguments: ["trusted.overlay.redirect", "trusted.overlay.opaque", "user.overlay.opaque"])
    func overlayAttributes(_ name: String) async throws {
        let isRedirect = name.hasSuffix("redirect")
        let options = isRedirect ? ",redirect_dir=on" : name.hasPrefix("user") ? ",userxattr" : ""
        let write = "python3 -c 'import os; os.setxattr(\"d\", \"\(name)\", b\"\(isRedirect ? "/other" : "y")\")'"
        let seen = try await NaiveUnpacker.merged(write, options: options)
        undefended("overlay obeys a layer's attribute", seen == (isRedirect ? ["elsewhere"] : []), seen)
        let error = try await refusal { tar, _ in
            tar.add("d") {
                $0.type = "5"
                $0.pax = [("SCHILY.xattr.\(name)", "/etc")]
            }
        }
        #expect(error.message.contains("overlay's own"))
    }

    @Test("the device 0:0 and ids beyond the range are refused", .requires(.root)) func oddEntries() async throws {
        undefended("overlay takes the device for a whiteout", try await NaiveUnpacker.merged("mknod d/low c 0 0") == [])
        _ = try await refusal { tar, _ in tar.add("x") { $0.type = "3" } }
        let foreign: NaiveUnpacker.Fill = { tar, _ in tar.add("x") { $0.uid = 65536 } }
        let led = try await NaiveUnpacker.led(foreign) { _, root in
            (try? FileManager.default.attributesOfItem(atPath: "\(root)/x")[.ownerAccountID] as? Int) == 65536
        }
        undefended("tar(1) gives the file to somebody else", led)
        let error = try await refusal(of: foreign)
        #expect(error.message.contains("65536:0"))
        #expect(error.hint?.contains("65536 ids") == true)
        _ = try await refusal { tar, _ in tar.add("x") { $0.gid = 4_294_967_295 } }
    }

    @Test("bombs end at the limits", .requires(.root)) func bombs() async throws {
        var few = UnpackLimits()
        few.entries = 10
        let many: NaiveUnpacker.Fill = { tar, _ in for index in 0..<11 { tar.add("f\(index)") } }
        let led = try await NaiveUnpacker.led(many) { _, root in FileManager.default.fileExists(atPath: "\(root)/f10") }
        undefended("tar(1) counts nothing", led)
        _ = try await refusal(.resourceExhausted, limits: few, of: many)
        var small = UnpackLimits()
        small.bytes = 1 << 20
        _ = try await refusal(.resourceExhausted, limits: small) { tar, _ in tar.add("x", [UInt8](repeating: 0, count: 2 << 20)) }
        // A sparse file of an exabyte costs nothing to make and counts in full.
        _ = try await refusal(.resourceExhausted) { tar, _ in
            tar.add("sparse", Array("x".utf8) + [UInt8](repeating: 0, count: 511)) {
                $0.pax = [
                    ("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1"), ("GNU.sparse.name", "sparse"),
                    ("GNU.sparse.size", "1000000000000000000"),
                    ("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", "0,512"),
                ]
            }
        }
        _ = try await refusal { tar, _ in tar.add("x") { $0.pax = [("path", String(repeating: "d/", count: 600) + "x")] } }
        _ = try await refusal { tar, _ in tar.add("x") { $0.pax = [("path", String(repeating: "long/", count: 1000))] } }
    }

    @Test("damaged archives are errors", .requires(.root)) func damage() async throws {
        _ = try await refusal(.io) { tar, _ in tar.add("x", Array("x".utf8)) { $0.badChecksum = true } }
        _ = try await refusal(.io) { tar, _ in tar.add("x", Array("x".utf8)) { $0.claimedSize = 1 << 20 } }
    }

    @Test("setuid, device nodes, sparse files and times come through", .requires(.root)) func oddButHonest() async throws {
        try await withWorkspace { workspace in
            var tar = TarBuilder()
            tar.add("su", Array("x".utf8)) {
                $0.mode = 0o4755
                $0.uid = 12
                $0.gid = 34
            }
            tar.add("null") {
                $0.type = "3"
                $0.major = 1
                $0.minor = 3
            }
            tar.add("pipe") { $0.type = "6" }
            tar.folder("shared", mode: 0o2775, uid: 5)
            tar.add("shared/file")
            tar.add("naïve ☃\u{7}")
            tar.add("a") { $0.pax = [("path", "long/" + String(repeating: "n", count: 200)), ("mtime", "1234567.25")] }
            let image = try await workspace.load([tar.finished])
            let root = image.snapshotPaths[0]
            let output = try await Command.shell(
                "cd \(root) && stat -c '%n %a %u:%g %F %Y' su null pipe shared shared/file long/* && ls -d na*"
            ).run().text
            #expect(
                output == """
                    su 4755 12:34 regular file 1000000
                    null 644 0:0 character special file 1000000
                    pipe 644 0:0 fifo 1000000
                    shared 2775 5:0 directory 1000000
                    shared/file 644 0:0 regular empty file 1000000
                    long/\(String(repeating: "n", count: 200)) 644 0:0 regular empty file 1234567
                    naïve ☃\u{7}
                    """)
        }
    }
}
