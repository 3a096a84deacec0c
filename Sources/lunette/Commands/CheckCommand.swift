import ArgumentParser
import LunetteLua
import LunetteSpec

struct CheckCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", _superCommandName: "lunette", abstract: "Check a script's syntax and its API calls; run nothing.",
        discussion: """
            Says which names, options and literal values are wrong, each with its line; ends with 1 when there are any. \
            As JSON it also lists the calls and the permission that limited code needs for each.
            """)

    @Flag(help: "As resident code: also what that may not do while it is loaded, and what it doesn't have.") var resident = false
    @Option(help: ArgumentHelp("json: problems, calls and permissions.", valueName: "format"), completion: .list(["json"]))
    var format: String?
    @Argument(help: "The scripts.", completion: .file(extensions: ["lua"])) var file: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        guard let format else {
            var code: Int32 = 0
            for path in file { code = max(code, try ScriptChecker.check(path: path, isResident: resident)) }
            return code
        }
        guard format == "json" else {
            throw LunetteError(.invalidArgument, "there is no format \"\(Text.safe(format))\" for check", path: "--format", hint: "json")
        }
        var reports: [Value] = []
        var hasProblems = false
        for path in file {
            let report = try ScriptChecker.report(path: path, isResident: resident)
            hasProblems = hasProblems || !report.problems.isEmpty
            reports.append(report.value(file: path))
        }
        Output.print(JSON.encode(.array(reports), pretty: true))
        return hasProblems ? 1 : 0
    }
}
