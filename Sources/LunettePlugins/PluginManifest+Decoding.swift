public import LunetteSpec

extension PluginManifest {
    /// Reads `plugin.json`; runs nothing.
    /// - Parameters:
    ///   - bytes: the file.
    ///   - source: its path, for messages.
    /// - Throws: `plugin_failed` that names the file, the field and what is wrong with it.
    public init(json bytes: [UInt8], source: String) throws(LunetteError) {
        do throws(LunetteError) {
            try self.init(value: try JSON.decode(bytes, source: source))
        } catch {
            throw LunetteError(.pluginFailed, "read the manifest \(source): \(error.description)", path: error.path, hint: error.hint)
        }
    }

    init(value: Value) throws(LunetteError) {
        var reader = try FieldReader(value)
        name = try reader.required("name")
        try PluginManifest.validate(name: name, reader.path(of: "name"))
        version = try reader.required("version")
        guard Version(version) != nil else {
            throw reader.failure("version", "\"\(version)\" is not a version", hint: "write three numbers: \"1.0.0\"")
        }
        api = try reader.required("api")
        let range = try VersionRange(api, path: reader.path(of: "api"))
        entry = try reader.required("entry")
        guard !entry.hasPrefix("/"), !entry.pathParts.contains(".."), !entry.utf8.contains(0) else {
            throw reader.failure("entry", "\"\(entry)\" is not a file of the plugin's own folder")
        }
        summary = try reader.string("summary") ?? ""
        provides = [:]
        guard var points = try reader.table("provides") else { throw reader.failure("provides", "is required") }
        for key in points.keys {
            guard PluginManifest.points.contains(key) else {
                throw points.failure(
                    key, "unknown extension point",
                    hint: nearest(to: key, in: PluginManifest.points).map { "did you mean \"\($0)\"?" } ?? "known: "
                        + PluginManifest.points.joined(separator: ", "))
            }
            provides[key] = try points.strings(key) ?? []
        }
        permissions = try reader.strings("permissions") ?? []
        for (index, permission) in permissions.enumerated() where !Permission.isKnown(permission) {
            throw reader.failure(
                "permissions[\(index + 1)]", "\"\(permission)\" is not a permission",
                hint: nearest(to: permission, in: Permission.all).map { "did you mean \"\($0)\"?" })
        }
        requires = [:]
        for (name, range) in try reader.stringMap("requires") ?? [] {
            _ = try VersionRange(range, path: reader.path(of: "requires.\(name)"))
            requires[name] = range
        }
        configSchema = reader.value("config_schema") ?? .map([:])
        transport = try reader.choice("transport", Transport.self) ?? .lua
        isolation = try reader.choice("isolation", Isolation.self) ?? .engine
        timeouts = [:]
        if var table = try reader.table("timeouts") { for key in table.keys { timeouts[key] = try table.seconds(key) } }
        onFailure = [:]
        if var table = try reader.table("on_failure") { for key in table.keys { onFailure[key] = try table.choice(key, OnFailure.self) } }
        try reader.finish()
        guard range.contains(Version(major: PluginManifest.apiVersion)) else {
            throw reader.failure(
                "api", "it works with API \(api), and this is API \(PluginManifest.apiVersion)",
                hint: "install a version of the plugin for this Lunette")
        }
    }

    /// A name is also a folder and a part of messages: one path component of plain letters.
    private static func validate(name: String, _ path: String) throws(LunetteError) {
        let fits =
            (1...64).contains(name.utf8.count) && name.utf8.first != UInt8(ascii: "-")
            && name.utf8.allSatisfy {
                (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
            }
        guard fits else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(name, limit: 80))\" can't name a plugin", path: path, hint: "use a–z, 0–9, - and _")
        }
    }
}

/// What a plugin may be allowed to do.
public enum Permission {
    public static let all = [
        "net:link", "net:address", "net:route", "net:neighbour", "net:qdisc", "net:sysctl", "net:nft", "net:lease", "fs", "process:run",
        "storage:mount", "storage:loop", "storage:reflink", "store", "http:get", "http:request",
    ]

    /// - Parameter permission: a permission; `fs` alone is the plugin's own directories, `fs:/path` a host folder.
    public static func isKnown(_ permission: String) -> Bool { all.contains(permission) || permission.hasPrefix("fs:/") }
}
