import LunetteSpec

/// Three numbers that say what changed: `1.2.3`; missing ones are 0.
struct Version: Hashable, Comparable, Sendable {
    var major: Int
    var minor = 0
    var patch = 0

    init(major: Int, minor: Int = 0, patch: Int = 0) { (self.major, self.minor, self.patch) = (major, minor, patch) }

    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { part in part.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(part) : nil }
        guard (1...3).contains(parts.count), numbers.count == parts.count else { return nil }
        self.init(major: numbers[0], minor: numbers.count > 1 ? numbers[1] : 0, patch: numbers.count > 2 ? numbers[2] : 0)
    }

    static func < (left: Version, right: Version) -> Bool { (left.major, left.minor, left.patch) < (right.major, right.minor, right.patch) }
}

/// Conditions that must all hold, separated by spaces: `>=1.2 <3`. A bare version means that one and what only adds to it (`1` is `>=1 <2`).
struct VersionRange: Sendable {
    private var conditions: [(String, Version)] = []

    init(_ text: String, path: String) throws(LunetteError) {
        for word in text.split(separator: " ") {
            let sign = word.prefix { "<>=".contains($0) }
            guard let version = Version(word.dropFirst(sign.count)), ["", "=", ">", "<", ">=", "<="].contains(sign) else {
                throw Self.failure(text, path)
            }
            if sign.isEmpty {
                conditions += [(">=", version), ("<", Version(major: version.major + 1))]
            } else {
                conditions.append((String(sign), version))
            }
        }
        if conditions.isEmpty { throw Self.failure(text, path) }
    }

    private static func failure(_ text: String, _ path: String) -> LunetteError {
        LunetteError(
            .invalidArgument, "\"\(displayable(text, limit: 80))\" is not a version range", path: path, hint: "write \"1\", or \">=1.2 <3\""
        )
    }

    func contains(_ version: Version) -> Bool {
        conditions.allSatisfy { sign, bound in
            switch sign {
            case ">": version > bound
            case "<": version < bound
            case ">=": version >= bound
            case "<=": version <= bound
            default: version == bound
            }
        }
    }
}
