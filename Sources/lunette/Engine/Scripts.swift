import Glibc
import LunetteSpec

/// Runs Lua: files, chunks, standard input, the REPL.
enum Scripts {
    static func file(_ path: String, arguments: [String], _ settings: Settings) async throws(LunetteError) -> Int32 {
        throw LunetteError(.unsupported, "run \(path): Lua isn't joined yet")
    }

    static func chunk(_ code: String, arguments: [String], _ settings: Settings) async throws(LunetteError) -> Int32 {
        throw LunetteError(.unsupported, "run a chunk: Lua isn't joined yet")
    }

    static func standardInput(arguments: [String], _ settings: Settings) async throws(LunetteError) -> Int32 {
        throw LunetteError(.unsupported, "run stdin: Lua isn't joined yet")
    }

    /// No arguments: the REPL on a terminal, else a script from stdin.
    static func interactive(_ settings: Settings) async throws(LunetteError) -> Int32 {
        guard Output.isTerminal(0) else { return try await standardInput(arguments: [], settings) }
        throw LunetteError(.unsupported, "start the REPL: Lua isn't joined yet")
    }

    static func check(_ path: String, isResident: Bool) async throws(LunetteError) -> Int32 {
        throw LunetteError(.unsupported, "check \(path): Lua isn't joined yet")
    }
}
