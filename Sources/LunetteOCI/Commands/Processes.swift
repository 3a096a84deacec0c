internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let ps = Command(
        name: "ps", summary: "list the processes of a container; the table is ps(1)'s own", arguments: "ID [PS OPTION…]", count: 1...64,
        options: [Option("format", "f", .value("FORMAT"), "table (default) or json: host pids")], order: .beforeArguments
    ) { invocation throws(LunetteError) in
        let format = try OutputFormat(invocation.options)
        let container = try invocation.store.findSettled(try invocation.containerID())
        let pids = container.processes()
        if format == .json {
            try printOut(JSON.encode(.array(pids.map { .int(Int64($0)) })))
            return 0
        }
        let given = Array(invocation.options.arguments.dropFirst())
        let text = try ps(given.isEmpty ? ["-ef"] : given)
        let lines = text.split(separator: "\n")
        guard let header = lines.first,
            let column = header.split(whereSeparator: \.isWhitespace).firstIndex(of: "PID")
        else { throw LunetteError(.invalidArgument, "ps \(displayable(given.joined(separator: " "))): its table has no column PID") }
        let wanted = Set(pids.map(String.init))
        let rows = lines.dropFirst().filter { line in
            let fields = line.split(whereSeparator: \.isWhitespace)
            return column < fields.count && wanted.contains(String(fields[column]))
        }
        try printOut(([header] + rows).joined(separator: "\n"))
        return 0
    }

    /// The host's own ps: never one of the container's (attack 47).
    private static func ps(_ arguments: [String]) throws(LunetteError) -> String {
        guard let program = (["/usr/bin/ps", "/bin/ps"] as [String]).first(where: { access($0, X_OK) == 0 }) else {
            throw LunetteError(.unsupported, "list processes as a table: there is no ps", hint: "install procps, or take --format json")
        }
        return try atBorder(
            "run ps",
            { () throws(SystemCallError) in
                let (read, write) = try FileDescriptor.pipe()
                var request = SpawnRequest(
                    .path(program), arguments: ["ps"] + arguments, environment: ["LC_ALL=C.UTF-8"],
                    descriptors: [nil, write, try .duplicate(of: 2)])
                request.newSession = false
                let child = try spawn(request)
                write.close()
                let bytes = try read.readAll(limit: 1 << 26)
                let status = try child.reap(block: true).map(WaitStatus.init(raw:))
                guard status?.code == 0 else { throw SystemCallError("ps", arguments.joined(separator: " "), errno: ErrorNumber.invalid) }
                return String(decoding: bytes, as: UTF8.self)
            })
    }
}
