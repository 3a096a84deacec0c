/// Names content by its SHA-256, as `sha256:<64 lower-case hex digits>`.
///
/// A value of this type is always well formed, so it can be used in a path without looking again (CVE-2024-3727).
/// Source: image-spec descriptor.md, "Digests". sha512 is registered there too; this store holds sha256 alone.
public struct Digest: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// 64 lower-case hex digits.
    public let hex: String

    public var algorithm: String { "sha256" }
    public var description: String { "sha256:\(hex)" }
    /// The twelve digits that listings show.
    public var short: String { String(hex.prefix(12)) }

    /// - Throws: `invalid_argument` when malformed, `unsupported` for a registered algorithm other than sha256.
    public init(_ text: String) throws(LunetteError) {
        let bytes = Array(text.utf8)
        let shown = displayable(text, limit: 100)
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else {
            throw LunetteError(.invalidArgument, "\"\(shown)\" is not a digest", hint: "a digest is sha256: and 64 hex digits")
        }
        let algorithm = String(decoding: bytes[..<colon], as: UTF8.self)
        guard algorithm == "sha256" else {
            let registered = algorithm == "sha512" || algorithm == "blake3"
            throw LunetteError(registered ? .unsupported : .invalidArgument, "digest \"\(shown)\": the algorithm must be sha256")
        }
        try self.init(hex: String(decoding: bytes[(colon + 1)...], as: UTF8.self))
    }

    /// - Throws: `invalid_argument` unless `hex` is 64 lower-case hex digits.
    public init(hex: String) throws(LunetteError) {
        guard Self.isHex(hex) else {
            throw LunetteError(.invalidArgument, "digest \"sha256:\(displayable(hex, limit: 100))\": sha256 has 64 lower-case hex digits")
        }
        self.hex = hex
    }

    /// Makes a digest of the 32 bytes that a hash function gave.
    public init(sha256 bytes: some Collection<UInt8>) {
        precondition(bytes.count == 32, "SHA-256 has 32 bytes")
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(64)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        hex = String(decoding: text, as: UTF8.self)
    }

    public static func isHex(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }

    public static func < (left: Digest, right: Digest) -> Bool { left.hex < right.hex }
}

/// Makes hostile text fit for one line of a message: control characters become `\xNN`, and what is too long is cut.
///
/// Names and messages reach terminals; an escape sequence in them must not (attack 19).
public func displayable(_ text: String, limit: Int = 256) -> String {
    // Most are: as they stand.
    if text.utf8.count <= limit, text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) { return text }
    var out = ""
    var count = 0
    for scalar in text.unicodeScalars {
        if count == limit { return out + "…" }
        count += 1
        let value = scalar.value
        // C0, DEL, C1, and the bidirectional controls that reorder what is read.
        if value < 0x20 || (0x7f...0x9f).contains(value) || (0x202a...0x202e).contains(value) || (0x2066...0x2069).contains(value) {
            out += "\\x" + (value < 16 ? "0" : "") + String(value, radix: 16)
        } else {
            out.unicodeScalars.append(scalar)
        }
    }
    return out
}
