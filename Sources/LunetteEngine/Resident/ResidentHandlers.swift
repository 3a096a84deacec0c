import LunetteAPI
import LunetteSpec

extension Resident {
    /// Makes the handlers that a loaded script registered; nobody asks them yet.
    /// - Throws: what is wrong with a registration, with its file and line.
    static func handlers(
        of code: any LoadedScript, _ script: ResidentScript, hooks: Hooks
    ) async throws(LunetteError) -> [Subscription] {
        var made: [Subscription] = []
        for registration in code.registrations {
            let line = registration["line"]?.intValue
            let place = "\(registration["file"]?.stringValue ?? script.file)\(line.map { ":\($0)" } ?? "")"
            do throws(LunetteError) {
                var map = registration.mapValue ?? [:]
                for key in ["line", "file"] { map[key] = nil }
                if let function = APIRegistry.function("hook.register") { try APIRegistry.check(.map(map), for: function) }
                made.append(
                    try await hooks.make(
                        HookRequest(.map(map)), source: .resident, session: "resident/\(script.name)", place: place,
                        receiver: code.receiver))
            } catch {
                var failure = error
                failure.message = "\(place): \(failure.path.map { "\($0): " } ?? "")\(failure.message)"
                failure.path = nil
                throw failure
            }
        }
        return made
    }
}
