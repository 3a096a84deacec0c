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
        "script.plan": .reading { engine, call, session async throws(LunetteError) in
            try session.refuseInstalling(call)
            let (script, prunes) = try ResidentScript.given(call)
            return try await engine.resident.plan(script, prunes: prunes)
        },
        "script.apply": .changing { engine, call, session async throws(LunetteError) in
            try session.refuseInstalling(call)
            let (script, prunes) = try ResidentScript.given(call)
            return try await engine.resident.apply(script, prunes: prunes)
        },
        "script.remove": .changing { engine, call, session async throws(LunetteError) in
            try session.refuseInstalling(call)
            var arguments = try call.arguments()
            let name = try arguments.required("name")
            let prunes = try arguments.bool("prune") ?? false
            try arguments.finish()
            return try await engine.resident.remove(name, prunes: prunes)
        },
        "script.source": .reading { engine, call, _ async throws(LunetteError) in
            var arguments = try call.arguments()
            let name = try arguments.required("name")
            try arguments.finish()
            return try await engine.resident.source(of: name)
        },
    ]
}

extension Session {
    /// Code that may call what it was granted shall not grant itself more.
    fileprivate func refuseInstalling(_ call: Call) throws(LunetteError) {
        guard isInternal else { return }
        throw LunetteError(
            .denied, "resident code and plugins install no resident code", operation: call.request.function,
            hint: "lunette apply does, and scripts that a user runs")
    }
}

extension ResidentScript {
    private static let limit = 1 << 20

    /// Reads the arguments of `script.plan` and `script.apply`.
    fileprivate static func given(_ call: Call) throws(LunetteError) -> (script: ResidentScript, prunes: Bool) {
        var arguments = try call.arguments()
        let name = try arguments.required("name")
        guard name.utf8.count <= 100, !name.hasPrefix("conf.d/"), name != "init",
            name.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "\\") })
        else {
            throw arguments.failure(
                "name", "\"\(displayable(name, limit: 80))\" can't be a script's name",
                hint: "up to 100 ASCII characters without / and blanks, and not init")
        }
        guard let source = try arguments.bytes("source") else { throw arguments.failure("source", "is required") }
        var modules: [String: [UInt8]] = [:]
        var size = source.count
        for (module, text) in arguments.value("modules")?.mapValue ?? [:] {
            _ = try ModuleName.candidates(module)
            guard let bytes = text.byteString else { throw arguments.failure("modules.\(module)", "expected a source, got \(text.kind)") }
            modules[module] = bytes
            size += bytes.count
        }
        guard size <= limit else {
            throw LunetteError(
                .resourceExhausted, "the script \(name) and its modules have \(size) bytes, more than \(limit)", path: "source")
        }
        let grants = try arguments.strings("grants") ?? []
        try Grant.validate(grants, path: "grants")
        let file = try arguments.string("file") ?? "\(name).lua"
        let prunes = try arguments.bool("prune") ?? false
        try arguments.finish()
        return (
            ResidentScript(name: name, file: displayable(file, limit: 100), source: source, grants: grants.sorted(), modules: modules),
            prunes
        )
    }
}
