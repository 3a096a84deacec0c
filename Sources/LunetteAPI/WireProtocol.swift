// The engine's socket: MessagePack-RPC (as Neovim speaks it) on a unix stream socket, mode 0600.
//
//   client                                            engine
//     │  [0, 7, "container.run", [arguments, context]]   │   request; descriptors ride on its first byte (SCM_RIGHTS),
//     │ ───────────────────────────────────────────────► │   `context.files` says how many
//     │              [2, "chunk", [7, {phase = …}]]      │   what the call streams, in order; `context.credit` chunks at most,
//     │ ◄─────────────────────────────────────────────── │   then as many more as the client grants
//     │  [2, "credit", [7, 16]]                          │
//     │ ───────────────────────────────────────────────► │
//     │              [0, 1, "hook.before", [sub, event]] │   a session handler is called: the engine's own requests,
//     │ ◄─────────────────────────────────────────────── │   with ids of its own
//     │  [1, 1, nil, {deny = "…"}]                       │
//     │ ───────────────────────────────────────────────► │
//     │  [2, "cancel", [7]]                              │   either end may cancel what it asked for; the answer still comes
//     │ ───────────────────────────────────────────────► │
//     │              [1, 7, error | nil, result | nil]   │   response
//     │ ◄─────────────────────────────────────────────── │
//     │         [1, nil, error, nil], end of stream      │   a malformed frame, a client too many: one error, then the end
//     │ ◄─────────────────────────────────────────────── │
//
// context = { id = text (repeated with the same id, a call gets the first outcome), version = 1, deadline = unix seconds, cause = {…},
//             script = text, line = n, files = n, credit = n }; all of it may be absent. The peer's uid, gid and pid come from the kernel.
// Ids of requests are unsigned 32-bit numbers; an end may use one again when its response has come.

package import LunetteSpec

/// Bounds what one peer can make the other hold.
package struct WireLimits: Sendable {
    /// Bytes in one frame that is received; a longer one ends the connection.
    package var receivedFrame: Int
    /// Values in one frame that is received; so does one with more.
    package var receivedValues = WireScanner.maximumItems
    /// Bytes in one frame that is sent; a longer one fails the call and nothing else.
    package var sentFrame: Int
    /// Descriptors that may wait for the frame they came with.
    package var files = 16
    /// Requests of the peer under way at once; one more is answered `resource_exhausted`.
    package var requests = 256
    /// Bytes of the peer's requests under way above which nothing more is read from it.
    package var requestBytes = 32 << 20
    /// Bytes waiting to be written above which chunks wait.
    package var chunkQueue = 256 << 10
    /// Bytes waiting to be written above which nothing more is read from the peer.
    package var writeQueue = 4 << 20
    /// Seconds for which a peer may take nothing off its socket while bytes wait; then it counts as gone.
    package var stall = 30.0

    /// The engine's end: arguments are small (bulk goes by descriptor), results may hold 2 × 16 MiB of captured output.
    package static let engine = WireLimits(receivedFrame: 20 << 20, sentFrame: 40 << 20)
    /// The engine's end of a resident script's socket, whose users aren't the engine's.
    package static let guest: WireLimits = {
        var limits = WireLimits(receivedFrame: 1 << 20, sentFrame: 40 << 20)
        limits.receivedValues = 20_000
        limits.requests = 64
        limits.requestBytes = 2 << 20
        return limits
    }()
    package static let client = WireLimits(receivedFrame: 40 << 20, sentFrame: 20 << 20)

    package init(receivedFrame: Int, sentFrame: Int) {
        self.receivedFrame = receivedFrame
        self.sentFrame = sentFrame
    }
}

/// One frame of the protocol.
package enum WireFrame: Sendable, Equatable {
    case request(id: UInt32, method: String, params: [Value])
    /// A nil id answers no request: the connection ends with this error.
    case response(id: UInt32?, error: LunetteError?, result: Value)
    case notification(method: String, params: [Value])

    package var encoded: [UInt8] {
        switch self {
        case .request(let id, let method, let params):
            MessagePack.encode(.array([0, .int(Int64(id)), .string(method), .array(params)]))
        case .response(let id, let error, let result):
            MessagePack.encode(.array([1, id.map { .int(Int64($0)) } ?? .null, error?.value ?? .null, result]))
        case .notification(let method, let params):
            MessagePack.encode(.array([2, .string(method), .array(params)]))
        }
    }

    /// - Throws: `invalid_argument` for bytes that are not MessagePack, and for MessagePack that is no frame.
    package init(decoding bytes: [UInt8]) throws(LunetteError) {
        guard case .array(let parts) = try MessagePack.decode(bytes), let kind = parts.first?.intValue else {
            throw WireFrame.malformed("not a list that starts with a kind")
        }
        switch (kind, parts.count) {
        case (0, 4):
            guard let id = parts[1].intValue.flatMap({ UInt32(exactly: $0) }), let method = parts[2].stringValue,
                let params = WireFrame.list(parts[3])
            else { throw WireFrame.malformed("a request is [0, id, method, params]") }
            self = .request(id: id, method: method, params: params)
        case (1, 4):
            let id = parts[1].intValue.flatMap { UInt32(exactly: $0) }
            guard id != nil || parts[1].isNull else { throw WireFrame.malformed("a response is [1, id, error, result]") }
            self = .response(id: id, error: parts[2].isNull ? nil : LunetteError(value: parts[2]), result: parts[3])
        case (2, 3):
            guard let method = parts[1].stringValue, let params = WireFrame.list(parts[2]) else {
                throw WireFrame.malformed("a notification is [2, method, params]")
            }
            self = .notification(method: method, params: params)
        default:
            throw WireFrame.malformed("kind \(kind) with \(parts.count) parts")
        }
    }

    /// Lua can't tell an empty list from an empty table, and other clients send one for no parameters.
    private static func list(_ value: Value) -> [Value]? {
        if let items = value.arrayValue { return items }
        if case .map(let map) = value, map.isEmpty { return [] }
        return nil
    }

    package static func malformed(_ why: String) -> LunetteError {
        LunetteError(.invalidArgument, "read a frame from the peer: \(why)", hint: "the protocol is MessagePack-RPC; see docs/protocol.md")
    }
}

/// The methods that are no API functions.
package enum WireMethod {
    package static let chunk = "chunk"
    package static let credit = "credit"
    package static let cancel = "cancel"
    package static let hookBefore = "hook.before"
    package static let hookOn = "hook.on"
}

extension APIRequest {
    /// Says what stands beside the arguments in a request's frame.
    package func context(files: Int, credit: Int?) -> Value {
        var map = ValueMap()
        map["id"] = .string(id)
        map["version"] = .int(Int64(version))
        if let deadline { map["deadline"] = .double(deadline) }
        if !cause.isEmpty { map["cause"] = .array(cause.map(Value.string)) }
        if let script = actor.script { map["script"] = .string(script) }
        if let line = actor.line { map["line"] = .int(Int64(line)) }
        if files > 0 { map["files"] = .int(Int64(files)) }
        if let credit { map["credit"] = .int(Int64(credit)) }
        return .map(map)
    }

    /// Reads a request's frame; what the kernel says of the peer (`actor`) stands above what it claims.
    /// - Throws: `invalid_argument` for a context that is none, `unsupported` for a version that isn't 1.
    package init(method: String, params: [Value], peer: Actor, freshID: () -> String) throws(LunetteError) {
        guard params.count <= 2 else { throw LunetteError(.invalidArgument, "call \(method): parameters are [arguments, context]") }
        var reader = try FieldReader(params.count > 1 ? params[1] : .null, path: "context")
        var actor = peer
        actor.script = try reader.string("script")
        actor.line = try reader.int("line").flatMap { Int(exactly: $0) }
        let version = try reader.int("version") ?? 1
        guard version == 1 else {
            throw LunetteError(.unsupported, "call \(method): API version \(version)", hint: "this engine speaks version 1")
        }
        let id = try reader.string("id") ?? freshID()
        guard !id.isEmpty, id.utf8.count <= 128 else { throw reader.failure("id", "1 to 128 bytes of text") }
        self.init(
            id: id, function: method, arguments: params.first.map { $0.isNull ? .map([:]) : $0 } ?? .map([:]), actor: actor,
            cause: try reader.strings("cause") ?? [], deadline: try reader.double("deadline"), version: 1
        )
    }
}
