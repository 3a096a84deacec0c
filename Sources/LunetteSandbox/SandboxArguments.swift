package import LunetteSpec

/// The words of `lunette sandbox`, read without a parser library: this is on the way of every sandbox.
package struct SandboxArguments: Sendable, Equatable {
    /// The rules of the flags, as a policy's table has them.
    package var table = ValueMap()
    package var policy: String?
    package var args: [String] = []
    package var explains = false
    package var wantsHelp = false
    /// What is said of the sandbox is JSON: the explanation on stdout (with a command: stderr), the result as the last line of stderr.
    package var wantsJSON = false
    /// Our terminal as it is, instead of one of its own.
    package var sharesTerminal = false
    /// The working folder is only read when no rule says anything.
    package var isReadOnly = false

    package struct Option: Sendable {
        package enum Kind: Sendable { case list, text, number, integer, ports, flag, special }
        package var names: [String]
        package var field: String
        package var kind: Kind
        package var value: String?
        package var help: String

        init(_ names: String..., field: String = "", kind: Kind, value: String? = nil, _ help: String) {
            self.names = names
            self.field = field
            self.kind = kind
            self.value = value
            self.help = help
        }
    }

    package static let options: [Option] = [
        Option("--allow-read", field: "allow_read", kind: .list, value: "PATH", "See and execute a file or folder."),
        Option("--allow-write", field: "allow_write", kind: .list, value: "PATH", "Change it as well."),
        Option(
            "--private", field: "private", kind: .list, value: "PATH", "Change a folder for this run only: what is written is thrown away."),
        Option("--hide", field: "hide", kind: .list, value: "PATH", "Leave something out of what is allowed."),
        Option("--tmpfs", field: "tmpfs", kind: .list, value: "PATH[:size=SIZE]", "An empty folder in memory."),
        Option(
            "--scratch", field: "scratch", kind: .text, value: "SIZE",
            "What /tmp, the home folder and each private layer may hold (an eighth of the memory)."),
        Option("--dev", field: "devices", kind: .list, value: "PATH", "A device node, such as /dev/kvm."),
        Option("--no-system", kind: .special, "Without /usr, /bin, /lib and the few files of /etc that every program reads."),
        Option("--read-only", kind: .special, "Only read the working folder."),
        Option("--network", field: "network", kind: .text, value: "none|host", "The network it sees (none)."),
        Option(
            "--allow-connect", field: "allow_connect", kind: .ports, value: "PORT", "With the host's network: TCP ports it may connect to."),
        Option("--allow-bind", field: "allow_bind", kind: .ports, value: "PORT", "With the host's network: TCP ports it may listen on."),
        Option("--env", "-e", kind: .special, value: "NAME[=VALUE]", "Set a variable; NAME alone takes it from here."),
        Option("--keep-env", kind: .special, "Hand all variables on."),
        Option("--workdir", "-w", field: "workdir", kind: .text, value: "DIR", "Where it starts (here, when that is seen)."),
        Option("--hostname", field: "hostname", kind: .text, value: "NAME", "Its host name (sandbox)."),
        Option("--memory", "-m", field: "resources.memory", kind: .text, value: "SIZE", "Memory limit."),
        Option("--cpus", field: "resources.cpus", kind: .number, value: "NUMBER", "Processors' worth of time (1.5)."),
        Option("--cpuset-cpus", field: "resources.cpuset", kind: .text, value: "LIST", "Processors it may use (0-1,3)."),
        Option("--pids-limit", field: "resources.pids", kind: .integer, value: "NUMBER", "Processes and threads (4096); -1 is no limit."),
        Option("--timeout", field: "timeout", kind: .text, value: "DURATION", "Kill everything after this long (90s, 1h); exit code 124."),
        Option("--seccomp", field: "seccomp", kind: .text, value: "default|unconfined|FILE", "Which system calls pass."),
        Option("--no-landlock", kind: .special, "Without Landlock."),
        Option(
            "--report", field: "report", kind: .flag, "At the end, name what was asked for outside the rules and the flag that allows it."),
        Option(
            "--best-effort", field: "best_effort", kind: .flag, "Run it also where a limit that was asked for can't be held, and say so."),
        Option("--no-tty", kind: .special, "Use this terminal as it is: no terminal of its own, no job control."),
        Option("--format", kind: .special, value: "text|json", "How --explain and what is said at the end are written (text)."),
        Option("--explain", kind: .special, "Say first which layer holds what; without a command, only that."),
        Option("--help", "-h", kind: .special, "Show this help."),
    ]

    /// - Throws: `invalid_argument` that names the word.
    package init(_ words: [String]) throws(LunetteError) {
        var rest = words[...]
        var loose: [String] = []
        let dashes = words.firstIndex(of: "--")
        while let word = rest.first {
            if word == "--" {
                rest = rest.dropFirst()
                break
            }
            guard word.hasPrefix("-"), word != "-" else {
                // Before "--" a word is the policy; without one, the command begins here.
                guard dashes != nil, rest.startIndex < dashes! else {
                    // A program that is taken for a policy could allow itself everything, and the other way round nothing of it holds.
                    if word.utf8.suffix(4).elementsEqual(".lua".utf8), dashes == nil { throw Self.ambiguous(word) }
                    break
                }
                loose.append(word)
                rest = rest.dropFirst()
                continue
            }
            rest = rest.dropFirst()
            try take(word, &rest)
        }
        guard loose.count <= 1 else {
            throw Self.wrong("\"\(displayable(loose[1]))\" stands before \"--\": only one policy file may")
        }
        policy = loose.first
        args = Array(rest)
    }

    private mutating func take(_ word: String, _ rest: inout ArraySlice<String>) throws(LunetteError) {
        var (name, joined): (String, String?) = (word, nil)
        if word.hasPrefix("--"), let equals = word.firstIndex(of: "=") {
            (name, joined) = (String(word[..<equals]), String(word[word.index(after: equals)...]))
        } else if !word.hasPrefix("--"), word.utf8.count > 2 {
            (name, joined) = (String(word.prefix(2)), String(word.dropFirst(2)))
        }
        guard let option = Self.options.first(where: { $0.names.contains(name) }) else {
            let known = Self.options.flatMap(\.names)
            throw Self.wrong(
                "unknown option \"\(displayable(name))\"",
                hint: nearest(to: name, in: known).map { "did you mean \"\($0)\"?" } ?? "see \"lunette sandbox --help\"")
        }
        guard option.value != nil else {
            if joined != nil { throw Self.wrong("\(name) takes no value") }
            return try take(option, "")
        }
        if joined == nil {
            guard let next = rest.first, next != "--" else { throw Self.wrong("\(name) needs a value: \(option.value!)") }
            joined = next
            rest = rest.dropFirst()
        }
        guard let value = joined, !value.isEmpty else { throw Self.wrong("\(name) needs a value: \(option.value!)") }
        try take(option, value)
    }

    private mutating func take(_ option: Option, _ value: String) throws(LunetteError) {
        let name = option.names[0]
        switch option.kind {
        case .list: append(.string(value), to: option.field)
        case .text: set(option.field, .string(value))
        case .flag: set(option.field, true)
        case .number:
            guard let number = Double(value) else { throw Self.wrong("\(name): \"\(displayable(value))\" is no number") }
            set(option.field, .double(number))
        case .integer:
            guard let number = Int64(value) else { throw Self.wrong("\(name): \"\(displayable(value))\" is no whole number") }
            set(option.field, .int(number))
        case .ports:
            for part in value.split(separator: ",") {
                guard let port = UInt16(part) else { throw Self.wrong("\(name): \"\(displayable(String(part)))\" is no port") }
                append(.int(Int64(port)), to: option.field)
            }
        case .special:
            switch name {
            case "--no-system": table["preset"] = "none"
            case "--read-only": isReadOnly = true
            case "--keep-env": table["inherit_env"] = true
            case "--no-landlock": table["landlock"] = false
            case "--explain": explains = true
            case "--no-tty": sharesTerminal = true
            case "--format":
                guard value == "text" || value == "json" else {
                    throw Self.wrong("--format: \"\(displayable(value))\" is not one of text, json")
                }
                wantsJSON = value == "json"
            case "--env": try addVariable(value)
            default: wantsHelp = true
            }
        }
    }

    private mutating func addVariable(_ text: String) throws(LunetteError) {
        guard let (name, value) = text.cut(at: "=") else {
            do throws(LunetteError) { try Names.validateVariable(text) } catch {
                throw Self.wrong("--env: \(error.message)", hint: error.hint)
            }
            if table["inherit_env"]?.boolValue != true { append(.string(text), to: "inherit_env") }
            return
        }
        guard !name.isEmpty else { throw Self.wrong("--env: \"\(displayable(text))\" has no name") }
        var variables = table["env"]?.mapValue ?? [:]
        variables[String(name)] = .string(String(value))
        table["env"] = .map(variables)
    }

    private mutating func set(_ field: String, _ value: Value) {
        let parts = field.split(separator: ".").map(String.init)
        guard parts.count == 2 else {
            table[field] = value
            return
        }
        var inner = table[parts[0]]?.mapValue ?? [:]
        inner[parts[1]] = value
        table[parts[0]] = .map(inner)
    }

    private mutating func append(_ value: Value, to field: String) {
        table[field] = .array((table[field]?.arrayValue ?? []) + [value])
    }

    private static func wrong(_ message: String, hint: String? = "see \"lunette sandbox --help\"") -> LunetteError {
        LunetteError(.invalidArgument, "read the options of sandbox: \(message)", hint: hint)
    }

    private static func ambiguous(_ word: String) -> LunetteError {
        let name = displayable(word)
        return wrong(
            "is \"\(name)\" the policy or the program?",
            hint:
                "a policy has \"--\" behind it, also with --explain: lunette sandbox \(name) [OPTIONS] -- COMMAND; a program stands behind: "
                + "lunette sandbox -- \(name)")
    }

    // MARK: With a policy

    /// The spec of the flags on top of a policy: lists are added to, anything else is replaced.
    /// - Parameters:
    ///   - policy: what the policy file returned, or nothing.
    ///   - directory: the working folder; writable when neither says what may be seen.
    ///   - isShared: everybody may write to the working folder, as to /tmp.
    /// - Throws: `invalid_argument` with the field's path.
    package func spec(
        policy: Value?, directory: String, home: String, isShared: Bool = false
    ) throws(LunetteError) -> SandboxSpec {
        var merged = try FieldMerge.merge(policy, table)
        if !args.isEmpty { merged["args"] = .array(args.map(Value.string)) }
        if let text = merged["seccomp"]?.stringValue, text != "default", text != "unconfined" {
            merged["seccomp"] = .string(SandboxPath.absolute(text, directory: directory, home: home))
        }
        let inventory = FieldInventory()
        var reader = try FieldReader(.map(merged), inventory: inventory)
        var spec: SandboxSpec
        do throws(LunetteError) {
            spec = try SandboxSpec(reading: &reader, requiresArgs: !explains)
            try reader.finish()
        } catch { throw Self.namingAll(inventory.unasked, in: error) }
        if !spec.hasPathRules {
            let isNone = Self.isEverything(directory, home: home) || Self.isSecret(directory, home: home)
            if isShared || isNone || (!isReadOnly && Self.isMachines(directory, home: home)) {
                throw refused(directory, isShared: isShared)
            }
            if isReadOnly { spec.allowRead = ["."] } else { spec.allowWrite = ["."] }
            spec.impliedFlag = isReadOnly ? "--allow-read ." : "--allow-write ."
        }
        return spec
    }

    /// The tree one stands in is the one that is worked on. A home, the root or the machine's own folders would be everything: those are said
    /// by name or not at all.
    static func isEverything(_ directory: String, home: String) -> Bool {
        ContainerPath.isWithin(home, directory)
            || [
                "/usr", "/etc", "/var", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/proc", "/sys", "/dev", "/run", "/boot", "/home",
                "/tmp", "/var/tmp",
            ].contains(directory)
    }

    /// Folders whose names alone say that what is in them lets others in.
    static func isSecret(_ directory: String, home: String) -> Bool {
        [".ssh", ".gnupg"].contains { ContainerPath.isWithin(directory, "\(home)/\($0)") }
    }

    /// What the machine and its programs live on: nobody means to give that away by standing in it. Trees that people work in lie below too.
    static func isMachines(_ directory: String, home: String) -> Bool {
        if ContainerPath.isWithin(directory, home), home != "/" {
            // Settings and data of all of the user's programs; one program's are a tree like others.
            return [".config", ".local", ".local/bin", ".local/share", ".local/state", ".cache"].contains { directory == "\(home)/\($0)" }
        }
        let worked = ["/usr/src", "/usr/local/src"]
        if worked.contains(where: { directory != $0 && ContainerPath.isWithin(directory, $0) }) { return false }
        let parts = directory.pathParts
        // Of /var the folders by kind, and in lib each program's own; a web site in /var/www is somebody's work.
        if parts.first == "var" { return parts.count <= (parts.dropFirst().first == "lib" ? 3 : 2) }
        return ["/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/boot", "/proc", "/sys", "/dev"].contains {
            ContainerPath.isWithin(directory, $0)
        }
    }

    private func refused(_ directory: String, isShared: Bool) -> LunetteError {
        let isOthersToo = isShared || directory == "/tmp" || directory == "/var/tmp"
        let reason =
            isOthersToo
            ? "other users' files and sockets are in it too"
            : isReadOnly ? "a sandbox that may read all of it hides little" : "a sandbox that may write all of it holds little"
        let own =
            isOthersToo ? "make a folder of its own there (mktemp -d)" : "go into the tree that is \(isReadOnly ? "read" : "worked on")"
        let rule = isReadOnly ? "--allow-read PATH (--allow-read /usr for nothing of yours)" : "--allow-write PATH"
        return LunetteError(
            .invalidArgument, "the working folder is \(displayable(directory)): \(reason)", hint: "\(own), or name what is meant: \(rule)")
    }
}

/// Puts flags on top of a policy.
private enum FieldMerge {
    static func merge(_ base: Value?, _ top: ValueMap) throws(LunetteError) -> ValueMap {
        guard let base, !base.isNull else { return top }
        guard case .map(var result) = base else {
            guard case .array(let items) = base, items.isEmpty else {
                throw LunetteError(.invalidArgument, "read the policy: expected a table, got \(base.kind)")
            }
            return top
        }
        for (key, value) in top {
            switch (result[key], value) {
            case (.array(let old)?, .array(let new)): result[key] = .array(old + new)
            case (.map(let old)?, .map(let new)): result[key] = .map(try merge(.map(old), new))
            default: result[key] = value
            }
        }
        return result
    }
}
