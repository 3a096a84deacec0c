internal import LunetteSpec

extension SandboxArguments {
    /// The same error in the words of the command line: the flag that gave the field, or the policy's file.
    func named(_ error: LunetteError, policy: Value?) -> LunetteError {
        guard let path = error.path else { return error }
        let field = String(path.prefix { $0 != "[" })
        var error = error
        if field == "args", args.isEmpty, policy?["args"] == nil {
            error.path = nil
            error.message = "there is no command to run in a sandbox"
            error.hint = "lunette sandbox [OPTIONS] -- COMMAND [ARGUMENTS…]; --explain alone says what a sandbox would hold"
            return error
        }
        if let file = self.policy, Self.value(at: field, in: policy) != nil { error.path = "\(displayable(file)): \(path)" }
        guard let flag = Self.flag(of: field), let given = Self.value(at: field, in: .map(table)) else { return error }
        if let index = Self.index(in: path), let before = Self.value(at: field, in: policy)?.arrayValue?.count {
            // A policy's entries come first.
            guard index > before, given.arrayValue != nil else { return error }
        }
        error.path = flag
        return error
    }

    /// Says with an unknown field which others are unknown, in the tables within too.
    static func namingAll(_ unknown: [(path: String, nearest: String?)], in error: LunetteError) -> LunetteError {
        guard let own = unknown.first(where: { $0.path == error.path }) else { return error }
        let others = unknown.filter { $0.path != own.path }.map { field in
            displayable(field.path) + (field.nearest.map { " (\($0)?)" } ?? "")
        }
        guard !others.isEmpty else { return error }
        var error = error
        error.hint = (own.nearest.map { "did you mean \"\($0)\"? " } ?? "") + "unknown as well: " + others.joined(separator: ", ")
        return error
    }

    private static func flag(of field: String) -> String? {
        if field == "inherit_env" || field == "env" || field.hasPrefix("env.") { return "--env" }
        return options.first { $0.field == field }?.names[0]
    }

    private static func value(at field: String, in value: Value?) -> Value? {
        field.split(separator: ".", maxSplits: 1).reduce(value) { found, part in found?.mapValue?[String(part)] }
    }

    /// `allow_read[2]`, counted from 1.
    private static func index(in path: String) -> Int? {
        path.firstIndex(of: "[").flatMap { Int(path[path.index(after: $0)...].prefix { $0 != "]" }) }
    }
}
