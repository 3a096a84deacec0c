internal import LunetteLinux
package import LunetteSpec

/// Says how registries are reached: `<config>/registries.json`, `<config>/auth.json`, one `ca.crt` a host in `<config>/certs.d/<host[:port]>/`.
package struct RegistryConfiguration: Sendable {
    /// One registry's settings.
    package struct Registry: Sendable, Hashable {
        /// Base URLs tried in order before the registry itself (`http://mirror.lan:5000`).
        package var mirrors: [String] = []
        /// Plain HTTP, or with `tls=true` TLS without a check of the certificate.
        package var isInsecure = false

        package init(mirrors: [String] = [], isInsecure: Bool = false) {
            self.mirrors = mirrors
            self.isInsecure = isInsecure
        }
    }

    /// By host, with the port where there is one.
    package var registries: [String: Registry] = [:]
    /// `user:password` by host.
    package var credentials: [String: String] = [:]
    /// `/etc/lunette`, where `certs.d` is; nil looks nowhere.
    package var directory: String?
    private var wasRead = false

    package init(registries: [String: Registry] = [:], directory: String? = nil) {
        self.registries = registries
        self.directory = directory
    }

    /// Reads the files below `directory`; those that aren't there say nothing.
    ///
    ///     { "registries": { "docker.io": { "mirrors": ["https://mirror.lan"] } }, "insecure": ["registry.lan:5000"] }
    ///
    /// - Throws: `invalid_argument` with file and field for what can't be read.
    package static func load(directory: String) throws(LunetteError) -> RegistryConfiguration {
        var configuration = RegistryConfiguration(directory: directory)
        configuration.wasRead = true
        if let value = try read("\(directory)/registries.json", directory) {
            var reader = try FieldReader(value, path: "registries.json")
            if let value = reader.value("registries") {
                let table = try FieldReader(value, path: "registries.json.registries")
                for host in table.keys {
                    var entry = try FieldReader(value[host] ?? .null, path: table.path(of: host))
                    configuration.registries[host] = Registry(
                        mirrors: try entry.strings("mirrors") ?? [], isInsecure: try entry.bool("insecure") ?? false)
                    for mirror in configuration.registries[host]!.mirrors
                    where !mirror.hasPrefix("http://") && !mirror.hasPrefix("https://") {
                        throw entry.failure(
                            "mirrors", "\"\(displayable(mirror, limit: 100))\" is no URL",
                            hint: "write http://host[:port] or https://host[:port]")
                    }
                    try entry.finish()
                }
            }
            for host in try reader.strings("insecure") ?? [] { configuration.registries[host, default: Registry()].isInsecure = true }
            try reader.finish()
        }
        // The form that podman login and docker login write.
        if let auths = try read("\(directory)/auth.json", directory)?["auths"]?.mapValue {
            for (host, entry) in auths {
                if let text = entry["auth"]?.stringValue, let decoded = Base64.decode(text) {
                    configuration.credentials[host == "https://index.docker.io/v1/" ? "docker.io" : host] = decoded
                }
            }
        }
        return configuration
    }

    /// What the files say now: a password that was just put into `auth.json` counts for the next pull, however long the engine has run.
    func current() throws(LunetteError) -> RegistryConfiguration {
        guard wasRead, let directory else { return self }
        return try RegistryConfiguration.load(directory: directory)
    }

    private static func read(_ path: String, _ directory: String) throws(LunetteError) -> Value? {
        let name = String(path.dropFirst(directory.count + 1))
        let bytes: [UInt8]?
        do throws(SystemCallError) { bytes = try Directory(directory).read(name, limit: 1 << 20) } catch {
            if error.errno == ErrorNumber.noEntry { return nil }
            throw error.lunette
        }
        return if let bytes { try JSON.decode(bytes, source: path) } else { nil }
    }

    /// The certificate that `host` is checked with; nil when there is none of its own.
    func certificate(for host: String) -> String? {
        guard let directory else { return nil }
        let path = "\(directory)/certs.d/\(host)/ca.crt"
        // Absent is the usual case; one that is there but unreadable fails in the TLS handshake, by name.
        return (try? fileStatus(-100, path, follow: true, label: path)) == nil ? nil : path
    }
}
