import Glibc
import LunetteAPI
import LunetteLua
import LunetteSpec

/// Runs Lua: files, chunks, standard input, the REPL. All on the calling thread, which is the main one.
enum Scripts {
    static func file(_ path: String, arguments: [String], _ settings: Settings) throws(LunetteError) -> Int32 {
        try run(.file(path: path, arguments: arguments), settings)
    }

    static func chunk(_ code: String, arguments: [String], _ settings: Settings) throws(LunetteError) -> Int32 {
        try run(.chunk(code, arguments: arguments), settings)
    }

    static func standardInput(arguments: [String], _ settings: Settings) throws(LunetteError) -> Int32 {
        try run(.standardInput(try HostFile.read(0, what: "the script on stdin"), arguments: arguments), settings)
    }

    /// No arguments: the REPL on a terminal, else a script from stdin.
    /// - Parameter inside: the resident script or plugin whose state the lines run in.
    static func interactive(_ settings: Settings, isReadOnly: Bool = false, inside: String? = nil) throws(LunetteError) -> Int32 {
        guard Output.isTerminal(0) || isReadOnly || inside != nil else { return try standardInput(arguments: [], settings) }
        let connector = try connector(settings)
        var repl = REPL(connector: connector)
        repl.isVerbose = settings.isVerbose
        repl.isReadOnly = isReadOnly
        repl.inside = inside
        repl.terminalSize = { TerminalSize.of(1).map { ($0.columns, $0.rows) } }
        repl.hasColour = Output.hasColor(1) && Output.hasColor(2)
        repl.drawHooks = { HookList.table($0.arrayValue ?? []) }
        repl.onOwnScreen = TerminalMode.useOwnScreen
        repl.onEnd = TerminalMode.restore
        if Output.isTerminal(0), let reader = LineEditor.reader() {
            // The editor changes the terminal's mode while it reads; however the process ends, the user gets it back.
            TerminalMode.remember()
            repl.readLine = reader
            repl.above = EditorInput.note
            repl.remember = LineEditor.remember
            repl.onInterrupt = EditorInput.interrupt
        }
        let code = repl.run()
        TerminalMode.restore()
        if settings.inProcess { Blocking.wait { await Engines.close(connector) } }
        return code
    }

    private static func run(_ program: ScriptProgram, _ settings: Settings) throws(LunetteError) -> Int32 {
        let connector = try connector(settings)
        var runner = ScriptRunner(connector: connector)
        runner.isVerbose = settings.isVerbose
        runner.isDryRun = settings.isDryRun
        let code = runner.run(program)
        if settings.inProcess { Blocking.wait { await Engines.close(connector) } }
        return code
    }

    static func connector(_ settings: Settings) throws(LunetteError) -> any EngineConnector {
        try UserPlaces.verify(settings)
        // The usual way does nothing before the first call; an engine of our own has to be opened.
        guard settings.inProcess else { return settings.client }
        return try Blocking.wait { () async -> Result<any EngineConnector, LunetteError> in
            do throws(LunetteError) { return .success(try await Engines.connector(settings)) } catch { return .failure(error) }
        }.get()
    }
}
