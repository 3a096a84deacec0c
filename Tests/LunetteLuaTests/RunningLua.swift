import LunetteSpec

@testable import LunetteLua

/// How a chunk ended in a test.
struct Ran {
    var ok: Bool
    var text: String
    var error: Value
    var failed: [Value]
    var message: String { error["message"]?.stringValue ?? "" }
    var code: String { error["code"]?.stringValue ?? "" }
    var hint: String { error["hint"]?.stringValue ?? "" }
}

/// Runs a chunk as `lunette -e` does, on a thread of its own.
func runLua(
    _ source: String, engine: FakeEngine? = nil, directory: String = "/tmp", limits: LuaState.Limits = .init(),
    permissions: Set<String>? = nil, prints: Bool = true, isDryRun: Bool = false, isReadOnly: Bool = false,
    before: (@Sendable (LuaHost) -> Void)? = nil
) async -> Ran {
    await withCheckedContinuation { continuation in
        onOwnThread {
            var options = LuaHost.Options(connector: engine, directory: directory, script: "-e")
            options.limits = limits
            options.isDryRun = isDryRun
            options.isReadOnly = isReadOnly
            options.permissions = permissions
            do {
                let host = try LuaHost(options)
                before?(host)
                host.enter("run", ["source": .string(source), "name": "=-e", "prints": .bool(prints), "globals": true, "script": "-e"])
                let outcome = host.runToEnd()
                waitFor { await host.close() }
                continuation.resume(
                    returning: Ran(
                        ok: outcome["ok"]?.boolValue ?? false, text: outcome["text"]?.stringValue ?? "",
                        error: outcome["error"] ?? .null, failed: outcome["failed"]?.arrayValue ?? []))
            } catch {
                continuation.resume(returning: Ran(ok: false, text: "", error: (error as! LunetteError).value, failed: []))
            }
        }
    }
}
