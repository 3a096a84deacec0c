import Synchronization

/// Knows every function and record of API 1: the one source of argument checking, help, completion, types and reference pages.
public enum APIRegistry {
    /// The API that this Lunette speaks; within it things are only added.
    public static let version = 1

    /// Nouns in the order in which the reference shows them.
    public static let nouns = [
        "image", "container", "volume", "hook", "events", "script", "plugin", "system", "sandbox", "lunette", "task", "store", "process",
        "http",
        "log", "json", "fs", "test",
    ]

    /// - Returns: the functions of one noun, in the order of the reference; empty for an unknown noun. Made at the first call, per noun.
    public static func functions(of noun: String) -> [APIFunction] {
        switch noun {
        case "image": ImageFunctions.all
        case "container": ContainerFunctions.all
        case "volume": VolumeFunctions.all
        case "hook", "events": HookFunctions.all.filter { $0.noun == noun }
        case "plugin", "system": SystemFunctions.all.filter { $0.noun == noun }
        case "script": ScriptFunctions.all + PromptFunctions.all
        case "sandbox": SandboxFunctions.all
        case "store": StoreFunctions.all
        case "process", "http": HostFunctions.all.filter { $0.noun == noun }
        case "lunette": ApplyFunctions.all + ClientFunctions.all.filter { $0.noun == noun }
        case "task", "log", "json", "fs": ClientFunctions.all.filter { $0.noun == noun }
        case "test": TestFunctions.all
        default: []
        }
    }

    /// - Returns: nil for a name that API 1 does not have.
    public static func function(_ name: String) -> APIFunction? {
        functions(of: String(name.prefix { $0 != "." })).first { $0.name == name }
    }

    /// Whether a function neither waits for something else nor changes anything: such are short, and called often. Of a name that API 1 does not
    /// have: false.
    package static func isLookup(_ name: String) -> Bool {
        if let known = lookups.withLock({ $0[name] }) { return known }
        guard let function = function(name) else { return false }
        let isLookup = !function.waits && !function.mutates
        lookups.withLock { $0[name] = isLookup }
        return isLookup
    }

    /// What was found out, by name: a noun's functions are made when one of them is first asked for, and searched each time.
    private static let lookups = Mutex<[String: Bool]>([:])

    /// Every function, of the engine and of the Lua host.
    public static var all: [APIFunction] { nouns.flatMap { functions(of: $0) } }

    /// Every function that an engine answers.
    public static var engineFunctions: [APIFunction] { all.filter { $0.place == .engine } }

    /// - Returns: nil for a name that API 1 does not have.
    public static func record(_ name: String) -> APIRecord? { records[name] }

    /// Every record, sorted by name.
    public static var allRecords: [APIRecord] { records.values.sorted { $0.name < $1.name } }

    private static let records: [String: APIRecord] = Dictionary(
        uniqueKeysWithValues: (SpecRecords.all + ResultRecords.all + TestFunctions.records).map { ($0.name, $0) }
    )
}
