// Paths as the kernel takes them apart: by bytes. To Swift a slash with a combining mark behind it is another character than a slash, so that
// `split(separator: "/")` would leave "../\u{301}x" in one piece, and `contains("..")` would pass it.

private let slash = UInt8(ascii: "/")

extension String {
    /// The names between the slashes; empty ones are left out.
    package var pathParts: [Substring] { utf8.split(separator: slash).map { Substring($0) } }

    package var hasSlash: Bool { utf8.contains(slash) }
}

extension Substring {
    /// As a string's.
    package var pathParts: [Substring] { utf8.split(separator: slash).map { Substring($0) } }

    package var hasSlash: Bool { utf8.contains(slash) }
}
