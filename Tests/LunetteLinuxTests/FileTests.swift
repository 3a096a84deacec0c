import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

@Suite struct FileTests {
    @Test func aDurableWriteReplacesWholeAndLeavesNoTemporary() async throws {
        try await withTemporaryDirectory { directory in
            try directory.writeDurably("state", Array("first".utf8))
            try directory.writeDurably("state", Array("second".utf8), mode: 0o640)
            #expect(try directory.text("state") == "second")
            #expect(try directory.entries() == ["state"])
            #expect(try directory.status("state")?.permissions == 0o640)
        }
    }

    @Test func readingTheAbsentIsNil() async throws {
        try await withTemporaryDirectory { directory in
            #expect(try directory.read("nothing") == nil)
            #expect(try directory.status("nothing") == nil)
            try directory.removeFile("nothing")
            try directory.removeTree("nothing")
        }
    }

    @Test func whatLeadsOutIsRefusedBeneathAndReadAsInsideInRoot() async throws {
        try await withTemporaryDirectory { directory in
            let root = try directory.makeDirectory("root")
            try directory.put("secret", "host")
            _ = try root.makeDirectory("run")
            try root.openDirectory("run").put("file", "inside")
            #expect(symlink("/run", "\(directory.label)/root/absolute") == 0)
            #expect(symlink("../secret", "\(directory.label)/root/up") == 0)
            for path in ["up", "../secret"] {
                let read = try await Command("cat", "\(root.label)/\(path)").run(expecting: nil).text
                undefended("by its name it is the host's", read == "host", path)
            }
            #expect(throws: SystemCallError.self) { try root.open("up") }
            #expect(throws: SystemCallError.self) { try root.open("absolute/file") }
            #expect(throws: SystemCallError.self) { try root.open("../secret") }
            let inside = try root.open("absolute/file", scope: .inRoot).readAll(limit: 100)
            #expect(String(decoding: inside, as: UTF8.self) == "inside")
            #expect(throws: SystemCallError.self) { try root.open("up", scope: .inRoot) }
        }
    }

    @Test func removingATreeFollowsNoLinkAndTakesOddNames() async throws {
        try await withTemporaryDirectory { directory in
            let outside = try directory.makeDirectory("outside")
            try outside.put("precious", "stays")
            let tree = try directory.makeDirectory("tree")
            #expect(symlink("../outside", "\(tree.label)/link") == 0)
            var deep = tree
            for level in 0..<50 { deep = try deep.makeDirectory("d\(level)") }
            try deep.put("leaf", "x")
            #expect(
                "\(tree.label)/bad".withCString { name in
                    var bytes = Array(UnsafeBufferPointer(start: name, count: strlen(name)))
                    bytes += [CChar(bitPattern: 0xff), CChar(bitPattern: 0xfe), 0]
                    return mkdir(bytes, 0o700)
                } == 0)
            try directory.removeTree("tree")
            #expect(try directory.entries() == ["outside"])
            #expect(try outside.text("precious") == "stays")
        }
    }

    @Test(.requires(.root)) func aTreeWithAForeignMountInItIsLeftAlone() async throws {
        try await withTemporaryDirectory { directory in
            let tree = try directory.makeDirectory("tree")
            let point = try tree.makeDirectory("mounted")
            #expect(mount("tmpfs", point.label, "tmpfs", 0, nil) == 0)
            try Directory(point.label).put("precious", "x")
            let failure = #expect(throws: SystemCallError.self) { try directory.removeTree("tree") }
            #expect(failure?.errno == ErrorNumber.busy)
            #expect(try Directory(point.label).text("precious") == "x")
            #expect(umount2(point.label, 0) == 0)
            try directory.removeTree("tree")
        }
    }

    @Test(.requires(.root, .overlay)) func anOverlayIsMadeByPathOfAsManyLayersAsImagesHave() async throws {
        try await withTemporaryDirectory { directory in
            var lowers: [String] = []
            for index in 0..<120 {
                let layer = try directory.makeDirectory("layer-\(index)")
                try layer.put("file-\(index)", "\(index)")
                try layer.put("top", "\(index)")
                lowers.append(layer.label)
            }
            let view = try DetachedOverlay.makeByPath(lowers: lowers)
            #expect(try view.text("top") == "0" && view.text("file-119") == "119")

            let upper = try directory.makeDirectory("upper")
            _ = try directory.makeDirectory("work")
            let whole = try DetachedOverlay.makeByPath(lowers: lowers, upper: (upper.label, directory.label + "/work"))
            try whole.put("new", "written")
            #expect(try upper.text("new") == "written" && whole.text("file-60") == "60")
            #expect(try #require(readSmallFile("/proc/self/mountinfo")).contains(directory.label) == false)
            #expect(throws: SystemCallError.self) { _ = try DetachedOverlay.makeByPath(lowers: ["/nowhere", directory.label]) }
        }
    }

    @Test func aLockIsHeldOnce() async throws {
        try await withTemporaryDirectory { directory in
            let lock = try #require(try FileLock.take("lock", in: directory))
            #expect(try FileLock.take("lock", in: directory) == nil)
            lock.release()
            #expect(try FileLock.take("lock", in: directory) != nil)
        }
    }

    @Test func sealedMemoryCannotBeWritten() async throws {
        let plain = try await Command("python3", "-c", "import os; print(os.write(os.memfd_create('plain'), b'x'))").run().text
        undefended("memory without seals is written", plain == "1", plain)
        let memory = try SealedMemory.make("test", Array("sealed".utf8))
        #expect(throws: SystemCallError.self) { try memory.writeAll(Array("x".utf8)) }
        let read = try memory.readAll(limit: 100)
        #expect(read == Array("sealed".utf8))
        // Whoever keeps a small file keeps no room for a large one.
        #expect(read.capacity < 1000)
    }

    @Test func aFailureSaysWhatWasTriedOnWhat() throws {
        let failure = #expect(throws: SystemCallError.self) { _ = try Directory("/does/not/exist") }
        #expect(failure?.lunette.message == "open directory /does/not/exist: no such file or directory")
        #expect(failure?.lunette.code == .notFound)
    }
}
