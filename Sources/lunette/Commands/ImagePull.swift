import LunetteSpec

/// Brings an image where a container needs one, with progress.
enum ImagePull {
    /// Follows `--pull`: `missing` asks a registry only for what isn't here.
    static func ensure(_ reference: String, when: String, platform: String?, quiet: Bool, _ client: Client) async throws(LunetteError) {
        guard ["missing", "always", "never"].contains(when) else {
            throw LunetteError(
                .invalidArgument, "read --pull \"\(when)\"",
                hint: nearest(to: when, in: ["missing", "always", "never"]).map { "did you mean \"\($0)\"?" }
                    ?? "known: missing, always, never")
        }
        if when == "never" { return }
        if when == "missing", platform == nil, try await !client.call("image.find", ["image": .string(reference)]).isNull { return }
        if !quiet { Output.note("image \(Text.safe(reference)) is not here: pulling it") }
        _ = try await pull(
            ["ref": .string(reference), "policy": .string(when), "platform": platform.map(Value.string) ?? .null], quiet: quiet, client)
    }

    static func pull(_ arguments: ValueMap, quiet: Bool, _ client: Client) async throws(LunetteError) -> Value {
        try await withProgress("image.pull", arguments, quiet: quiet, client)
    }

    /// Calls a function that streams progress and shows it.
    static func withProgress(
        _ function: String, _ arguments: ValueMap, files: [Int32] = [], quiet: Bool, _ client: Client
    ) async throws(LunetteError) -> Value {
        var arguments = arguments
        let display = ProgressDisplay(isQuiet: quiet)
        if !quiet { arguments["progress"] = true }
        defer { display.finish() }
        if quiet { return try await client.call(function, arguments, files: files) }
        return try await client.call(function, arguments, files: files) { (chunk) throws(LunetteError) in display.take(chunk) }
    }
}
