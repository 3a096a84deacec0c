import Foundation
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunettePlugins

@Suite struct PluginManifestTests {
    private func manifest(_ changes: ValueMap = [:]) -> Value {
        let base: Value = [
            "name": "network-ptp", "version": "1.0.0", "api": "1", "entry": "init.lua",
            "provides": ["network": ["ptp"], "hook": ["before container.create"]], "permissions": ["net:link", "fs:/srv"],
            "requires": ["network-bridge": ">=1.2"], "timeouts": ["attach": "5s"], "on_failure": ["network": "deny"],
        ]
        return base.merged(with: .map(changes))
    }

    private func failure(_ changes: ValueMap) -> LunetteError? {
        do throws(LunetteError) {
            _ = try PluginManifest(value: manifest(changes))
            return nil
        } catch { return error }
    }

    @Test func theContractsExampleIsRead() throws {
        let manifest = try PluginManifest(value: manifest())
        #expect(manifest.provides["network"] == ["ptp"])
        #expect(manifest.timeouts == ["attach": 5])
        #expect(manifest.onFailure == ["network": .deny])
        #expect(manifest.transport == .lua && manifest.isolation == .engine)
    }

    @Test(arguments: ["name", "version", "api", "entry", "provides"])
    func aRequiredFieldIsNamedWhenItIsMissing(field: String) {
        #expect(failure([field: .null])?.path == field)
    }

    @Test(arguments: [
        ("name", Value.string("../x")), ("name", "Has Spaces"), ("version", "one"), ("api", "banana"), ("api", "2"),
        ("entry", "../init.lua"),
        ("entry", "/etc/init.lua"), ("transport", "telepathy"), ("isolation", "vm"),
    ])
    func aBadFieldIsNamed(field: String, value: Value) {
        #expect(failure([field: value])?.path == field)
    }

    @Test func aTypoNamesTheNearest() {
        #expect(failure(["provids": .map([:])])?.hint == "did you mean \"provides\"?")
        #expect(failure(["permissions": ["net:lnk"]])?.hint == "did you mean \"net:link\"?")
        #expect(failure(["provides": ["volumes": []]])?.hint == "did you mean \"volume\"?")
        #expect(failure(["on_failure": ["volume": "dny"]])?.path == "on_failure.volume")
    }

    @Test func anApiRangeThatLeavesUsOutSaysSo() {
        #expect(failure(["api": ">=2 <3"])?.message == "it works with API >=2 <3, and this is API 1")
        #expect(failure(["api": ">=1 <3"]) == nil)
    }

    @Test func jsonThatIsNoneNamesTheFile() {
        do throws(LunetteError) {
            _ = try PluginManifest(json: Array("{".utf8), source: "/p/plugin.json")
            Issue.record("it was read")
        } catch {
            #expect(error.code == .pluginFailed && error.message.contains("/p/plugin.json"))
        }
    }

    @Test func theFirstFolderWinsAndABrokenManifestIsKeptWithItsError() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("plugins-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: directory) }
        func put(_ place: String, _ name: String, _ json: String) throws {
            let folder = directory.appendingPathComponent("\(place)/\(name)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try json.write(to: folder.appendingPathComponent("plugin.json"), atomically: true, encoding: .utf8)
        }
        try put("a", "one", #"{"name":"one","version":"1","api":"1","entry":"init.lua","provides":{}}"#)
        try put("b", "one", #"{"name":"one","version":"2","api":"1","entry":"init.lua","provides":{}}"#)
        try put("b", "two", #"{"name":"other","version":"2","api":"1","entry":"init.lua","provides":{}}"#)
        let found = PluginDiscovery.search([directory.path + "/missing", directory.path + "/a", directory.path + "/b"])
        #expect(found.map(\.name) == ["one", "two"])
        #expect(try found[0].manifest.get().version == "1")
        #expect(throws: LunetteError.self) { try found[1].manifest.get() }
    }

    @Test func theBundledPluginsManifestsAreRight() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        for found in PluginDiscovery.search([folder.path + "/plugins"]) { _ = try found.manifest.get() }
    }
}
