import Foundation
import LunetteImages
import LunetteSpec
import LunetteTesting
import Testing

@Suite("the store") struct StoreTests {
    private func layer(_ name: String) -> [UInt8] {
        var tar = TarBuilder()
        tar.add(name, Array(name.utf8))
        return tar.finished
    }

    private func load(_ workspace: Workspace, _ layers: [[UInt8]], as name: String, into store: ImageStore) async throws -> ImageRecord {
        let layout = try LayoutBuilder("\(workspace.folder)/layout-\(UUID().uuidString.prefix(6))")
        try layout.image(layers, name: name)
        return try await store.load(layout.folder)[0]
    }

    @Test("tags move, names and prefixes find, an unknown name is answered with the nearest", .requires(.root)) func names() async throws {
        try await withWorkspace { workspace in
            let store = try await workspace.open()
            let a = try await load(workspace, [layer("a")], as: "test.local/a:1", into: store)
            let b = try await load(workspace, [layer("b")], as: "test.local/b:1", into: store)
            #expect(try await store.tag(a.id, as: "test.local/b:1").references == ["test.local/a:1", "test.local/b:1"])
            #expect(try await store.get(b.id).references == [])
            #expect(try await store.find(String(b.id.dropFirst(7).prefix(6)))?.id == b.id)
            #expect(try await store.get("test.local/a@\(a.digest)").id == a.id)
            #expect(try await store.find("test.local/other@\(a.digest)") == nil)
            let error = await #expect(throws: LunetteError.self) { try await store.get("test.local/aa:1") }
            #expect(error?.code == .notFound)
            #expect(error?.hint == "did you mean \"test.local/a:1\"?")
            await #expect(throws: LunetteError.self) { try await store.find("UPPER CASE") }
        }
    }

    @Test("removing takes the last name's blobs and snapshots, never what others share or containers use", .requires(.root)) func removes()
        async throws
    {
        try await withWorkspace { workspace in
            let store = try await workspace.open()
            let shared = layer("shared")
            let a = try await load(workspace, [shared, layer("a")], as: "test.local/a:1", into: store)
            let b = try await load(workspace, [shared, layer("b")], as: "test.local/b:1", into: store)
            _ = try await store.tag("test.local/a:1", as: "test.local/a:2")
            #expect(try await store.remove("test.local/a:2").removed == [])
            let used = await #expect(throws: LunetteError.self) { try await store.remove("test.local/a:1", inUse: [a.id]) }
            #expect(used?.code == .conflict)
            let removal = try await store.remove("test.local/a:1")
            #expect(removal.removed == [a.id])
            #expect(removal.reclaimed > 0)
            #expect(try await store.find(a.id) == nil)
            #expect(FileManager.default.fileExists(atPath: b.snapshotPaths[1]))
            #expect(!FileManager.default.fileExists(atPath: a.snapshotPaths[0]))
            #expect(try await store.check().isClean)
            // By force the names go, the used image stays.
            _ = try await store.remove("test.local/b:1", force: true, inUse: [b.id])
            #expect(try await store.get(b.id).references == [])
            #expect(try await store.prune(inUse: [b.id]).removed == [])
            #expect(try await store.prune().removed == [b.id])
            #expect(workspace.paths("content/blobs/sha256") == [])
            #expect(workspace.paths("snapshots") == [])
        }
    }

    @Test("check finds a damaged blob and a missing snapshot; repair mends or drops", .requires(.root)) func checks() async throws {
        try await withWorkspace { workspace in
            let store = try await workspace.open()
            let a = try await load(workspace, [layer("a")], as: "test.local/a:1", into: store)
            let b = try await load(workspace, [layer("b")], as: "test.local/b:1", into: store)
            try FileManager.default.removeItem(atPath: (a.snapshotPaths[0] as NSString).deletingLastPathComponent)
            let blob = "\(workspace.root)/content/blobs/sha256/\(b.layers[0].digest.dropFirst(7))"
            try Data(repeating: 7, count: Int(b.layers[0].size)).write(to: URL(fileURLWithPath: blob))
            #expect(try await store.check().problems.count == 2)
            let report = try await store.check(repair: true)
            #expect(report.repaired.count == 2)
            #expect(FileManager.default.fileExists(atPath: a.snapshotPaths[0] + "/a"))
            #expect(try await store.find("test.local/b:1") == nil)
            #expect(try await store.check().isClean)
        }
    }

    @Test("opening sweeps what a killed engine left", .requires(.root)) func sweeps() async throws {
        try await withWorkspace { workspace in
            let image = try await workspace.load([layer("a")])
            for path in [
                "snapshots/.new-abc-1/fs/x", "snapshots/\(String(repeating: "a", count: 64))/fs", "builds/1/upper",
                "content/ingest/load.1/x",
            ] {
                try FileManager.default.createDirectory(atPath: "\(workspace.root)/\(path)", withIntermediateDirectories: true)
            }
            let store = try await workspace.open()
            #expect(try await store.list() == [image])
            #expect(workspace.leftovers() == [])
            #expect(workspace.paths("builds") == [])
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(workspace.root)/snapshots").count == 1)
        }
    }

    @Test("a layout of a newer version and a broken index are clear errors", .requires(.root)) func newerVersion() async throws {
        try await withWorkspace { workspace in
            _ = try await workspace.open()
            try Data("{\"imageLayoutVersion\":\"2.0.0\"}".utf8).write(to: URL(fileURLWithPath: "\(workspace.root)/content/oci-layout"))
            let newer = await #expect(throws: LunetteError.self) { try await workspace.open() }
            #expect(newer?.code == .unsupported)
            try Data("{\"imageLayoutVersion\":\"1.0.0\"}".utf8).write(to: URL(fileURLWithPath: "\(workspace.root)/content/oci-layout"))
            try Data("{".utf8).write(to: URL(fileURLWithPath: "\(workspace.root)/content/index.json"))
            let broken = await #expect(throws: LunetteError.self) { try await workspace.open() }
            #expect(broken?.code == .invalidArgument)
            #expect(broken?.message.contains("index.json") == true)
        }
    }

    @Test("everything is the owner's alone", .requires(.root)) func modes() async throws {
        try await withWorkspace { workspace in
            _ = try await workspace.load([layer("a")])
            let output = try await Command.shell("find \(workspace.root) -path '*/fs' -prune -o -perm /077 -print").run().text
            #expect(output == "")
        }
    }
}
