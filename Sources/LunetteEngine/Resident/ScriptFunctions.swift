import LunetteAPI
import LunetteSpec

extension Functions {
    static let scripts: [String: Function] = [
        "script.list": .reading { engine, call, _ async throws(LunetteError) in
            try call.arguments().finish()
            return .array(await engine.resident.list())
        },
        // Repeated it finds nothing changed.
        "script.reload": .reading { engine, call, _ async throws(LunetteError) in
            try call.arguments().finish()
            return try await engine.resident.reload()
        },
    ]
}
