/// Names an operating system and processor, as `linux/amd64` or `linux/arm/v7`.
public struct Platform: Hashable, Sendable, CustomStringConvertible {
    public var os: String
    public var architecture: String
    public var variant: String?
    public var osVersion: String?
    public var osFeatures: [String]

    public init(os: String, architecture: String, variant: String? = nil, osVersion: String? = nil, osFeatures: [String] = []) {
        self.os = os
        self.architecture = architecture
        self.variant = variant
        self.osVersion = osVersion
        self.osFeatures = osFeatures
    }

    /// Parses `os/arch[/variant]` or a bare architecture (`arm64`), with the names people use (`x86_64`, `aarch64`).
    /// - Throws: `invalid_argument`.
    public init(_ text: String) throws(LunetteError) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let hint = "write os/architecture[/variant], such as \"linux/arm64\""
        let wellFormed = parts.allSatisfy { part in
            !part.isEmpty
                && part.utf8.allSatisfy { Character(UnicodeScalar($0)).isLetter || (48...57).contains($0) || "_.-".utf8.contains($0) }
        }
        guard wellFormed, (1...3).contains(parts.count) else {
            throw LunetteError(.invalidArgument, "\"\(displayable(text, limit: 64))\" is not a platform", hint: hint)
        }
        self.init(os: parts.count == 1 ? "linux" : parts[0].lowercased(), architecture: parts.count == 1 ? parts[0] : parts[1])
        variant = parts.count == 3 ? parts[2] : nil
        normalise()
        // Two words may name what nobody has heard of yet; one alone has to say which of the two it is.
        guard parts.count > 1 || Self.architectures.contains(architecture) else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(text, limit: 64))\" is not an architecture",
                hint: nearest(to: text.lowercased(), in: Self.architectures).map { "did you mean \"\($0)\"?" } ?? hint)
        }
    }

    /// What images are made for, by Go's names.
    private static let architectures = [
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm",
    ]

    /// The platform that this binary was built for.
    public static var native: Platform {
        #if arch(arm64)
            Platform(os: "linux", architecture: "arm64")
        #else
            Platform(os: "linux", architecture: "amd64")
        #endif
    }

    /// Gives each processor its one name. Source: containerd's platforms/database.go, whose names image-spec readers share.
    private mutating func normalise() {
        switch architecture.lowercased() {
        case "x86_64", "x86-64", "amd64": architecture = "amd64"
        case "aarch64", "arm64":
            architecture = "arm64"
            if variant == "8" || variant == "v8" { variant = nil }
        case "i386", "i486", "i586", "i686", "386": architecture = "386"
        case "armhf": (architecture, variant) = ("arm", variant ?? "v7")
        case "armel": (architecture, variant) = ("arm", variant ?? "v6")
        default: break
        }
    }

    public var description: String { [os, architecture, variant].compactMap { $0 }.joined(separator: "/") }

    /// How well an image of `other` suits this platform: nil not at all, larger is better.
    ///
    /// An image without a variant runs on every variant; arm64's only variant `v8` counts as none.
    public func fitness(of other: Platform) -> Int? {
        var (mine, theirs) = (self, other)
        mine.normalise()
        theirs.normalise()
        guard mine.os == theirs.os, mine.architecture == theirs.architecture else { return nil }
        if mine.variant == theirs.variant { return 2 }
        return mine.variant == nil || theirs.variant == nil ? 1 : nil
    }

    public init(reading reader: inout FieldReader) throws(LunetteError) {
        os = try reader.required("os")
        architecture = try reader.required("architecture")
        variant = try reader.string("variant").flatMap { $0.isEmpty ? nil : $0 }
        osVersion = try reader.string("os.version")
        osFeatures = try reader.strings("os.features") ?? []
    }

    public var value: Value {
        var map: ValueMap = ["architecture": .string(architecture), "os": .string(os)]
        if let osVersion { map["os.version"] = .string(osVersion) }
        if !osFeatures.isEmpty { map["os.features"] = .array(osFeatures.map(Value.string)) }
        if let variant { map["variant"] = .string(variant) }
        return .map(map)
    }
}
