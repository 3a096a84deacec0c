import Foundation
import LunetteLinux
import LunetteSpec
import Testing

@testable import LunetteOCI

/// The folders of containers: made once, held by one, gone in one step.
@Suite struct StoreTests {
    private func withStore(_ body: (ContainerStore) throws -> Void) throws {
        var template = Array("/tmp/lunette-oci.XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(ContainerStore(root: "\(folder)/root"))
    }

    @Test func aSecondContainerOfOneNameIsRefused() throws {
        try withStore { store in
            let held = try store.make("c1")
            #expect(throws: LunetteError.self) { try store.make("c1") }
            let mode = try FileManager.default.attributesOfItem(atPath: "\(store.root)/c1")[.posixPermissions] as? Int
            #expect(mode == 0o700)
            try store.remove(held, "c1")
            #expect(try store.ids().isEmpty)
            #expect(try FileManager.default.contentsOfDirectory(atPath: store.root) == [])
            _ = try store.make("c1")
        }
    }

    @Test func aFolderIsHeldByOne() throws {
        try withStore { store in
            let held = try store.make("c1")
            let folder = try #require(try store.folder("c1"))
            #expect(try HeldFolder(folder, wait: false) == nil)
            held.release()
            #expect(try HeldFolder(folder, wait: false) != nil)
        }
    }

    @Test func whoWaitedForWhatIsGoneIsToldSo() throws {
        try withStore { store in
            let held = try store.make("c1")
            let folder = try #require(try store.folder("c1"))
            try store.remove(held, "c1")
            held.release()
            // Another container of that name is not the one that was meant.
            let other = try store.make("c1")
            #expect(throws: ContainerStore.unknown("c1")) { try store.hold(folder, "c1") }
            try store.remove(other, "c1")
        }
    }

    @Test func aHalfRemovedFolderIsSwept() throws {
        try withStore { store in
            _ = try store.make("c1")
            try FileManager.default.moveItem(atPath: "\(store.root)/c1", toPath: "\(store.root)/\(ContainerStore.gonePrefix)c1.7")
            #expect(try store.ids() == [])
            store.sweep()
            #expect(try FileManager.default.contentsOfDirectory(atPath: store.root) == [])
        }
    }

    @Test func aRecordComesBackAsItWas() throws {
        try withStore { store in
            let held = try store.make("c1")
            var container = Container(held.directory, record: .fixture())
            container.record.initProcess = ProcessIdentity(pid: 4711, startTime: 99, bootID: "other")
            container.record.phase = .created
            try container.save()
            let found = try store.find("c1")
            #expect(found.record.value == container.record.value)
            // Of another boot: whatever has that pid now is somebody else.
            #expect(found.status() == .stopped && found.pid(.stopped) == 0)
        }
    }

    @Test func damagedRecordsAreErrorsThatSayHowToGoOn() throws {
        try withStore { store in
            let held = try store.make("c1")
            #expect(throws: ContainerStore.unknown("c1")) { try store.find("c1") }
            for text in ["", "{", "[]", "{\"id\":\"c1\"}"] {
                try held.directory.write("state.json", Array(text.utf8))
                let failure = #expect(throws: LunetteError.self) { try store.find("c1") }
                #expect(failure?.hint?.contains("delete --force c1") == true)
            }
        }
    }

    @Test func theStateDocumentHasTheSpecificationsFields() {
        let container = Container(Directory(FileDescriptor(owning: -1), label: "/x/c1"), record: .fixture())
        let shown = container.description(.stopped)
        #expect(shown["id"] == "c1" && shown["status"] == "stopped" && shown["pid"] == 0 && shown["bundle"] == "/b")
        #expect(shown["ociVersion"] == .string(RuntimeSpec.version) && shown["annotations"] == ["org.a": "1", "org.b": "zwei"])
        var record = ContainerRecord.fixture()
        for (uid, name) in [(1, "daemon"), (3_999_999, "3999999")] as [(UInt32, Value)] {
            record.uid = uid
            #expect(Container(container.folder, record: record).description(.stopped)["owner"] == name)
        }
        #expect(shown["created"] == "2026-11-23T12:40:33.500000000Z" && shown["owner"] == "root" && shown["rootfs"] == "/b/rootfs")
    }
}
