import LunetteSpec

/// Says how registries are reached: `<config>/registries.json`, and one `ca.crt` a host in `<config>/certs.d/<host[:port]>/`.
package struct RegistryConfiguration: Sendable {
    /// One registry's settings.
    package struct Registry: Sendable, Hashable {
        /// Base URLs tried in order before the registry itself (`http://mirror.lan:5000`).
        package var mirrors: [String] = []
        /// Plain HTTP, or TLS without a check of the certificate.
        package var isInsecure = false
        package init() {}
    }

    /// By host, with the port where there is one.
    package var registries: [String: Registry] = [:]
    /// `/etc/lunette`, where `certs.d` is; nil looks nowhere.
    package var directory: String?

    package init() {}
}
