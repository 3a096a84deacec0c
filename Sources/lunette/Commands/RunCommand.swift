import ArgumentParser
import Glibc
import LunetteAPI
import LunetteSpec

struct RunCommand: PassthroughCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", _superCommandName: "lunette", abstract: "Make a container from an image and start it.",
        usage: "lunette run [OPTIONS] IMAGE [COMMAND…]", helpNames: .long)

    @OptionGroup var options: ContainerOptions
    @Flag(name: [.short, .long], help: "Leave it running and print its id.") var detach = false
    @Option(name: .joined("a"), help: ArgumentHelp("Connect stdin, stdout or stderr only.", valueName: "stream")) var attach: [String] = []
    @Option(help: ArgumentHelp("Write the container's id to this file.", valueName: "file")) var cidfile: String?
    @Option(help: ArgumentHelp("Keys that leave it running (ctrl-p,ctrl-q).", valueName: "keys")) var detachKeys: String?
    @Flag(inversion: .prefixedNo, help: "Send signals on to the program.") var sigProxy = true
    @Flag(name: [.short, .long], help: "No progress of a pull.") var quiet = false
    @Argument(
        parsing: .captureForPassthrough, help: ArgumentHelp("Image, then program and arguments.", valueName: "image"),
        completion: Live.images) var words: [String] = []
    @OptionGroup var global: GlobalOptions

    func prepare() { if !detach { SignalRelay.block() } }

    func perform(_ client: Client) async throws(LunetteError) -> Int32 {
        let words = try options.newPod ? Words.none(words, command: "run") : Words.image(words, command: "run")
        let spec = try options.spec(words)
        let limits = AskedLimits(spec)
        var attachment: Attachment?
        if !detach {
            let streams = try Attachment.Streams(attach, stdin: options.interactive, tty: options.tty)
            attachment = try Attachment(client, streams: streams, keys: detachKeys, sigProxy: sigProxy)
        }
        let handle: Value
        let idFile = try CIDFile(cidfile)
        do throws(LunetteError) {
            if let image = words.first {
                try await ImagePull.ensure(image, when: options.pull, platform: options.platform, quiet: quiet, client)
            }
            // In the foreground two calls, so that a failure of either says which, and the terminal has its size before the program asks for it.
            handle = try await options.call(detach ? "container.run" : "container.create", spec, client)
        } catch {
            idFile?.discard()
            throw error
        }
        let id = handle["id"]?.stringValue ?? ""
        DeviceAccess.tell(spec)
        guard let attachment else {
            Output.print(id)
            AskedLimits.tell(handle)
            try idFile?.write(handle)
            return 0
        }
        do throws(LunetteError) {
            try idFile?.write(handle, isKept: !options.rm)
            let exit = try await attachment.run(container: id) { (files, stdio) throws(LunetteError) in
                do throws(LunetteError) {
                    AskedLimits.tell(try await client.call("container.start", attachment.startArguments(id, stdio), files: files))
                } catch { throw options.named(error) }
            }
            limits.tell(exit, of: options.name ?? "the container")
            if options.rm, !attachment.isDetached { await ContainerExit.removal(id, of: options.name ?? "the container", client) }
            return ContainerExit.code(exit)
        } catch  where error.code != .cancelled && options.rm {
            // What never started leaves nothing behind; the engine may have taken it away itself.
            do throws(LunetteError) {
                _ = try await client.call("container.remove", ["container": .string(id), "force": true, "volumes": true])
            } catch {}
            throw error
        }
    }
}

/// What stands behind the options of `run`, `create` and `exec`.
enum Words {
    static func image(_ words: [String], command: String) throws(LunetteError) -> [String] {
        try check(words, command: command, what: "an image")
    }

    /// A pod has no image and runs nothing.
    static func none(_ words: [String], command: String) throws(LunetteError) -> [String] {
        guard let first = words.first else { return [] }
        if first.hasPrefix("-") { return try check(words, command: command, what: "a pod's option") }
        throw LunetteError(
            .invalidArgument, "\(command) --new-pod: a pod has no image and runs no program, so \"\(first)\" has no place",
            hint: "run \(first) with --pod NAME afterwards")
    }

    /// A word with a dash in first place is an option that nobody knows: parsing stopped there.
    static func check(_ words: [String], command: String, what: String) throws(LunetteError) -> [String] {
        var words = words
        if words.first == "--" { words.removeFirst() }
        guard let first = words.first else {
            throw LunetteError(.invalidArgument, "\(command): \(what) is missing", hint: "see \"lunette \(command) --help\"")
        }
        guard !first.hasPrefix("-") else {
            throw LunetteError(.invalidArgument, "\(command): unknown option \"\(first)\"", hint: Words.hint(first, command: command))
        }
        return words
    }

    private static func hint(_ word: String, command: String) -> String {
        let name = String(word.prefix { $0 != "=" })
        let known = CommandTable.options(of: command)
        return nearest(to: name, in: known).map { "did you mean \"\($0)\"?" } ?? "see \"lunette \(command) --help\""
    }
}

/// What `--cidfile` names. The file must be new, as Docker has it: an old id in it would be another container's.
struct CIDFile {
    private let path: String
    private let fd: Int32

    /// Makes the file before anything else is made.
    /// - Returns: nil when none is asked for.
    init?(_ path: String?) throws(LunetteError) {
        guard let path else { return nil }
        self.path = path
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard fd >= 0 else {
            let number = errno
            throw LunetteError(
                number == EEXIST ? .alreadyExists : .io, "make \(path) for the container's id: \(Errno(number))", path: "--cidfile",
                errno: number,
                hint: number == EEXIST ? "the id in it may be a container's that is still there: remove the file, or name another" : nil)
        }
    }

    /// - Parameter isKept: whether the container stays when this fails.
    /// - Throws: `io`, with what is there all the same.
    func write(_ handle: Value, isKept: Bool = true) throws(LunetteError) {
        let id = handle["id"]?.stringValue ?? ""
        // The kernel keeps some errors (quota, NFS) for the sync.
        let written = Glibc.write(fd, id, id.utf8.count) == id.utf8.count && fsync(fd) == 0
        let number = errno
        close(fd)
        guard !written else { return }
        unlink(path)
        throw LunetteError(
            .io, "write the container's id to \(path): \(Errno(number == 0 ? ENOSPC : number))", path: "--cidfile", errno: number,
            hint: isKept
                ? "the container \(handle["name"]?.stringValue ?? id) is there all the same: \(id)"
                : "the container has not started and is removed again")
    }

    /// No container was made: an empty file would say that there was one.
    func discard() {
        close(fd)
        unlink(path)
    }
}
