internal import CLuaBridge
internal import Glibc
package import LunetteAPI
internal import LunetteSpec

/// What is run.
package enum ScriptProgram: Sendable {
    /// A script and its arguments.
    case file(path: String, arguments: [String])
    /// `-e CODE`: prints what it returns.
    case chunk(String, arguments: [String])
    /// What came on stdin; the nouns are globals as in the REPL.
    case standardInput([UInt8], arguments: [String])
}

/// Runs Lua programs in the command's own process: `lunette FILE.lua`, `-e`, stdin.
///
/// Blocking: call it from the main thread (or any that may block). One process runs one program at a time.
package struct ScriptRunner {
    package var connector: (any EngineConnector)?
    /// With tracebacks and causes.
    package var isVerbose = false
    package var isReadOnly = false
    /// Shows what would be done instead of doing it.
    package var isDryRun = false

    package init(connector: (any EngineConnector)?) { self.connector = connector }

    /// - Returns: the exit code: 0, 1 after an uncaught error, 128 + n when signal n ended it.
    package func run(_ program: ScriptProgram) -> Int32 {
        let request: Value
        let script: String
        do throws(LunetteError) {
            (script, request) = try describe(program)
        } catch {
            Self.printError(error.value, isVerbose: isVerbose)
            return 1
        }
        var options = LuaHost.Options(connector: connector, directory: Self.workingDirectory(), script: script)
        if case .file(let path, _) = program {
            options.store = "user/\(getuid())\(APIRegistry.absolutePath(path, directory: options.directory))"
        }
        options.isReadOnly = isReadOnly
        options.isDryRun = isDryRun
        let host: LuaHost
        do throws(LunetteError) {
            host = try LuaHost(options)
        } catch {
            Self.printError(error.value, isVerbose: isVerbose)
            return 1
        }
        let signals = SignalWatch(host)
        host.enter("run", request)
        let outcome = host.runToEnd()
        signals.stop()
        lnt_lua_print(nil, 0)
        waitFor { await host.close() }
        return finish(outcome, signals.signal)
    }

    private func finish(_ outcome: Value, _ signal: Int32) -> Int32 {
        if let text = outcome["text"]?.byteString {
            let line = text + [UInt8(ascii: "\n")]
            lnt_lua_print(line, line.count)
        }
        for failure in outcome["failed"]?.arrayValue ?? [] {
            Self.printError(failure, isVerbose: isVerbose)
        }
        let hasFailed = outcome["failed"]?.arrayValue?.isEmpty == false
        if outcome["ok"]?.boolValue == true { return signal != 0 ? 128 + signal : hasFailed ? 1 : 0 }
        if signal != 0 {
            // The user knows; a script that turned the signal into another failure says so.
            if outcome["error"]?["code"]?.stringValue != "cancelled" { Self.printError(outcome["error"] ?? .null, isVerbose: isVerbose) }
            return 128 + signal
        }
        Self.printError(outcome["error"] ?? .null, isVerbose: isVerbose)
        return 1
    }

    private func describe(_ program: ScriptProgram) throws(LunetteError) -> (script: String, request: Value) {
        func strings(_ texts: [String]) -> Value { .array(texts.map { Value.text(Array($0.utf8)) }) }
        switch program {
        case .file(let path, let arguments):
            let source = try FileTree.read(path, roots: nil)
            let absolute = APIRegistry.absolutePath(path, directory: Self.workingDirectory())
            let directory = absolute.lastIndex(of: "/").map { String(absolute[..<$0]) } ?? "/"
            return (
                path,
                [
                    "source": .text(source), "name": .string("@\(path)"), "script": .string(path), "arguments": strings(arguments),
                    "directory": .string(directory.isEmpty ? "/" : directory),
                ]
            )
        case .chunk(let code, let arguments):
            return (
                "-e",
                [
                    "source": .string(code), "name": "=-e", "script": "-e", "arguments": strings(arguments), "prints": true,
                    "globals": true,
                ]
            )
        case .standardInput(let source, let arguments):
            return (
                "stdin", ["source": .text(source), "name": "=stdin", "script": "stdin", "arguments": strings(arguments), "globals": true]
            )
        }
    }

    static func workingDirectory() -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        return getcwd(&buffer, buffer.count).map { String(cString: $0) } ?? "/"
    }

    /// `lunette: …`, then `hint: …`; with `isVerbose` the code, the details, causes and the traceback.
    static func printError(_ record: Value, isVerbose: Bool, hasColour: Bool = false) {
        func set(_ text: String, _ code: Int) -> String { hasColour ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text }
        var text = "\(set("lunette:", 31)) \(record["message"]?.stringValue ?? "failed")\n"
        if let point = record["point"]?.stringValue {
            // The line as it was typed, the mark below it set off.
            let lines = point.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            text += lines[0] + "\n" + lines.dropFirst().map { set($0, 31) + "\n" }.joined()
        }
        if let hint = record["hint"]?.stringValue { text += "\(set("hint:", 36)) \(hint)\n" }
        if isVerbose {
            if let code = record["code"]?.stringValue {
                text += "code: \(code)" + (record["operation"]?.stringValue.map { " in \($0)" } ?? "") + "\n"
            }
            if let errno = record["errno"]?.intValue { text += "errno: \(errno)\n" }
            if let details = record["details"]?.stringValue { text += "details: \(ControlCharacters.shown(details))\n" }
            if let cause = record["cause"]?.stringValue { text += "because: \(cause)\n" }
            if let traceback = record["traceback"]?.stringValue { text += Self.withoutInternals(traceback) + "\n" }
        }
        writeError(text)
    }

    /// A traceback without the lines of our own stdlib.
    static func withoutInternals(_ traceback: String) -> String {
        traceback.split(separator: "\n", omittingEmptySubsequences: false).filter { line in
            !line.contains("[lunette ") && !line.hasPrefix("\t?:") && !line.hasSuffix("[C]: in function 'xpcall'")
        }.joined(separator: "\n")
    }
}

/// Blocks this thread until an async body has ended.
func waitFor(_ body: @escaping () async -> Void) {
    // SAFETY: the semaphore keeps this frame alive until the body has ended, so nothing is shared beyond it.
    nonisolated(unsafe) let body = body
    let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    sem_init(semaphore, 0, 0)
    nonisolated(unsafe) let done = semaphore
    Task.detached {
        await body()
        sem_post(done)
    }
    while sem_wait(semaphore) != 0 {}
    sem_destroy(semaphore)
    semaphore.deallocate()
}
