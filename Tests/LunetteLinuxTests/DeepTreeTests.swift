import Glibc
import LunetteLinux
import LunetteTesting
import Testing

/// Folders within folders, deeper than a stack, a path or the descriptors of a process reach.
@Suite struct DeepTreeTests {
    /// On the threads that do this in the engine: their stack is small.
    private func onThread<T: Sendable>(_ body: @escaping @Sendable () throws(SystemCallError) -> T) async throws -> T {
        try await blocking { () throws(SystemCallError) in try body() }
    }

    @Test func aTreeOfAnyDepthIsRemoved() async throws {
        try await withTemporaryDirectory(in: DeepTree.fastPlace) { directory in
            try directory.makeDeepTree("tree", levels: 20_000, file: "file")
            let naive = """
                import os, sys
                sys.setrecursionlimit(100000)
                def remove(folder):
                    for name in os.listdir(folder): remove(os.open(name, os.O_RDONLY, dir_fd=folder))
                remove(os.open(sys.argv[1], os.O_RDONLY))
                """
            let tried = try await Command("python3", "-c", naive, "\(directory.label)/tree").run(expecting: nil)
            undefended("whoever goes down by a call and a descriptor for each folder comes to an end", tried.code != 0, tried.code)
            try await onThread { () throws(SystemCallError) in try directory.removeTree("tree") }
            #expect(try directory.entries() == [])
        }
    }

    @Test(arguments: ["/", "/etc", "/etc/"]) func aPathInAFolderHasOneSlashInMessages(_ folder: String) throws {
        let error = #expect(throws: SystemCallError.self) { _ = try Directory(folder).open("nope") }
        #expect(error?.target == (folder == "/" ? "/nope" : "/etc/nope"))
    }

    @Test func whatStaysBehindInATreeIsAnErrorByName() async throws {
        try await withTemporaryDirectory(in: DeepTree.fastPlace) { directory in
            let tree = try directory.makeDirectory("tree")
            try tree.put("file", "x")
            let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(socket) }
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: "\(tree.label)/socket".utf8) }
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
            #expect(bound == 0)
            var copy = TreeCopy(ownership: .keep, keepsAttributes: false)
            try copy.copy("tree", of: directory, to: directory, as: "copy")
            #expect(try directory.openDirectory("copy").entries() == ["file"], "in a tree it is passed over")
            let failure = #expect(throws: SystemCallError.self) { try copy.copy("socket", of: tree, to: directory, as: "copied") }
            #expect(failure?.errno == ErrorNumber.notSupported)
        }
    }

    /// By another name; through a bind mount: `aCopyOntoAMountedFileKeepsTheMount`.
    @Test func aCopyOntoItselfIsRefusedAndNothingIsLost() async throws {
        try await withTemporaryDirectory(in: DeepTree.fastPlace) { directory in
            let tree = try directory.makeDirectory("tree")
            try tree.put("file", "precious")
            try #require(link("\(tree.label)/file", "\(tree.label)/link") == 0)
            for name in ["file", "link"] {
                var copy = TreeCopy(ownership: .keep, keepsAttributes: false)
                let failure = #expect(throws: SystemCallError.self) { try copy.copy("file", of: tree, to: tree, as: name) }
                #expect(failure?.call == "copy a file onto itself", "\(name): \(String(describing: failure))")
                #expect(try tree.text(name) == "precious")
            }
        }
    }

    /// It would go on for ever: what is copied grows by what was copied.
    @Test func aFolderIsNotCopiedIntoItself() async throws {
        try await withTemporaryDirectory(in: DeepTree.fastPlace) { directory in
            let tree = try directory.makeDirectory("tree")
            let inner = try tree.makeDirectory("inner")
            try tree.put("file", "x")
            var copy = TreeCopy(ownership: .keep, keepsAttributes: false)
            func refuse(_ attempt: (inout TreeCopy) throws -> Void) {
                let failure = #expect(throws: SystemCallError.self) { try attempt(&copy) }
                #expect(failure?.call == "copy a folder into itself", "\(String(describing: failure))")
            }
            refuse { try $0.copy("tree", of: directory, to: inner, as: "copy") }
            refuse { try $0.copyContents(of: tree, to: inner) }
            refuse { try $0.copyContents(of: tree, to: tree) }
            // Out of itself there is an end.
            try copy.copyContents(of: inner, to: tree)
            try copy.copy("tree", of: directory, to: directory, as: "other")
        }
    }

    @Test func whatIsWideAndDeepIsRemovedAndTheTopKept() async throws {
        try await withTemporaryDirectory(in: DeepTree.fastPlace) { directory in
            let top = try directory.makeDirectory("top")
            for index in 0..<60 { try top.makeDeepTree("tree\(index)", levels: 150, file: "file") }
            // At the depth from which folders are moved up, several in one.
            try top.makeDeepTree("chain", levels: 64)
            var folder = try top.openDirectory("chain")
            for _ in 0..<62 { folder = try folder.openDirectory("d") }
            for index in 0..<2000 { _ = try folder.makeDirectory("wide\(index)").makeDirectory("inner").makeDirectory("innermost") }
            try await onThread { () throws(SystemCallError) in try top.removeContents() }
            #expect(try directory.entries() == ["top"])
            #expect(try top.entries() == [])
        }
    }

    @Test(.requires(.root)) func aMountFarDownIsLeftAlone() async throws {
        try await withTemporaryDirectory(in: DeepTree.fastPlace) { directory in
            try directory.makeDeepTree("tree", levels: 200, file: "file")
            let point = "\(directory.label)/tree" + String(repeating: "/d", count: 199)
            #expect(mount("tmpfs", point, "tmpfs", 0, nil) == 0)
            try Directory(point).put("precious", "x")
            let failure = await #expect(throws: SystemCallError.self) {
                try await onThread { () throws(SystemCallError) in try directory.removeTree("tree") }
            }
            #expect(failure?.errno == ErrorNumber.busy && failure?.target.hasSuffix("(something is mounted there)") == true)
            // Where it is now: what lay above it may have been moved.
            let mounts = try #require(readSmallFile("/proc/self/mounts")).split(separator: "\n")
            let line = try #require(mounts.first { $0.contains(directory.label) })
            let now = String(line.split(separator: " ")[1])
            #expect(try Directory(now).text("precious") == "x")
            #expect(umount2(now, 0) == 0)
            try directory.removeTree("tree")
        }
    }

    @Test func aTreeOfAnyDepthIsCopied() async throws {
        try await withTemporaryDirectory(in: DeepTree.fastPlace) { directory in
            try directory.makeDeepTree("tree", levels: 20_000, file: "file")
            let kept = getuid() == 0
            try await onThread { () throws(SystemCallError) in
                var copy = TreeCopy(ownership: kept ? .keep : .all(uid: getuid(), gid: getgid()), keepsAttributes: true)
                try copy.copy("tree", of: directory, to: directory, as: "copy")
                try copy.copyContents(of: try directory.openDirectory("tree"), to: try directory.makeDirectory("contents"))
            }
            #expect(try directory.levels(of: "copy") == 20_000)
            #expect(try directory.levels(of: "contents") == 20_000)
            try await onThread { () throws(SystemCallError) in
                for name in ["tree", "copy", "contents"] { try directory.removeTree(name) }
            }
        }
    }

    @Test func aWalkMeetsEverythingOnceInTheOrderOfBytes() async throws {
        try await withTemporaryDirectory(in: DeepTree.fastPlace) { directory in
            let top = try directory.makeDirectory("top")
            for name in ["b", "a", "a.c", "é", "Z"] { try top.makeDirectory(name).put("file", "") }
            try top.makeDeepTree("deep", levels: 120)
            for isSorted in [true, false] {
                var walk = try TreeWalk(try top.open(".", [.directory]), label: "top", sorted: isSorted)
                var met: [String] = []
                while let step = try walk.next() {
                    guard case .entry(let name) = step else {
                        try walk.leave()
                        continue
                    }
                    met.append(String(decoding: walk.path.bytes(of: name), as: UTF8.self))
                    if try walk.directory.status(text(of: name))?.kind == .directory {
                        try walk.enter(name, try walk.directory.open(text(of: name), [.directory, .noFollow]))
                    }
                }
                #expect(walk.waiting == 0)
                let deep = (1...120).map { "deep" + String(repeating: "/d", count: $0 - 1) }
                let expected = ["Z", "Z/file", "a", "a/file", "a.c", "a.c/file", "b", "b/file"] + deep + ["é", "é/file"]
                if isSorted { #expect(met == expected) } else { #expect(met.sorted() == expected.sorted()) }
            }
        }
    }

    /// Somebody takes a folder elsewhere while the walk is far below it.
    @Test func aWalkGoesUpOnlyWhereItCameFrom() async throws {
        try await withTemporaryDirectory(in: DeepTree.fastPlace) { directory in
            try directory.makeDeepTree("tree", levels: 200)
            _ = try directory.makeDirectory("elsewhere")
            var walk = try TreeWalk(try directory.open("tree", [.directory]), label: "tree", sorted: true)
            while case .entry(let name) = try walk.next() {
                try walk.enter(name, try walk.directory.open(text(of: name), [.directory, .noFollow]))
            }
            let half = String(repeating: "d/", count: 99)
            #expect(rename("\(directory.label)/tree/\(half)d", "\(directory.label)/elsewhere/d") == 0)
            let up = try walk.folder.pathOfParents(100)
            undefended("by .. alone the walk comes to another folder", up == "\(directory.label)/elsewhere", up)
            for _ in 0..<99 { try walk.leave() }
            let failure = #expect(throws: SystemCallError.self) { try walk.leave() }
            #expect(failure?.errno == ErrorNumber.stale)
            #expect(failure?.target.contains("it was moved meanwhile") == true, "\(String(describing: failure))")
            #expect(failure?.target.contains("…") == false || (failure?.target.count ?? 0) < 300)
        }
    }
}

extension FileDescriptor {
    fileprivate func pathOfParents(_ count: Int) throws -> String {
        let up = openat(number, String(repeating: "../", count: count), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { Glibc.close(up) }
        return try readLink("/proc/self/fd/\(up)")
    }
}
