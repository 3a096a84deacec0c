import ArgumentParser
import LunetteSpec

struct CheckCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", _superCommandName: "lunette", abstract: "Check a script's syntax and its API calls; run nothing.")

    // Not built yet: no help names it.
    @Flag(help: .hidden) var resident = false
    @Argument(help: "The scripts.") var file: [String]
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        var code: Int32 = 0
        for path in file { code = max(code, try Scripts.check(path, isResident: resident)) }
        return code
    }
}
