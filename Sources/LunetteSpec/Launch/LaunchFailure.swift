/// Says which step of a launch failed, in which call, with which errno, on what: the record that comes home from the shim.
///
/// A process of the launch that ended before it could say why comes as `killed`, `out of memory` or `exited` in place of the call, and its
/// signal or exit code in place of the errno.
package struct LaunchFailure: Sendable, Hashable {
    package var step: LaunchOpcode
    /// Of the record in the plan.
    package var index: Int
    /// The system call, or what the shim was doing (`search` = looking a program up in PATH, `decode` = reading the plan).
    package var call: String
    package var errno: Int32
    package var path: String

    package init(step: LaunchOpcode, index: Int, call: String, errno: Int32, path: String) {
        self.step = step
        self.index = index
        self.call = call
        self.errno = errno
        self.path = path
    }

    private static let notPermitted: Int32 = 1
    private static let noEntry: Int32 = 2
    private static let tryAgain: Int32 = 11
    private static let busy: Int32 = 16
    private static let accessDenied: Int32 = 13
    private static let notDirectory: Int32 = 20
    private static let invalid: Int32 = 22
    private static let loop: Int32 = 40
    private static let timedOut: Int32 = 110

    /// What a file system that can't be id-mapped says.
    private var cannotMap: Bool { step == .openTree && call == "mount_setattr" && errno == Self.invalid }

    /// The exit code that Docker's users expect: 127 program not found, 126 found but not executable, 125 anything else.
    package var exitCode: Int32 {
        guard step == .execute else { return 125 }
        return errno == Self.noEntry ? 127 : 126
    }

    /// How a process of the launch ended on its own.
    private var earlyEnd: String? {
        switch call {
        case "killed": "was killed by \(Signal(number: Int64(errno))?.name ?? "signal \(errno)")"
        case "out of memory": "was killed for want of memory"
        case "exited": "ended with exit code \(errno)"
        case "wait": "ended"
        default: nil
        }
    }

    private func earlyEndError(_ how: String, operation: String, target: String, _ details: ValueMap) -> LunetteError {
        let isMemory = call == "out of memory"
        let what = path == "the join stage" ? "run a program in the container" : "launch the container"
        return LunetteError(
            isMemory ? .resourceExhausted : .io, "\(what): \(path) \(how) before its program could run",
            operation: operation, target: target, hint: isMemory ? "its memory limit leaves too little for a launch: raise it" : nil,
            details: .map(details))
    }

    /// A name that the container's own files don't have, or a number that is none.
    private var unknownUser: (code: ErrorCode, what: String, why: String, hint: String)? {
        let name = displayable(String(path.prefix { $0 != ":" }), limit: 64)
        let hint = "give a name that is there, or a number: UID or UID:GID"
        switch call {
        case "look up": return (.notFound, "the user \(name)", "it isn't in the container's /etc/passwd", hint)
        case "look up group":
            return (.notFound, "the group \(displayable(path, limit: 64))", "it isn't in the container's /etc/group", hint)
        case "expect": return (.invalidArgument, "the user", "the container's \(path) is no regular file", "give numbers: UID:GID")
        case "parse": return (.invalidArgument, "the user \(displayable(path, limit: 64))", "a number is too large for an id", hint)
        default: return nil
        }
    }

    /// A tree that can't lie where it was to be attached, which the shim sees before it asks the kernel.
    private var unfitTree: (why: String, hint: String)? {
        guard step == .attach else { return nil }
        let place = displayable(path, limit: 120)
        switch call {
        case "file on folder": return ("its source is a file, and a folder is there", "give the file's own place: \(place)/NAME")
        case "folder on file": return ("its source is a folder, and a file is there", "give a folder's place, or a file for a source")
        case "cover proc": return ("nothing but a proc file system may cover \(place)", "mount one there: {\"type\": \"proc\"}")
        case "link to proc": return ("a link leads from there to /proc, where nothing may be bound", "give a place outside of /proc")
        default: return nil
        }
    }

    /// The error that the user sees.
    ///
    /// - Parameter reason: the text for `errno` (strerror), which this target can't look up.
    package func error(operation: String, target: String, reason: String) -> LunetteError {
        let on = path.isEmpty ? "" : " \(path)"
        var details = ValueMap()
        details["step"] = .string(step.name)
        details["index"] = .int(Int64(index))
        details["call"] = .string(call)
        details["path"] = .string(path)
        details["exit_code"] = .int(Int64(exitCode))
        if step == .setUp, call == "killed" { details["signal"] = Signal(number: Int64(errno)).map { .string($0.name) } }
        if step == .setUp, let earlyEnd { return earlyEndError(earlyEnd, operation: operation, target: target, details) }
        if step == .user, let unknown = unknownUser {
            return LunetteError(
                unknown.code, "find \(unknown.what): \(unknown.why)", operation: operation, target: target, hint: unknown.hint,
                details: .map(details))
        }
        if let unfit = unfitTree {
            return LunetteError(
                errno == Self.notDirectory ? .invalidArgument : .denied, "\(step.name)\(on): \(unfit.why): \(reason)", operation: operation,
                target: target, errno: errno, hint: unfit.hint, details: .map(details))
        }
        let hint: String? =
            switch (step, errno) {
            case (.setUp, Self.busy) where call == "clone3":
                "its cgroup hands controllers to cgroups below it and takes no process then: name one of those (lunette-oci exec --cgroup)"
            case (.execute, Self.noEntry):
                call == "search" ? "check the command's name and PATH" : "the program's interpreter is missing in the image"
            case (.execute, Self.accessDenied): "the file must be executable for the container's user"
            case (.namespaces, Self.tryAgain):
                "a limit of processes leaves too few for a launch: the container's own (pids), or its user's (ulimit -u)"
            case (.rlimits, Self.notPermitted) where call == "prlimit":
                "a hard limit above the caller's own (ulimit -H -a shows it) takes CAP_SYS_RESOURCE: ask for less, or raise it where the caller starts"
            case (.user, Self.invalid) where call == "setresuid":
                "its user namespace has no such id: without a range in /etc/subuid an ordinary user's containers have 0 alone (docs/rootless.md)"
            case (.openTree, _) where cannotMap:
                "this kernel can't id-map the file system there (tmpfs: Linux 6.3 and later): take a folder on another, or security.user_namespace=false"
            default: nil
            }
        let isHook = call == "hook"
        // What was opened is of another kind than was asked for: no call failed.
        let during = call == "expect" ? "" : " (\(call))"
        // A hook's path comes with what the hook said; its errno only tells that it failed.
        let what = step == .execute ? "start\(on)" : isHook ? "run hook\(on)" : "\(step.name)\(on)\(during)"
        let code: ErrorCode =
            switch errno {
            case _ where cannotMap: .unsupported
            case Self.noEntry where step == .execute || step == .user: .notFound
            case 12, 28, 24, 23: .resourceExhausted
            case Self.tryAgain where step == .namespaces: .resourceExhausted
            case 38, 95: .unsupported
            case 1, Self.accessDenied: .denied
            default: .io
            }
        // The field's own words, which callers of runtimes look for.
        let isMissing = step == .execute && call == "search" && errno == Self.noEntry && !path.utf8.contains(UInt8(ascii: "/"))
        // Of `tmpcopyup`: the errno says links.
        let isTooDeep = call == "copy" && errno == Self.loop
        let reason =
            isMissing
            ? "executable file not found in $PATH: \(reason)"
            : isTooDeep ? "what lies there has more than 64 folders within each other" : reason
        return LunetteError(
            isHook ? (errno == Self.timedOut ? .timeout : .io) : code, isHook ? what : "\(what): \(reason)", operation: operation,
            target: target, errno: errno, hint: hint,
            details: .map(details))
    }
}
