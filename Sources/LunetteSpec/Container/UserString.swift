/// Says as whom a process runs: `USER[:GROUP]`, each a number or a name.
///
/// Digits are always an id, never a name: an image whose /etc/passwd has a line `1000:x:0:0` can't turn 1000 into root. Forms that other
/// parsers read in surprising ways (`00`, `1000:`, `:0`, `-1`, `4294967295`) are refused (attack 12; CVE-2026-30892, CVE-2024-40635).
public struct UserString: Hashable, Sendable, CustomStringConvertible {
    public enum Principal: Hashable, Sendable {
        case id(UInt32)
        /// Looked up in the container's /etc/passwd or /etc/group by the shim.
        case name(String)
    }

    public let user: Principal
    /// Nil takes the user's group from /etc/passwd, or 0 for an id that isn't there.
    public let group: Principal?

    public static let root = UserString(user: .id(0), group: .id(0))

    public init(user: Principal, group: Principal?) {
        self.user = user
        self.group = group
    }

    /// - Throws: `invalid_argument` that quotes the text.
    public init(_ text: String) throws(LunetteError) {
        let parts = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count <= 2 else { throw Self.failure(text, "it has more than one \":\"") }
        user = try Self.principal(parts[0], in: text, what: "user")
        group = parts.count == 2 ? try Self.principal(parts[1], in: text, what: "group") : nil
    }

    private static func failure(_ text: String, _ why: String) -> LunetteError {
        LunetteError(
            .invalidArgument, "\"\(displayable(text, limit: 80))\" is not a user: \(why)",
            hint: "write a name or a number, and after \":\" a group: \"1000\", \"redis\", \"1000:1000\""
        )
    }

    private static func principal(_ text: Substring, in whole: String, what: String) throws(LunetteError) -> Principal {
        guard !text.isEmpty else { throw failure(whole, "the \(what) is empty") }
        if text.utf8.allSatisfy({ (48...57).contains($0) }) {
            guard text == "0" || text.utf8.first != UInt8(ascii: "0") else { throw failure(whole, "\(text) has a leading zero") }
            // Docker and the OCI tools end at 2^31-1; 2^32-1 means "leave as it is" to the kernel.
            guard let id = UInt32(text), id <= 0x7fff_ffff else { throw failure(whole, "the \(what)'s number is larger than 2147483647") }
            return .id(id)
        }
        let first = text.utf8.first!
        let body = text.utf8.last == UInt8(ascii: "$") ? text.utf8.dropLast() : text.utf8[...]
        let fits =
            text.utf8.count <= 256 && (Names.isAlphanumeric(first) || first == UInt8(ascii: "_"))
            && body.allSatisfy { Names.isAlphanumeric($0) || "_.-".utf8.contains($0) }
        guard fits else { throw failure(whole, "the \(what)'s name has characters that no name has") }
        return .name(String(text))
    }

    /// The largest id that it names by number.
    public var largestID: UInt32 {
        var largest: UInt32 = 0
        for case .id(let id)? in [user, group] { largest = max(largest, id) }
        return largest
    }

    public var description: String {
        func text(_ principal: Principal) -> String {
            switch principal {
            case .id(let id): String(id)
            case .name(let name): name
            }
        }
        return text(user) + (group.map { ":" + text($0) } ?? "")
    }
}
