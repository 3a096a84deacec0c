/// Points at content: what it is, its digest and its exact size. Source: image-spec descriptor.md.
public struct Descriptor: Hashable, Sendable {
    public var mediaType: MediaType
    public var digest: Digest
    /// Bytes; content of any other size is refused before it is hashed.
    public var size: Int64
    public var urls: [String]
    public var annotations: [String: String]
    public var platform: Platform?
    public var artifactType: String?

    public init(
        mediaType: MediaType, digest: Digest, size: Int64, urls: [String] = [], annotations: [String: String] = [:],
        platform: Platform? = nil, artifactType: String? = nil
    ) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
        self.urls = urls
        self.annotations = annotations
        self.platform = platform
        self.artifactType = artifactType
    }

    /// - Throws: `invalid_argument` with the field's path.
    public init(_ value: Value, path: String = "") throws(LunetteError) {
        var reader = try FieldReader(value, path: path)
        try self.init(reading: &reader)
    }

    /// Unknown fields are ignored, as image-spec asks of readers.
    public init(reading reader: inout FieldReader) throws(LunetteError) {
        mediaType = MediaType(rawValue: try reader.required("mediaType"))
        digest = try reader.digest("digest")
        guard let size = try reader.int("size") else { throw reader.failure("size", "is required") }
        guard size >= 0 else { throw reader.failure("size", "a size can't be negative, got \(size)") }
        self.size = size
        urls = try reader.strings("urls") ?? []
        annotations = try reader.dictionary("annotations")
        artifactType = try reader.string("artifactType")
        if var table = try reader.table("platform") { platform = try Platform(reading: &table) }
    }

    public var value: Value {
        var map: ValueMap = [
            "mediaType": .string(mediaType.rawValue), "digest": .string(digest.description), "size": .int(size),
        ]
        if !urls.isEmpty { map["urls"] = .array(urls.map(Value.string)) }
        if let platform { map["platform"] = platform.value }
        if let artifactType { map["artifactType"] = .string(artifactType) }
        map.set("annotations", annotations)
        return .map(map)
    }
}

extension FieldReader {
    /// A required digest.
    public mutating func digest(_ key: String) throws(LunetteError) -> Digest {
        let text = try required(key)
        do { return try Digest(text) } catch { throw LunetteError(error.code, error.message, path: path(of: key), hint: error.hint) }
    }

    /// A free-form map of text to text, empty when absent.
    public mutating func dictionary(_ key: String) throws(LunetteError) -> [String: String] {
        var result: [String: String] = [:]
        for (name, text) in try stringMap(key) ?? [] { result[name] = text }
        return result
    }
}

extension ValueMap {
    /// Sets a map of text, sorted by key so that the same content always gives the same bytes; an empty one is left out.
    mutating func set(_ key: String, _ dictionary: [String: String]) {
        guard !dictionary.isEmpty else { return }
        self[key] = .strings(dictionary)
    }

    /// Sets a list of text; an empty one is left out.
    mutating func set(_ key: String, _ list: [String]) {
        guard !list.isEmpty else { return }
        self[key] = .array(list.map(Value.string))
    }

    mutating func set(_ key: String, _ text: String?) { if let text { self[key] = .string(text) } }
    mutating func set(_ key: String, _ number: Int64?) { if let number { self[key] = .int(number) } }
    mutating func set(_ key: String, _ flag: Bool?) { if let flag { self[key] = .bool(flag) } }
}

extension Value {
    /// A map of text to text, sorted by key.
    public static func strings(_ dictionary: [String: String]) -> Value {
        var map = ValueMap()
        for key in dictionary.keys.sorted() { map[key] = .string(dictionary[key]!) }
        return .map(map)
    }
}
