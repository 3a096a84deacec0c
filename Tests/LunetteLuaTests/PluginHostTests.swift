import Foundation
import LunetteLinux
import LunettePlugins
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteLua

@Suite struct PluginHostTests {
    /// Loads a plugin from its init.lua.
    private func load(
        _ source: String, permissions: Set<String> = ["fs"], config: Value = [:], timeouts: String = "{}",
        _ body: (any LoadedPlugin, String) async throws -> Void
    ) async throws {
        let directory = NSTemporaryDirectory() + "lunette-plugin-" + randomIdentifier(bytes: 6)
        try FileManager.default.createDirectory(atPath: directory + "/volumes", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try Data(source.utf8).write(to: URL(fileURLWithPath: directory + "/init.lua"))
        let json = """
            {"name":"test","version":"1.0.0","api":"1","entry":"init.lua","provides":{"volume":["t"]},"permissions":["fs"],"timeouts":\(timeouts)}
            """
        let manifest = try PluginManifest(json: Array(json.utf8), source: "plugin.json")
        let plugin = try await LuaPluginHost().load(
            manifest, directory: directory,
            environment: PluginEnvironment(
                config: config, permissions: permissions, stateDirectory: directory, volumesDirectory: directory + "/volumes"))
        try await body(plugin, directory)
        await plugin.stop()
    }

    private let request = DriverRequest(operation: "op", volume: VolumeDescription(id: "v1", name: "data", size: 100))

    @Test func aDriverMakesMountsAndRemovesFolders() async throws {
        try await load(
            """
            local function folder(r) return r.volumes_directory .. "/" .. r.volume.id end
            return { volume = { t = {
              create = function(r) fs.mkdir(folder(r), { mode = "0750", parents = true }) return { made = r.volume.name } end,
              mount = function(r) return { path = folder(r), state = { n = 1 } } end,
              remove = function(r) fs.remove(folder(r), { recursive = true }) end,
              usage = function(r) local u = fs.usage(folder(r)) return { used = u.used, inodes = u.inodes, limit = r.volume.size } end,
            } } }
            """
        ) { plugin, directory in
            let driver = try #require(plugin.volumeDrivers["t"])
            #expect(driver.functions == ["create", "mount", "remove", "usage"])
            #expect(try await driver.create(request)["made"]?.stringValue == "data")
            let (path, state) = try await driver.mount(request)
            #expect(path == directory + "/volumes/v1")
            #expect(state["n"]?.intValue == 1)
            try Data("hello".utf8).write(to: URL(fileURLWithPath: path + "/file"))
            let usage = try #require(try await driver.usage(request))
            #expect(usage.inodes == 2 && usage.limit == 100)
            // Whatever a container made in it.
            try Directory(path).makeDeepTree("d", levels: 2000)
            #expect(try await driver.usage(request)?.inodes == 2002)
            try await driver.remove(request)
            try await driver.remove(request)
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test(arguments: [
        ("return { volume = { t = { mount = function() error('broken') end } } }", "plugin_failed", "broken"),
        ("return { volume = { t = { mount = function() lunette.fail('denied', 'not today') end } } }", "denied", "not today"),
        ("return { volume = { t = { mount = function() while true do end end } } }", "plugin_failed", "longer than it may"),
        ("return { volume = { t = { mount = function() task.sleep(100) end } } }", "timeout", "not done within"),
        ("return { volume = { t = { mount = function() return { path = 'relative' } end } } }", "plugin_failed", "absolute path"),
        ("return { volume = { t = { mount = function() return { path = print } end } } }", "invalid_argument", "can't be sent"),
        ("return { volume = { t = { mount = function(r) fs.write(r.volumes_directory .. '/../x', '') end } } }", "denied", "outside"),
    ])
    func failuresComeHomeAsErrors(_ source: String, _ code: String, _ text: String) async throws {
        try await load(source, timeouts: #"{"mount":"1s"}"#) { plugin, _ in
            let driver = try #require(plugin.volumeDrivers["t"])
            let error = await #expect(throws: LunetteError.self) { _ = try await driver.mount(request) }
            #expect(error?.code.rawValue == code, "\(String(describing: error))")
            #expect(error?.message.contains(text) == true, "\(String(describing: error))")
            // And the plugin still answers.
            try await plugin.selfTest()
        }
    }

    /// Attack 79: modules come from the plugin's own folder, wherever a link in it points.
    @Test func modulesStayInThePluginsFolder() async throws {
        let outside = NSTemporaryDirectory() + "lunette-outside-" + randomIdentifier(bytes: 6)
        try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: outside) }
        try Data("return 'outside'".utf8).write(to: URL(fileURLWithPath: outside + "/secret.lua"))
        let source = """
            return { volume = { t = { mount = function(r)
              local answers = {}
              for _, name in ipairs { "good", "file", "folder.secret", "up", "../x", "/etc/passwd", "a/b", "" } do
                local ok, value = pcall(require, name)
                answers[#answers + 1] = ok and tostring(value) or "-"
              end
              return { path = "/" .. table.concat(answers, " ") }
            end } } }
            """
        try await load(source) { plugin, directory in
            try Data("return 'good'".utf8).write(to: URL(fileURLWithPath: directory + "/good.lua"))
            for (name, target) in [
                ("file.lua", "\(outside)/secret.lua"), ("folder", outside), ("up.lua", "../../../../../../..\(outside)/secret.lua"),
            ] {
                try FileManager.default.createSymbolicLink(atPath: "\(directory)/\(name)", withDestinationPath: target)
            }
            let driver = try #require(plugin.volumeDrivers["t"])
            #expect(try await driver.mount(request).path == "/good - - - - - - -")
        }
    }

    @Test(arguments: [
        ("return 1", "not a table"), ("error('no')", "no"), ("return {", "expected"), ("return {}", "without a function mount"),
        ("lunette.container.list() return {}", "container.list isn't called while"),
        ("return { validate = function() return false, 'bad mtu' end }", "bad mtu"),
        ("io.open('/etc/passwd') return {}", "nil value"),
    ])
    func aPluginThatCannotBeLoadedIsRefused(_ source: String, _ text: String) async throws {
        let error = await #expect(throws: LunetteError.self) { try await load(source) { _, _ in } }
        #expect(error?.message.contains(text) == true, "\(String(describing: error))")
    }

    @Test func callsNeedAPermission() async throws {
        try await load("return { volume = { t = { mount = function(r) lunette.container.list() end } } }") { plugin, _ in
            let driver = try #require(plugin.volumeDrivers["t"])
            let error = await #expect(throws: LunetteError.self) { try await driver.mount(request) }
            #expect(error?.message.contains("not among what") == true, "\(String(describing: error))")
        }
    }

    @Test func filesNeedAPermission() async throws {
        try await load(
            "return { volume = { t = { mount = function(r) return { path = fs.list(r.volumes_directory) } end } } }", permissions: []
        ) {
            plugin, _ in
            let driver = try #require(plugin.volumeDrivers["t"])
            let error = await #expect(throws: LunetteError.self) { _ = try await driver.mount(request) }
            #expect(error?.code == .denied)
        }
    }

    /// To Swift's characters `/` and a combining mark behind it are one, and no slash; to the kernel `..` is followed by a slash.
    @Test(arguments: ["/../\u{301}x", "/a/../../\u{301}x", "/link/\u{301}x"])
    func noPathLeadsOutByACharacterThatHidesASlash(path: String) throws {
        let folder = FileManager.default.temporaryDirectory.path + "/lunette-files.\(UUID().uuidString)"
        let root = folder + "/root"
        try FileManager.default.createDirectory(atPath: root + "/a", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createSymbolicLink(atPath: root + "/link", withDestinationPath: folder)
        #expect(throws: LunetteError.self) { try FileTree.write(root + path, [1], isAppending: false, mode: 0o600, roots: [root]) }
        #expect(!FileManager.default.fileExists(atPath: folder + "/\u{301}x"))
        try FileTree.write(root + "/a/x", [1], isAppending: false, mode: 0o600, roots: [root])
    }
}
