import LunetteAPI
import LunetteSpec

extension Functions {
    static let store: [String: Function] = [
        "store.fetch": .reading { engine, call, session async throws(LunetteError) in
            var arguments = try call.arguments()
            let place = try StorePlace(&arguments, call, session)
            try arguments.finish()
            guard let entry = try await engine.state.stored(place) else { return ["version": 0] }
            return ["version": .int(entry.version), "value": try MessagePack.decode(entry.value)]
        },
        "store.put": .changing { engine, call, session async throws(LunetteError) in
            var arguments = try call.arguments()
            let place = try StorePlace(&arguments, call, session)
            let expected = try arguments.int("version")
            guard let value = arguments.value("value"), !value.isNull else { throw arguments.failure("value", "is required") }
            try arguments.finish()
            return .int(try await engine.state.store(MessagePack.encode(value), at: place, expecting: expected, for: call))
        },
        "store.drop": .changing { engine, call, session async throws(LunetteError) in
            var arguments = try call.arguments()
            let place = try StorePlace(&arguments, call, session)
            let expected = try arguments.int("version")
            try arguments.finish()
            return .bool(try await engine.state.store(nil, at: place, expecting: expected, for: call) != 0)
        },
        "store.keys": .reading { engine, call, session async throws(LunetteError) in
            var arguments = try call.arguments()
            let store = try StorePlace.store(&arguments, call, session)
            let prefix = try arguments.string("prefix") ?? ""
            try arguments.finish()
            return .array(try await engine.state.storedKeys(store, prefix: prefix).map(Value.string))
        },
    ]
}

/// One value's place: whose store, and the key in it.
struct StorePlace: Sendable {
    let store: String
    let key: String

    init(store: String, key: String) {
        self.store = store
        self.key = key
    }

    /// Reads `store` and `key` of a call.
    /// - Throws: `denied` for a store that is somebody else's; `invalid_argument` for a key that can't be one.
    init(_ arguments: inout FieldReader, _ call: Call, _ session: Session) throws(LunetteError) {
        store = try StorePlace.store(&arguments, call, session)
        key = try arguments.required("key")
        guard !key.isEmpty, key.utf8.count <= 512 else { throw arguments.failure("key", "must have 1 to 512 bytes") }
    }

    /// Whose store may be named: resident code's and plugins' by those alone and root, a user's by that user and root, shared ones by everybody.
    static func store(_ arguments: inout FieldReader, _ call: Call, _ session: Session) throws(LunetteError) -> String {
        let store = try arguments.required("store")
        let parts = store.utf8.split(separator: UInt8(ascii: "/"), maxSplits: 2, omittingEmptySubsequences: false)
        let second = parts.count > 1 ? String(parts[1]) ?? "" : ""
        let uid = call.request.actor.uid
        let isTheirs =
            switch parts.first.flatMap({ String($0) }) {
            case "resident", "plugin": session.isInternal || uid == 0
            case "user": second == String(uid) || uid == 0
            case "shared": true
            default: false
            }
        guard isTheirs, !second.isEmpty, store.utf8.count <= 4200 else {
            throw LunetteError(.denied, "the store \"\(displayable(store, limit: 80))\" is not this caller's", path: "store")
        }
        return store
    }
}
