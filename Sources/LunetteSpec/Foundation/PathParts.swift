// Paths as the kernel takes them apart: by bytes. To Swift a slash with a combining mark behind it is another character than a slash, so that
// `split(separator: "/")` would leave "../\u{301}x" in one piece, and `contains("..")` would pass it.

private let slash = UInt8(ascii: "/")

extension Substring {
    /// The names between the slashes; empty ones are left out.
    package var pathParts: [Substring] { utf8.split(separator: slash).map { Substring($0) } }

    /// Whether there is a slash in it, to the kernel.
    package var hasSlash: Bool { utf8.contains(slash) }
}

extension String {
    /// The names between the slashes; empty ones are left out.
    package var pathParts: [Substring] { self[...].pathParts }

    /// Whether there is a slash in it, to the kernel.
    package var hasSlash: Bool { self[...].hasSlash }
}
