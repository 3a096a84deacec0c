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
        case (_, _, EAGAIN) where (1..<16).contains(spec.resources.pids ?? 0):
            error.path = "resources.pids"
            error.hint = "so few processes are not enough for a sandbox and its program: give it some more"
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
                : absentInterpreter(of: real, spec, view)
        }
        // Of a home the program alone: the folder would be everything.
        let folder = real.lastIndex(of: "/").map { String(real[..<$0]) } ?? ""
        let isFile = folder.isEmpty || SandboxArguments.isEverything(folder, home: facts.home)
        let also = rules(for: ProgramNeeds.paths(of: real).filter { !isSeen($0, view) }, view).map { " \($0)" }.joined()
        return "the sandbox doesn't see it: \(rule(for: isFile ? real : folder, spec))\(also)" + (isName ? " -- \(displayable(real))" : "")
    }

    /// The kernel says that a program isn't there also when what it needs to be executed isn't.
    private static func absentInterpreter(of program: String, _ spec: SandboxSpec, _ view: SandboxView) -> String {
        let needs = ProgramNeeds.paths(of: program)
        if let last = needs.last, access(last, F_OK) != 0 {
            return "the file names \(displayable(last)) to run it, and nothing of this name is there outside either"
        }
        let unseen = needs.filter { !isSeen($0, view) }
        let missing = unseen.isEmpty ? needs : unseen
        guard !missing.isEmpty else {
            return "its interpreter or its loader must lie in a folder that the sandbox sees: --allow-read FOLDER"
        }
        let implied = spec.impliedFlag.map { "\($0) " } ?? ""
        return "the sandbox doesn't see what runs it, \(missing.map { displayable($0) }.joined(separator: " and ")): "
            + implied + rules(for: missing, view).joined(separator: " ")
    }

    /// The files by the paths that the kernel looks for, and the folders that they lie in: a loader's libraries lie beside it.
    private static func rules(for files: [String], _ view: SandboxView) -> [String] {
        var paths = files
        for file in files {
            guard let real = SandboxFactsReader.resolved(file), let slash = real.lastIndex(of: "/") else { continue }
            let folder = String(real[..<slash])
            if file.contains("/ld"), !folder.isEmpty, view.access(to: folder)?.isMemory ?? true { paths.append(folder) }
        }
        return paths.map { "--allow-read \(displayable($0))" }
    }

    /// Whether a path leads inside to where it leads outside; folders between that are links are taken for absent unless a rule is about them.
    private static func isSeen(_ path: String, _ view: SandboxView) -> Bool {
        guard let real = SandboxFactsReader.resolved(path), !(view.access(to: real)?.isMemory ?? true) else { return false }
        return !(view.access(to: path)?.isMemory ?? true) || view.links.contains { ContainerPath.isWithin(path, $0.path) }
    }
}
