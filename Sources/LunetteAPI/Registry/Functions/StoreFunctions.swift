import LunetteSpec

/// `store`: what scripts keep. What they call is the Lua host's; beneath it are the engine's four functions, which name the store.
enum StoreFunctions {
    private static let key = APIField("key", .string, "up to 512 bytes", required: true)

    private static func client(
        _ verb: String, _ summary: String, _ arguments: [APIField] = [], returns result: APIType = .nothing, mutates: Bool = false,
        errors: [ErrorCode] = [], example: String
    ) -> APIFunction {
        APIFunction(
            "store.\(verb)", summary, arguments, returns: result, mutates: mutates, waits: true, errors: errors, example: example,
            place: .client, lua: .init(arguments.map(\.name)), permission: "store")
    }

    private static let limits = "value 1 MiB, store 16 MiB and 10,000 keys"

    private static let visible: [APIFunction] = [
        client(
            "get", "read a value that this script has stored; nothing when there is none", [key], returns: .any,
            example: "local runs = store.get \"runs\" or 0"),
        client(
            "set", "store a value; it outlives the script, the engine and the machine's next start",
            [key, APIField("value", .any, "tables, strings, numbers, booleans; nil deletes", required: true)], mutates: true,
            errors: [.resourceExhausted], example: "store.set(\"last\", { at = lunette.now(), images = { \"redis:7\" } })"),
        client(
            "update", "read, change and store a value in one step that no other can come between",
            [
                key,
                APIField(
                    "f", .callback(.any), "gets the value or nil, returns the new one; called again when another was quicker",
                    required: true),
            ], returns: .any, mutates: true, errors: [.conflict, .resourceExhausted],
            example: "local runs = store.update(\"runs\", function(n) return (n or 0) + 1 end)"),
        client(
            "list", "list the keys, sorted", [APIField("prefix", .string, "only those that begin so")], returns: .list(.string),
            example: "for _, key in ipairs(store.list \"last\") do print(key) end"),
        client(
            "delete", "delete a value; false when there was none", [key], returns: .boolean, mutates: true,
            example: "store.delete \"last\""),
        client(
            "open", "open a store by name that every script of this engine may share; it has the same functions as methods",
            [APIField("name", .string, "letters, digits, `.`, `_`, `-`", required: true)], returns: .any, errors: [.invalidArgument],
            example: "local shared = store.open \"inventory\" shared:set(\"web\", 3) assert(shared:list())"),
    ]

    private static let store = APIField(
        "store", .string, "whose: `user/0/srv/backup.lua`, `resident/init`, `shared/inventory`", required: true)
    private static let version = APIField("version", .integer, "only if it is at this version; 0: only if there is none")

    private static func engine(
        _ verb: String, _ summary: String, _ arguments: [APIField], returns result: APIType, mutates: Bool = false,
        errors: [ErrorCode] = [], example: String
    ) -> APIFunction {
        APIFunction(
            "store.\(verb)", summary, [store] + arguments, returns: result, mutates: mutates, errors: [.denied] + errors, example: example,
            lua: .init(hidden: true), permission: "store")
    }

    static let all: [APIFunction] =
        visible + [
            engine(
                "fetch", "read a value with its version", [key], returns: .record("StoreEntry"), example: "local value = store.get \"key\""),
            engine(
                "put", "store a value (\(limits))", [key, APIField("value", .any, "the value", required: true), version],
                returns: .integer, mutates: true, errors: [.conflict, .resourceExhausted], example: "store.set(\"key\", 1)"),
            engine(
                "drop", "delete a value", [key, version], returns: .boolean, mutates: true, errors: [.conflict],
                example: "store.delete \"key\""),
            engine(
                "keys", "list the keys, sorted", [APIField("prefix", .string, "only those that begin so")], returns: .list(.string),
                example: "local keys = store.list()"),
        ]
}
