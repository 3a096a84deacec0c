import ArgumentParser
import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec

struct CopyCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "cp", _superCommandName: "lunette", abstract: "Copy between a container and the host.",
        usage: "lunette cp [OPTIONS] CONTAINER:PATH PATH|-\nlunette cp [OPTIONS] PATH|- CONTAINER:PATH")

    @Flag(name: [.short, .long], help: "Owners come along, by the container's numbers.") var archive = false
    @Flag(name: [.customShort("L"), .long], help: "A source that is a link means what it leads to.") var followLink = false
    @Flag(name: [.short, .long], help: .hidden) var quiet = false
    @Argument(help: "CONTAINER:PATH, a path here, or - for a tar on stdin.", completion: Live.insides) var source: String
    @Argument(help: "A path here, CONTAINER:PATH, or - for a tar on stdout.", completion: Live.insides) var destination: String
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        switch (Self.inside(source), Self.inside(destination)) {
        case (let from?, nil) where destination == "-": try await TarStream.write(of: from, client, options)
        case (let from?, nil):
            _ = try await client.call("container.copy_out", arguments(from.0, from.1, Self.host(destination)))
        case (nil, let to?) where source == "-": try await TarStream.read(into: to, client, options)
        case (nil, let to?):
            _ = try await client.call("container.copy_in", arguments(to.0, Self.host(source), to.1))
        default:
            throw LunetteError(
                .invalidArgument, "copy \(source) to \(destination): exactly one of them is CONTAINER:PATH",
                hint: "a host path with a colon is written ./…")
        }
        return 0
    }

    private var options: ValueMap {
        var map = ValueMap()
        if archive { map["archive"] = true }
        if followLink { map["follow_link"] = true }
        return map
    }

    private func arguments(_ container: String, _ source: String, _ destination: String) -> ValueMap {
        var map = options
        map["container"] = .string(container)
        map["source"] = .string(source)
        map["destination"] = .string(destination)
        return map
    }

    /// `NAME:PATH`; a slash or dot before the colon makes it a host path, as in Docker.
    private static func inside(_ text: String) -> (String, String)? {
        guard let colon = text.firstIndex(of: ":"), colon > text.startIndex else { return nil }
        let name = text[..<colon]
        if name.hasSlash || name.hasPrefix(".") { return nil }
        return (String(name), String(text[text.index(after: colon)...]))
    }

    private static func host(_ path: String) -> String { APIRegistry.absolutePath(path, directory: workingDirectory()) }
}

/// Tars on stdin and stdout: made and read by the host's tar(1), over a folder of our own, so that a container never sees the program.
private enum TarStream {
    static func write(of from: (String, String), _ client: Client, _ options: ValueMap) async throws(LunetteError) {
        if Output.isTerminal(1) {
            throw LunetteError(.invalidArgument, "write a tar to the terminal", hint: "redirect it: lunette cp … - > files.tar")
        }
        try await withFolder { (folder) throws(LunetteError) in
            var arguments = options
            arguments["container"] = .string(from.0)
            arguments["source"] = .string(from.1)
            let tree = "\(folder)/tree"
            guard mkdir(tree, 0o700) == 0 else { throw WireSocket.failure("make a temporary folder", errno) }
            arguments["destination"] = .string(tree)
            _ = try await client.call("container.copy_out", arguments)
            // As Docker: the entry under its own name, or what is in the folder. Never the temporary folder itself, whose mode would become that of
            // the folder into which the tar is read. Names come from a file: there may be more than fit into arguments, and none is an option there.
            let names = "\(folder)/names"
            try atBorder(
                "list what was copied",
                { () throws(SystemCallError) in
                    // Raw: a container's names need be no text.
                    var (list, walk) = ([UInt8](), try TreeWalk(try Directory(tree).descriptor, label: tree, sorted: true))
                    while case .entry(let name)? = try walk.next() { list += walk.path.bytes(of: name) + [0] }
                    try Directory(folder).create("names", list)
                })
            try run(
                ["-C", tree, "--numeric-owner", "-cf", "-", "--null", "--verbatim-files-from", "-T", names], what: "write the tar")
        }
    }

    static func read(into to: (String, String), _ client: Client, _ options: ValueMap) async throws(LunetteError) {
        try await withFolder { (folder) throws(LunetteError) in
            try run(["-C", folder, "--numeric-owner", "-xpf", "-"], what: "read the tar on stdin")
            var arguments = options
            arguments["container"] = .string(to.0)
            arguments["source"] = .string(folder + "/.")
            arguments["destination"] = .string(to.1)
            _ = try await client.call("container.copy_in", arguments)
        }
    }

    private static func withFolder(_ body: (String) async throws(LunetteError) -> Void) async throws(LunetteError) {
        let place = Environment["TMPDIR"] ?? "/var/tmp"
        sweep(place)
        var template = Array("\(place)/\(prefix)XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw WireSocket.failure("make a temporary folder", errno) }
        let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // Says to other sweepers that we live.
        let lock = try atBorder("hold \(folder)") { () throws(SystemCallError) in
            try FileLock.take(try Directory(folder).descriptor, label: folder)
        }
        defer { lock?.release() }
        let failure: LunetteError?
        do throws(LunetteError) {
            try await body(folder)
            failure = nil
        } catch {
            failure = error
        }
        // What can't be removed lies in a folder for temporary files; the copy's own failure is what counts.
        _ = try? spawn(["/bin/rm", "-rf", "--", folder])
        if let failure { throw failure }
    }

    private static let prefix = "lunette-cp."

    /// Takes away what a killed `cp` has left there. Best effort: what can't be removed now is the next one's.
    private static func sweep(_ place: String) {
        guard let folder = try? Directory(place), let names = try? folder.entries() else { return }
        let now = SystemClock.now
        for name in names where name.hasPrefix(prefix) {
            guard let status = try? folder.status(name), status.kind == .directory, status.uid == geteuid(),
                // A young one may not be held yet.
                status.modified.seconds < Int64(now) - 60,
                let left = try? folder.open(name, [.directory, .noFollow]), let lock = try? FileLock.take(left, label: name)
            else { continue }
            try? folder.removeTree(name)
            lock.release()
        }
    }

    private static func run(_ arguments: [String], what: String) throws(LunetteError) {
        let code = try spawn(["/bin/tar"] + arguments)
        guard code == 0 else {
            throw LunetteError(.io, "\(what): tar ended with \(code)", hint: "its own words stand above")
        }
    }

    /// Runs a program of the host's with our stdin, stdout and stderr; blocks.
    private static func spawn(_ arguments: [String]) throws(LunetteError) -> Int32 {
        var pid: pid_t = 0
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        let result = posix_spawn(&pid, arguments[0], nil, nil, words, environ)
        guard result == 0 else {
            throw LunetteError(.notFound, "run \(arguments[0]): \(Errno(result))", errno: result, hint: "install it, or copy without \"-\"")
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
    }
}

struct DiffCommand: LunetteCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", _superCommandName: "lunette", abstract: "List what a container changed in its image's files: A, C, D.")

    @Option(help: ArgumentHelp("json, table or a template.", valueName: "format")) var format: String?
    @Argument(help: "Name or id.", completion: Live.containers) var container: String
    @OptionGroup var global: GlobalOptions

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let changes = try await client.call("container.diff", ["container": .string(container)]).arrayValue ?? []
        guard format == nil else {
            let rows = changes.map { record in
                Listing.Row(
                    cells: ["Path": record["path"]?.stringValue ?? "", "Change": record["change"]?.stringValue ?? ""], record: record,
                    name: record["path"]?.stringValue ?? "")
            }
            try Listing(kind: "FileChange", columns: [.init("CHANGE", "Change"), .init("PATH", "Path")], rows: rows).print(
                format: format, quiet: false)
            return 0
        }
        for change in changes {
            // Docker's letters.
            let letter = ["added": "A", "removed": "D"][change["change"]?.stringValue ?? ""] ?? "C"
            Output.print("\(letter) \(Text.safe(change["path"]?.stringValue ?? ""))")
        }
        return 0
    }
}
