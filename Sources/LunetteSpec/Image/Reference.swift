/// Names an image as people write it (`redis`, `ghcr.io/a/b:1`, `redis@sha256:…`), normalised as Docker does.
///
/// `redis` is `docker.io/library/redis:latest`. Source: github.com/distribution/reference (regexp.go, normalize.go).
public struct Reference: Hashable, Sendable, CustomStringConvertible {
    /// Host and optional port: `docker.io`, `localhost:5000`, `[::1]:5000`.
    public let registry: String
    /// `library/redis`.
    public let repository: String
    /// Nil only when a digest is given.
    public let tag: String?
    public let digest: Digest?

    private static let defaultRegistry = "docker.io"
    private static let hint = "write [registry/]name[:tag][@digest], such as \"redis:7\" or \"localhost:5000/team/app\""

    /// - Throws: `invalid_argument` that quotes the text; hostile names (`..`, upper case, empty parts) have no valid form.
    public init(_ text: String) throws(LunetteError) {
        let shown = displayable(text, limit: 120)
        func failure(_ why: String) -> LunetteError {
            LunetteError(.invalidArgument, "\"\(shown)\" is not an image reference: \(why)", hint: Self.hint)
        }
        guard !text.isEmpty, text.utf8.count <= 700 else { throw failure(text.isEmpty ? "it is empty" : "it is too long") }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { throw failure("it has characters that no reference has") }
        // Docker refuses a bare image id as a name: whoever registers that name would be pulled instead.
        guard !Digest.isHex(text) else { throw failure("64 hex digits are an image id") }

        var rest = text[...]
        var digest: Digest?
        if let at = rest.firstIndex(of: "@") {
            do { digest = try Digest(String(rest[rest.index(after: at)...])) } catch { throw failure(error.message) }
            rest = rest[..<at]
        }
        var tag: String?
        let afterSlash = rest.lastIndex(of: "/").map { rest.index(after: $0) } ?? rest.startIndex
        if let colon = rest[afterSlash...].firstIndex(of: ":") {
            let text = String(rest[rest.index(after: colon)...])
            guard Self.isTag(text) else { throw failure("the tag \"\(displayable(text, limit: 40))\" is malformed") }
            tag = text
            rest = rest[..<colon]
        }
        var (registry, repository) = Self.split(String(rest))
        if registry == "index.docker.io" { registry = Self.defaultRegistry }
        if registry == Self.defaultRegistry, !repository.hasSlash { repository = "library/" + repository }
        guard Self.isRegistry(registry) else { throw failure("the registry \"\(registry)\" is malformed") }
        guard registry.utf8.count + repository.utf8.count < 255 else { throw failure("the name is longer than 255 characters") }
        for part in repository.split(separator: "/", omittingEmptySubsequences: false) where !Self.isPathComponent(part) {
            let upper = part.lowercased() != part && Self.isPathComponent(Substring(part.lowercased()))
            throw failure(upper ? "names are lower-case" : "\"\(part)\" is malformed")
        }
        self.init(registry: registry, repository: repository, tag: tag ?? (digest == nil ? "latest" : nil), digest: digest)
    }

    private init(registry: String, repository: String, tag: String?, digest: Digest?) {
        self.registry = registry
        self.repository = repository
        self.tag = tag
        self.digest = digest
    }

    /// The same name with another digest; its tag stays.
    public func with(digest: Digest?) -> Reference {
        Reference(registry: registry, repository: repository, tag: tag ?? (digest == nil ? "latest" : nil), digest: digest)
    }

    /// `registry/repository`.
    public var name: String { "\(registry)/\(repository)" }

    /// The whole form: `docker.io/library/redis:latest`.
    public var description: String { name + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "") }

    /// The form that people read: `redis:latest`.
    public var familiar: String {
        var short = name
        if registry == Self.defaultRegistry {
            short =
                repository.hasPrefix("library/") && !repository.dropFirst(8).hasSlash ? String(repository.dropFirst(8)) : repository
        }
        return short + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    public var target: String { digest?.description ?? tag ?? "latest" }

    private static func split(_ name: String) -> (registry: String, repository: String) {
        guard let slash = name.firstIndex(of: "/") else { return (defaultRegistry, name) }
        let first = String(name[..<slash])
        let isHost = first.contains(".") || first.contains(":") || first == "localhost" || first.lowercased() != first
        return isHost ? (first, String(name[name.index(after: slash)...])) : (defaultRegistry, name)
    }

    private static func isTag(_ text: String) -> Bool {
        guard (1...128).contains(text.utf8.count), let first = text.utf8.first else { return false }
        return first != UInt8(ascii: ".") && first != UInt8(ascii: "-")
            && text.utf8.allSatisfy { isAlphanumeric($0) || "_.-".utf8.contains($0) }
    }

    private static func isRegistry(_ text: String) -> Bool {
        var host = text[...]
        if host.first == "[" {
            guard let close = host.firstIndex(of: "]") else { return false }
            let address = host[host.index(after: host.startIndex)..<close]
            guard !address.isEmpty, address.utf8.allSatisfy({ $0 == UInt8(ascii: ":") || Character(UnicodeScalar($0)).isHexDigit }) else {
                return false
            }
            let port = host[host.index(after: close)...]
            return port.isEmpty || (port.first == ":" && isPort(port.dropFirst()))
        }
        if let colon = host.firstIndex(of: ":") {
            guard isPort(host[host.index(after: colon)...]) else { return false }
            host = host[..<colon]
        }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            !label.isEmpty && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
        }
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.utf8.allSatisfy { (48...57).contains($0) } && UInt16(text) != nil
    }

    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
    private static func isPathComponent(_ text: Substring) -> Bool {
        var separator: [UInt8] = []
        var sawWord = false
        for byte in text.utf8 {
            if (97...122).contains(byte) || (48...57).contains(byte) {
                if !separator.isEmpty {
                    let dashes = separator.allSatisfy { $0 == UInt8(ascii: "-") }
                    guard dashes || separator == Array(".".utf8) || separator == Array("_".utf8) || separator == Array("__".utf8) else {
                        return false
                    }
                    separator = []
                }
                sawWord = true
            } else {
                guard sawWord, "._-".utf8.contains(byte) else { return false }
                separator.append(byte)
            }
        }
        return sawWord && separator.isEmpty
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
    }
}
