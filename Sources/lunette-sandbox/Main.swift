import Glibc
import LunetteSandbox
import LunetteSpec

/// `lunette-sandbox [OPTIONS] [--] COMMAND…`: `lunette sandbox` without the rest of it. Static and small, so that a sandbox costs what the
/// kernel charges for it. A policy in Lua is `lunette`'s to read.
@main enum Main {
    static func main() {
        do throws(LunetteError) {
            let directory = getcwd(nil, 0).map { String(cString: $0) } ?? "/"
            let code = try SandboxCommandLine.run(Array(CommandLine.arguments.dropFirst()), directory: directory) {
                (path) throws(LunetteError) in
                throw LunetteError(
                    .unsupported, "read the policy \(displayable(path)): lunette-sandbox has no Lua",
                    hint: "run it with \"lunette sandbox\"")
            }
            exit(code)
        } catch {
            let lines = "lunette-sandbox: \(displayable(error.description))\n" + (error.hint.map { "hint: \(displayable($0))\n" } ?? "")
            _ = lines.withCString { write(2, $0, strlen($0)) }
            let code = error.details?["exit_code"]?.intValue ?? 125
            exit(Int32(code))
        }
    }
}
