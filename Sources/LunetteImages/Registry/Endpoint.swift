internal import LunetteSpec

/// One server that images of a registry come from: the registry itself or a mirror of it.
struct Endpoint: Sendable, Equatable {
    /// `https://host[:port]`, perhaps with a path, without a slash at the end.
    var base: String
    /// `host[:port]`, as messages name it.
    var host: String
    var caFile: String?
    var skipsVerification = false
    var isMirror = false
    /// Asked for by name (mirrors answer for several registries): containerd's `ns` parameter.
    var namespace: String?

    var usesTLS: Bool { base.hasPrefix("https:") }

    /// The endpoints for `registry`, in the order in which they are tried.
    static func all(for registry: String, _ configuration: RegistryConfiguration, tls: Bool?, withMirrors: Bool) -> [Endpoint] {
        let settings = configuration.registries[registry] ?? RegistryConfiguration.Registry()
        var result: [Endpoint] = []
        for mirror in withMirrors ? settings.mirrors : [] {
            let base = mirror.hasSuffix("/") ? String(mirror.dropLast()) : mirror
            let host = String(base.drop { $0 != "/" }.dropFirst(2).prefix { $0 != "/" })
            result.append(
                Endpoint(
                    base: base, host: host, caFile: configuration.certificate(for: host),
                    skipsVerification: configuration.registries[host]?.isInsecure ?? false, isMirror: true, namespace: registry))
        }
        let host = registry == "docker.io" ? "registry-1.docker.io" : registry
        let caFile = configuration.certificate(for: registry)
        // A certificate that somebody put there says TLS; else loopback, where nobody listens in, and what is configured so is plain.
        let isPlain = tls.map { !$0 } ?? (caFile == nil && (settings.isInsecure || isLoopback(host)))
        result.append(
            Endpoint(
                base: (isPlain ? "http://" : "https://") + host, host: registry, caFile: caFile, skipsVerification: settings.isInsecure))
        return result
    }

    static func isLoopback(_ host: String) -> Bool {
        if host.hasPrefix("[::1]") { return true }
        let name = host.prefix { $0 != ":" }
        if name == "localhost" || name.hasSuffix(".localhost") { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}

/// The few things about a URL that following a redirect needs.
enum Location {
    /// `scheme://host[:port]`: what authorisation is for.
    static func origin(_ url: String) -> String {
        guard let scheme = url.range(of: "://") else { return "" }
        let rest = url[scheme.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        // user@host would send the rest of the name's look-up elsewhere than it reads.
        let host = authority.split(separator: "@").last.map(String.init) ?? ""
        let name = url[..<scheme.lowerBound].lowercased()
        let hasPort = host.drop { $0 != "]" }.contains(":") || (!host.hasPrefix("[") && host.contains(":"))
        return "\(name)://\(host.lowercased())" + (hasPort ? "" : name == "https" ? ":443" : ":80")
    }

    /// Reads a `Location` header against the URL that it came from.
    static func resolve(_ location: String, against url: String) -> String {
        if location.hasPrefix("http://") || location.hasPrefix("https://") { return location }
        guard let scheme = url.range(of: "://") else { return location }
        if location.hasPrefix("//") { return url[..<scheme.upperBound].dropLast(2) + location }
        let end = url[scheme.upperBound...].firstIndex(of: "/") ?? url.endIndex
        if location.hasPrefix("/") { return url[..<end] + location }
        let path = url[end...].prefix { $0 != "?" }
        let folder = path.lastIndex(of: "/").map { path[...$0] } ?? "/"
        return url[..<end] + folder + location
    }

    static func adding(_ name: String, _ value: String, to url: String) -> String {
        url + (url.contains("?") ? "&" : "?") + name + "=" + escaped(value)
    }

    static func escaped(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            let isPlain = (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || "-._~:/".utf8.contains(byte)
            if isPlain {
                out.unicodeScalars.append(UnicodeScalar(byte))
            } else {
                out += (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
            }
        }
        return out
    }
}

extension String {
    fileprivate func range(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
