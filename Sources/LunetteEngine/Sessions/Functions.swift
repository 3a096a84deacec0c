import LunetteSpec

/// What answers one API function.
struct Function: Sendable {
    typealias Body = @Sendable (Engine, Call, Session) async throws(LunetteError) -> Value

    /// Whether its outcome is kept for a repetition of the request id.
    var isKept: Bool
    var body: Body

    /// Changes something: repeated, it must not act twice.
    static func changing(_ body: @escaping Body) -> Function { Function(isKept: true, body: body) }
    /// Reads, streams, or may be repeated without harm.
    static func reading(_ body: @escaping Body) -> Function { Function(isKept: false, body: body) }
}

/// Every function by its name in the registry; one file per group adds its own.
enum Functions {
    static let all: [String: Function] = [
        Functions.containers, Functions.containerLife, Functions.containerInside, Functions.images, Functions.volumes, Functions.hooks,
        Functions.system, Functions.scripts, Functions.apply, Functions.store, Functions.audit, Functions.prompts,
    ].reduce(into: [:]) { $0.merge($1) { first, _ in first } }
}
