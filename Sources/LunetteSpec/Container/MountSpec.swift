/// Says what stands at one folder of the container beside its root.
public struct MountSpec: Hashable, Sendable {
    public enum Kind: String, CaseIterable, Sendable { case volume, bind, tmpfs, image, secret, config }

    /// What the kernel does with mounts made later below this one (mount_namespaces(7)). Nothing ever travels from the container to the host.
    public enum Propagation: String, CaseIterable, Sendable { case `private`, slave }

    public var kind: Kind
    /// A volume's name (empty makes one without a name), a host path, or an image; empty for tmpfs.
    public var source: String
    /// Normalised; never the root, /proc, /sys or what the runtime itself mounts.
    public var target: String
    public var isReadonly: Bool
    /// Bytes of a tmpfs; nil is the kernel's default, half of memory.
    public var size: Int64?
    /// The mode of a tmpfs's top folder.
    public var mode: UInt32
    public var isExecutable: Bool
    public var propagation: Propagation
    /// Whether mounts below a bind's source come along.
    public var isRecursive: Bool
    /// Whether an empty volume first gets what the image has at the target.
    public var copiesImageContent: Bool

    public init(
        _ kind: Kind, source: String = "", target: String, isReadonly: Bool = false, size: Int64? = nil, mode: UInt32 = 0o1777,
        isExecutable: Bool = true, propagation: Propagation = .private, isRecursive: Bool = true, copiesImageContent: Bool = true
    ) {
        self.kind = kind
        self.source = source
        self.target = target
        self.isReadonly = isReadonly
        self.size = size
        self.mode = mode
        self.isExecutable = isExecutable
        self.propagation = propagation
        self.isRecursive = isRecursive
        self.copiesImageContent = copiesImageContent
    }

    /// What the runtime itself mounts: nothing may stand on, above or (for proc and sys) below it. See attack 10.
    package static func validateTarget(_ target: String, path: String) throws(LunetteError) {
        let reserved =
            target == "/" || target == "/dev"
            || ["/proc", "/sys", "/dev/pts", "/dev/mqueue"].contains { ContainerPath.isWithin(target, $0) }
        guard !reserved else {
            throw LunetteError(
                .invalidArgument, "nothing can be mounted on \"\(displayable(target))\": the container's own file systems stand there",
                path: path)
        }
    }

    init(reading reader: inout FieldReader) throws(LunetteError) {
        if let text = try reader.string("type"), Kind(rawValue: text) == nil {
            // Of those that are known, these are built.
            let built = ["volume", "bind", "tmpfs"]
            throw reader.failure(
                "type", "\"\(displayable(text, limit: 40))\" is not one of \"volume\", \"bind\", \"tmpfs\"",
                hint: nearest(to: text, in: built).map { "did you mean \"\($0)\"?" })
        }
        guard let kind = try reader.choice("type", Kind.self) else {
            throw reader.failure("type", "is required", hint: "one of volume, bind, tmpfs")
        }
        switch kind {
        case .volume, .bind, .tmpfs: break
        case .image: throw reader.unsupported("type", "mounting an image isn't built yet")
        case .secret, .config: throw reader.unsupported("type", "\(kind.rawValue) mounts aren't built yet")
        }
        let target = try ContainerPath.normalise(try reader.required("target"), path: reader.path(of: "target"))
        try Self.validateTarget(target, path: reader.path(of: "target"))
        self.init(kind, source: try Self.source(of: kind, &reader), target: target, isReadonly: try reader.bool("readonly") ?? false)
        if try reader.bool("fork") == true { throw reader.unsupported("fork", "forks of volumes aren't built yet") }
        if var options = try reader.table("options") { try read(options: &options) }
        try reader.finish()
    }

    private static func source(of kind: Kind, _ reader: inout FieldReader) throws(LunetteError) -> String {
        let text = try reader.string("source")
        switch kind {
        case .tmpfs:
            guard text == nil || text == "" || text == "tmpfs" else { throw reader.failure("source", "a tmpfs has no source") }
            return ""
        case .bind:
            guard let text else { throw reader.failure("source", "is required: the host path to bind") }
            guard text.utf8.first == UInt8(ascii: "/") else {
                throw reader.failure("source", "\"\(displayable(text, limit: 120))\" is not an absolute host path")
            }
            guard !text.utf8.contains(0), text.utf8.count < 4096 else {
                throw reader.failure("source", "is no host path: a NUL byte, or longer than Linux takes")
            }
            return text
        default:
            guard let text, !text.isEmpty else { return "" }
            try Names.validate(text, kind: "volume", path: reader.path(of: "source"))
            return text
        }
    }

    private mutating func read(options: inout FieldReader) throws(LunetteError) {
        isExecutable = try options.bool("exec") ?? true
        switch kind {
        case .tmpfs:
            size = try options.size("size")
            if let size, size == 0 { throw options.failure("size", "a tmpfs of no bytes holds nothing") }
            if let mode = try options.mode("mode") { self.mode = mode }
        case .bind:
            propagation = try options.choice("propagation", Propagation.self) ?? .private
            if propagation != .private { throw options.unsupported("propagation", "mounts are always private to the container") }
            isRecursive = try options.bool("recursive") ?? true
        default:
            copiesImageContent = try options.bool("copy") ?? true
        }
        try options.finish()
    }

    public var value: Value {
        var map: ValueMap = ["type": .string(kind.rawValue)]
        if !source.isEmpty { map["source"] = .string(source) }
        map["target"] = .string(target)
        map["readonly"] = .bool(isReadonly)
        var options = ValueMap()
        if !isExecutable { options["exec"] = false }
        if let size { options["size"] = .int(size) }
        if kind == .tmpfs, mode != 0o1777 { options["mode"] = .string(String(mode, radix: 8)) }
        if propagation != .private { options["propagation"] = .string(propagation.rawValue) }
        if !isRecursive { options["recursive"] = false }
        if !copiesImageContent { options["copy"] = false }
        map["options"] = .map(options)
        return .map(map)
    }
}

extension FieldReader {
    /// A file mode, written in octal as a string (`"0755"`); a number would be read as decimal by some and octal by others.
    public mutating func mode(_ key: String) throws(LunetteError) -> UInt32? {
        guard let value = value(key) else { return nil }
        guard let text = value.stringValue, let mode = UInt32(text, radix: 8), mode <= 0o7777, text.utf8.first != UInt8(ascii: "+") else {
            throw failure(key, "expected a mode in octal as a string, such as \"0755\"")
        }
        return mode
    }
}
