import ArgumentParser
import LunetteAPI
import LunetteEngine
import LunetteLua
import LunetteSpec

/// Tests for scripts; runs on the main thread, as scripts do.
struct TestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", _superCommandName: "lunette",
        abstract: "Run tests of scripts: *_test.lua and test.lua.",
        discussion: """
            Each test has an engine of its own, without a kernel, whose time and programs it plays: docs/lua/testing.md. \
            Ends with 0, 1 when a test failed, 2 for what can't be run at all.
            """)

    @Flag(help: "Run them on the real engine; tests that need the simulated one are skipped.") var real = false
    @Option(help: ArgumentHelp("human, tap, junit or json.", valueName: "format"), completion: .list(["human", "tap", "junit", "json"]))
    var format = "human"
    @Option(help: ArgumentHelp("Only tests whose name, with its groups', matches this Lua pattern.", valueName: "pattern"))
    var filter: String?
    @Flag(help: "Tell which lines of the code under test ran.") var coverage = false
    @Option(help: ArgumentHelp("Write that to a file, as lcov does.", valueName: "file"), completion: .file())
    var coverageFile: String?
    @Argument(help: "Files, and folders with such files.", completion: .file()) var path: [String]
    @OptionGroup var global: GlobalOptions

    func run() throws {}

    /// - Returns: the exit code.
    func run(_ settings: Settings) -> Int32 {
        do throws(LunetteError) { return try perform(settings) } catch {
            ErrorPrinter.print(error, settings: settings)
            return 2
        }
    }

    private func perform(_ settings: Settings) throws(LunetteError) -> Int32 {
        guard let form = TestSetting.Format(rawValue: format) else {
            let known = TestSetting.Format.allCases.map(\.rawValue)
            throw LunetteError(
                .invalidArgument, "read the options: there is no format \"\(Text.safe(format))\"", path: "--format",
                hint: nearest(to: format, in: known).map { "did you mean \"\($0)\"?" } ?? "known: \(known.joined(separator: ", "))")
        }
        var setting = TestSetting(paths: path) { Output.write(1, Array($0.utf8)) }
        setting.format = form
        setting.filter = filter
        setting.hasCoverage = coverage
        setting.coverageFile = coverageFile
        setting.hasColour = Output.hasColor(1)
        if real { return try runReal(setting, settings) }
        setting.makeEngine = { parts in
            do throws(LunetteError) {
                return .success(
                    try await Simulation.open(
                        director: parts.director, time: parts.time, residentHost: parts.residentHost, pluginHosts: parts.pluginHosts,
                        folder: parts.folder, log: parts.log))
            } catch { return .failure(error) }
        }
        return try TestRunner.run(setting)
    }

    private func runReal(_ setting: TestSetting, _ settings: Settings) throws(LunetteError) -> Int32 {
        var setting = setting
        if settings.inProcess { try UserEngine.enter(settings) }
        let connector = try Scripts.connector(settings)
        setting.connector = connector
        let code = try TestRunner.run(setting)
        if settings.inProcess { Blocking.wait { await Engines.close(connector) } }
        return code
    }
}
