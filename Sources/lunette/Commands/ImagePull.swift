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
        let wanted: Platform?
        do throws(LunetteError) { wanted = try platform.map { (text) throws(LunetteError) in try Platform(text) } } catch {
            var error = error
            error.path = "--platform"
            throw error
        }
        // The engine itself says what isn't here.
        if when == "never", wanted == nil { return }
        let isHere = try await !client.call("image.find", ["image": .string(reference)]).isNull
        var own: Platform?
        if isHere, wanted != nil {
            let text = try await client.call("image.inspect", ["image": .string(reference)])["platform"]?.stringValue
            own = try text.map { (text) throws(LunetteError) in try Platform(text) }
        }
        guard let reason = try reason(toPull: reference, when: when, wanted: wanted, isHere: isHere, own: own) else { return }
        if !quiet { Output.note(reason) }
        _ = try await pull(
            ["ref": .string(reference), "policy": .string(when), "platform": platform.map(Value.string) ?? .null], quiet: quiet, client)
    }

    /// Why an image is to be pulled, as it is said to the user; nil: what is here will do, or the engine says that it is missing.
    /// - Parameter own: the platform of the image that is here; looked at only where one is wanted.
    /// - Throws: `conflict` when nothing may be pulled and what is here is for another platform.
    static func reason(
        toPull reference: String, when: String, wanted: Platform?, isHere: Bool, own: Platform?
    ) throws(LunetteError) -> String? {
        let name = "image \(Text.safe(reference))"
        guard isHere else { return when == "never" ? nil : "\(name) is not here: pulling it" }
        guard let wanted, let own, wanted.fitness(of: own) == nil else { return when == "always" ? "pulling \(name)" : nil }
        guard when != "never" else {
            throw LunetteError(
                .conflict, "\(name) is here for \(own), not for \(wanted)", path: "--platform",
                hint: "leave out --platform, or --pull never to have it pulled")
        }
        return "\(name) is here for \(own): pulling it for \(wanted)"
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
