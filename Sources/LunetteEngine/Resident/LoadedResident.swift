import LunetteAPI
import LunetteSpec

/// One script of the version that runs, or that is about to.
struct LoadedResident: Sendable {
    let script: ResidentScript
    let code: any LoadedScript
    var handlers: [Subscription] = []
    var lifecycles: [Lifecycle] = []
    var desired: [DesiredObject] = []
    var sockets: [EngineSocket] = []

    init(script: ResidentScript, code: any LoadedScript) { (self.script, self.code) = (script, code) }

    /// Makes handlers, lifecycles and desired objects of what it has registered; nothing is asked or brought about yet.
    /// - Parameter places: where each name that is for all scripts of a version is taken.
    /// - Throws: what is wrong, with its file and line.
    mutating func register(with hooks: Hooks, _ places: inout [String: String]) async throws(LunetteError) {
        let session = "resident/\(script.name)"
        for registration in code.registrations {
            let line = registration["line"]?.intValue
            let place = "\(registration["file"]?.stringValue ?? script.file)\(line.map { ":\($0)" } ?? "")"
            do throws(LunetteError) {
                var map = registration.mapValue ?? [:]
                for key in ["line", "file"] { map[key] = nil }
                if registration["kind"] == "lifecycle" {
                    let lifecycle = try Lifecycle(.map(map), receiver: code.receiver, place: place, session: session)
                    try take("lifecycle \"\(lifecycle.name)\"", place, &places)
                    lifecycles.append(lifecycle)
                    continue
                }
                if let function = APIRegistry.function("hook.register") { try APIRegistry.check(.map(map), for: function) }
                handlers.append(
                    try await hooks.make(HookRequest(.map(map)), source: .resident, session: session, place: place, receiver: code.receiver)
                )
            } catch {
                var failure = error
                // As it was typed; a lifecycle's errors say so themselves.
                let function = registration["kind"]?.stringValue.flatMap { $0 == "lifecycle" ? nil : "lunette.\($0): " } ?? ""
                failure.message = "\(place): \(function)\(failure.path.map { "\($0): " } ?? "")\(failure.message)"
                failure.path = nil
                throw failure
            }
        }
        for value in code.desired {
            for object in try DesiredObject.all(value, script: script) {
                try take("\(object.kind) \"\(object.name)\"", object.place, &places)
                desired.append(object)
            }
        }
    }

    private func take(_ what: String, _ place: String, _ places: inout [String: String]) throws(LunetteError) {
        guard let other = places.updateValue("\(place) (script \(script.name))", forKey: what) else { return }
        throw LunetteError(.alreadyExists, "\(place): the \(what) is declared at \(other) already")
    }
}
