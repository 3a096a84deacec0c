public import LunetteSpec

/// What code that isn't the operator's own may call, in the operator's words: a function (`container.exec`), a noun (`volume.*`), or all (`*`).
public enum Grant {
    /// What can be granted: what the engine answers, and what code does on the host itself.
    public static let grantable = APIRegistry.engineFunctions + APIRegistry.nouns.flatMap(APIRegistry.functions).filter(isOfTheHost)

    /// Whether it reaches past the engine: `*` doesn't give it.
    static func isOfTheHost(_ function: APIFunction) -> Bool {
        function.place == .client && ["process", "http", "sandbox"].contains(function.noun)
    }

    /// Whether one of `grants` gives a function.
    public static func covers(_ function: APIFunction, _ grants: [String]) -> Bool {
        grants.contains { grant in
            grant == "*" && !isOfTheHost(function) || grant == function.name
                || grant.hasSuffix(".*") && grant != "*"
                    && function.name.hasPrefix(grant.dropLast())
        }
    }

    /// - Throws: `invalid_argument` for a grant that gives nothing, with the nearest that does.
    public static func validate(_ grants: [String], path: String) throws(LunetteError) {
        let names = grantable.map(\.name)
        for (index, grant) in grants.enumerated() where !grantable.contains(where: { covers($0, [grant]) }) {
            let nouns = Set(names.compactMap { $0.split(separator: ".").first.map { "\($0).*" } })
            throw LunetteError(
                .invalidArgument, "\"\(displayable(grant, limit: 60))\" grants nothing", path: "\(path)[\(index + 1)]",
                hint: nearest(to: grant, in: names + nouns).map { "did you mean \"\($0)\"?" }
                    ?? "a function, a noun as \"volume.*\", or \"*\"")
        }
    }

    /// The functions that a source seems to call: what an operator is asked to grant. It is read, not run: a call under another name isn't seen,
    /// and one that is never reached is.
    public static func asked(by source: [UInt8]) -> [String] {
        var verbs: Set<String> = []
        var calls: Set<String> = []
        var words: Set<String> = []
        var last = ""
        var word: [UInt8] = []
        var mark: UInt8 = 0
        var quote: UInt8 = 0
        for byte in source + [0] {
            let isWord = byte == 95 || (97...122).contains(byte | 32) && byte != 96 || (48...57).contains(byte)
            if isWord {
                word.append(byte)
                continue
            }
            if !word.isEmpty {
                let text = String(decoding: word, as: UTF8.self)
                words.insert(text)
                if mark == UInt8(ascii: ":") { verbs.insert(text) }
                // An event's name isn't a call.
                if mark == UInt8(ascii: "."), quote == 0 { calls.insert("\(last).\(text)") }
                last = text
                word = []
                mark = 0
            }
            if quote != 0, byte == quote || byte == UInt8(ascii: "\n") {
                quote = 0
            } else if quote == 0, byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
                quote = byte
            }
            if byte == UInt8(ascii: ".") || byte == UInt8(ascii: ":") { mark = byte } else if byte > 32 { mark = 0 }
        }
        return grantable.filter { function in
            // What is applied while loading is shown as an object, and what it stores is its own: neither needs a grant.
            if function.lua.isHidden || function.verb == "apply" || function.noun == "store" { return false }
            // A method is any noun's that has it, as far as the source speaks of the noun at all: a handler's "container.exited", say.
            return calls.contains(function.name)
                || function.lua.methodOf.map(words.contains) ?? false && verbs.contains(function.verb)
        }.map(\.name).sorted()
    }
}
