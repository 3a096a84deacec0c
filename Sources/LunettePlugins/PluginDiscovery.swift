import LunetteLinux
public import LunetteSpec

/// Finds plugin folders and reads their manifests; runs nothing.
public enum PluginDiscovery {
    /// A plugin folder as it was found.
    public struct Found: Sendable {
        /// The folder's name; the manifest's must be the same.
        public var name: String
        /// Absolute.
        public var directory: String
        public var manifest: Result<PluginManifest, LunetteError>

        package init(name: String, directory: String, manifest: Result<PluginManifest, LunetteError>) {
            self.name = name
            self.directory = directory
            self.manifest = manifest
        }
    }

    /// - Parameter directories: folders of plugin folders; the first that has a name wins. A missing one has none. Blocks.
    /// - Returns: sorted by name.
    public static func search(_ directories: [String]) -> [Found] {
        var found: [String: Found] = [:]
        for directory in directories {
            // A folder that isn't there has no plugins.
            guard let folder = try? Directory(directory), let names = try? folder.entries() else { continue }
            for name in names.sorted() where found[name] == nil && !name.hasPrefix(".") {
                guard let plugin = try? folder.openDirectory(name) else { continue }  // A file beside the folders.
                let path = "\(directory)/\(name)"
                guard let manifest = read(plugin, path, name) else { continue }
                found[name] = Found(name: name, directory: path, manifest: manifest)
            }
        }
        return found.values.sorted { $0.name < $1.name }
    }

    /// - Returns: nil for a folder without a manifest.
    private static func read(_ folder: Directory, _ path: String, _ name: String) -> Result<PluginManifest, LunetteError>? {
        let source = "\(path)/plugin.json"
        do throws(LunetteError) {
            guard
                let bytes = try atBorder(
                    "read the manifest \(source)", { () throws(SystemCallError) in try folder.read("plugin.json", limit: 1 << 20) })
            else { return nil }
            let manifest = try PluginManifest(json: bytes, source: source)
            guard manifest.name == name else {
                throw LunetteError(
                    .pluginFailed, "read the manifest \(source): it names \"\(manifest.name)\", and its folder is \"\(name)\"", path: "name"
                )
            }
            return .success(manifest)
        } catch {
            return .failure(error)
        }
    }
}
