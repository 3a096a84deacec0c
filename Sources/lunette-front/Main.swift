import Glibc
import LunetteSandbox
import LunetteSpec

/// What is installed as `lunette`: it runs `lunette sandbox` itself and becomes the whole program for everything else. Static and small: a
/// sandbox then costs what the kernel charges for it (docs/decisions/0020-a-front-before-the-program.md).
@main enum Front {
    static func main() {
        // A caller that ignores it (inherited over execve): the kernel would throw away how our children end.
        signal(SIGCHLD, SIG_DFL)
        let words = Array(CommandLine.arguments.dropFirst())
        guard words.first == "sandbox" else {
            // Kept over the exec: an engine that is asked to reload in its first moments is not ended by that.
            if words.contains("daemon") { holdReloads() }
            becomeProgram()
        }
        do throws(LunetteError) {
            let directory = getcwd(nil, 0).map { String(cString: $0) } ?? "/"
            // A policy in Lua is the whole program's to read; nothing has been made by then.
            exit(try SandboxCommandLine.run(Array(words.dropFirst()), directory: directory) { _ in becomeProgram() })
        } catch {
            fail(error)
        }
    }

    private static func holdReloads() {
        var reload = sigset_t()
        sigemptyset(&reload)
        sigaddset(&reload, SIGHUP)
        sigprocmask(SIG_BLOCK, &reload, nil)
    }

    /// `../lib/lunette/lunette`, where scripts/dev/install puts it, or `lunette` beside it in a build folder.
    private static func becomeProgram() -> Never {
        var places: [String] = []
        if let front = realpath("/proc/self/exe", nil).map({ String(cString: $0) }), let slash = front.lastIndex(of: "/") {
            let folder = front[..<slash]
            places = ["\(folder)/../lib/lunette/lunette", "\(folder)/lunette"].filter { $0 != front }
        }
        for place in places { execv(place, CommandLine.unsafeArgv) }
        fail(
            LunetteError(
                .notFound, "find the program behind lunette: not at \(places.joined(separator: ", "))", errno: errno,
                hint: "install it again: bin/lunette is only its front"))
    }

    private static func fail(_ error: LunetteError) -> Never {
        let hasColor = isatty(2) == 1 && getenv("NO_COLOR") == nil && getenv("TERM").map { String(cString: $0) } != "dumb"
        let text = error.lines(isVerbose: false, hasColor: hasColor).map { $0 + "\n" }.joined()
        _ = text.withCString { write(2, $0, strlen($0)) }
        exit(error.commandExitCode)
    }
}
