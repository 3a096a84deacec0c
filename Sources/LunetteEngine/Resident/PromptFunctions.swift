import Glibc
import LunetteAPI
import LunetteSpec

extension Functions {
    static let prompts: [String: Function] = [
        // Kept: a chunk that has run isn't run again for a client that lost its answer.
        "script.evaluate": .changing { engine, call, session async throws(LunetteError) in
            try await engine.evaluate(call, in: session)
        },
        "script.complete": .reading { engine, call, session async throws(LunetteError) in
            let (code, question) = try await engine.prompted(call, in: session)
            return try await code.prompt.complete(question)
        },
    ]
}

extension Engine {
    /// Resident code that answers a prompt.
    struct PromptedCode {
        var prompt: any CodePrompt
        /// What the prompt says it is in: `kind`, and a script's `file`.
        var fields: ValueMap
    }

    fileprivate func evaluate(_ call: Call, in session: Session) async throws(LunetteError) -> Value {
        let (code, question) = try await prompted(call, in: session)
        if question["ask"] == "open", let id = question["session"]?.stringValue { session.keep(prompt: code.prompt, id: id) }
        guard
            case .map(var answer) = try await code.prompt.answer(
                question,
                onOutput: { (text) async throws(LunetteError) in
                    try await call.emit(text)
                })
        else { throw LunetteError(.internal, "the prompt gave no answer") }
        if question["ask"] == "open" {
            for (key, value) in code.fields { answer[key] = value }
            answer["engine"] = .string("\(getpid())/\(startedAt)/\(session.id)")
        }
        return .map(answer)
    }

    /// The code that a call is for, and the call's arguments.
    /// - Throws: `denied` for whoever isn't root or the engine's user, and for resident code: it would get another's permissions.
    fileprivate func prompted(_ call: Call, in session: Session) async throws(LunetteError) -> (PromptedCode, ValueMap) {
        let uid = call.request.actor.uid
        guard !session.isInternal, uid == 0 || uid == geteuid() else {
            throw LunetteError(
                .denied, "open a prompt inside resident code: that is for root and the engine's own user", operation: call.request.function)
        }
        guard let function = APIRegistry.function(call.request.function) else {
            throw LunetteError(.internal, "\(call.request.function) is not in the registry")
        }
        try APIRegistry.check(call.request.arguments, for: function)
        guard case .map(var question) = call.request.arguments, let name = question["target"]?.stringValue else {
            throw LunetteError(.invalidArgument, "\(call.request.function): target is required")
        }
        // Another connection's session is nobody's.
        question["session"] = .string("\(session.id)/\(question["session"]?.stringValue ?? "")")
        return (try await code(named: name), question)
    }

    private func code(named name: String) async throws(LunetteError) -> PromptedCode {
        if let script = await resident.code(named: name) {
            guard let prompt = script.code as? any CodePrompt else {
                throw LunetteError(.unsupported, "\(name) is not of a language with a prompt", target: name)
            }
            return PromptedCode(prompt: prompt, fields: ["kind": "script", "file": .string(script.script.file)])
        }
        let scripts = await resident.list().compactMap { $0["name"]?.stringValue }
        let names = await scripts + plugins.list().compactMap { $0["name"]?.stringValue }
        guard names.contains(name) else {
            throw LunetteError(
                .notFound, "no resident script and no plugin is called \"\(displayable(name, limit: 80))\"", target: name,
                hint: nearest(to: name, in: names).map { "did you mean \"\($0)\"?" } ?? "lunette script list, lunette plugin list")
        }
        guard let prompt = try await plugins.loaded(name) as? any CodePrompt else {
            throw LunetteError(.unsupported, "\(name) is not of a language with a prompt", target: name)
        }
        return PromptedCode(prompt: prompt, fields: ["kind": "plugin"])
    }
}
