internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// What a step of the launch that failed means for somebody who wanted a sandbox.
enum SandboxFailure {
    static func error(_ failure: LaunchFailure, _ spec: SandboxSpec, _ facts: SandboxFacts) -> LunetteError {
        var error = failure.error(operation: "sandbox.run", target: spec.args.first ?? "", reason: errnoText(failure.errno))
        error.target = nil
        switch (failure.step, failure.call, failure.errno) {
        case (.namespaces, "clone3", EPERM), (.namespaces, "clone3", ENOSPC), (.namespaces, "open", EACCES), (.namespaces, "write", EPERM):
            error.code = .unsupported
            error.hint =
                "ordinary users may make no user namespaces here: see /proc/sys/user/max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"
        case (.namespaces, "clone3", ENOSYS):
            error.code = .unsupported
            error.hint =
                "a sandbox or a container around this one refuses namespaces: run it outside of that, or let the outer one have them"
        case (.mount, _, EPERM) where failure.path == "/proc":
            error.hint = "parts of /proc are masked where this runs (another container?): a fresh one can't be mounted here"
        case (.execute, _, ENOENT):
            error.hint = absentProgram(spec, facts, wasSearched: failure.call == "search")
        case (.execute, _, EACCES):
            error.hint = "the file must be executable for this user (chmod +x), or be given to its interpreter: sh FILE"
        case (.workingDirectory, _, EROFS), (.workingDirectory, _, ENOENT), (.workingDirectory, _, EACCES):
            // What isn't there would be made, and the root of a sandbox is nobody's to write.
            error.path = spec.workdir == nil ? nil : "workdir"
            error.message = "start in \(displayable(failure.path)): no rule names it"
            error.hint = rule(for: failure.path, spec)
        case (.openTree, _, EACCES): error.hint = "the rule's path can't be reached by this user"
        default: break
        }
        return error
    }

    private static func rule(for path: String, _ spec: SandboxSpec) -> String {
        "\(spec.impliedFlag.map { "\($0) " } ?? "")--allow-read \(displayable(path))"
    }

    /// Why a program isn't found inside: where it lies outside, as far as the caller's own PATH and working folder lead to it.
    static func absentProgram(_ spec: SandboxSpec, _ facts: SandboxFacts, wasSearched: Bool) -> String {
        let program = spec.args.first ?? ""
        let isName = !program.hasSlash
        let folders = isName ? (facts.environment["PATH"] ?? "").split(separator: ":").map(String.init) : [facts.directory]
        let places = program.hasPrefix("/") ? [program] : folders.map { "\($0)/\(program)" }
        guard let real = places.lazy.compactMap({ SandboxFactsReader.resolved($0) }).first(where: { access($0, X_OK) == 0 }) else {
            return isName
                ? "check its name: it isn't in PATH outside either" : "check its path: nothing of this name is there outside either"
        }
        let view: SandboxView
        do throws(LunetteError) { view = try SandboxView(spec, facts) } catch { return error.message }
        guard view.access(to: real)?.isMemory ?? true else {
            return isName && wasSearched
                ? "it isn't in the sandbox's PATH: give its path, \(displayable(real)), or hand yours on: --env PATH"
                : "its interpreter or its loader must lie in a folder that the sandbox sees: --allow-read FOLDER"
        }
        // Of a home the program alone: the folder would be everything.
        let folder = real.lastIndex(of: "/").map { String(real[..<$0]) } ?? ""
        let isFile = folder.isEmpty || SandboxArguments.isEverything(folder, home: facts.home)
        return "the sandbox doesn't see it: \(rule(for: isFile ? real : folder, spec))" + (isName ? " -- \(displayable(real))" : "")
    }
}
