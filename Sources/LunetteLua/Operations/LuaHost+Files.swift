internal import Glibc
internal import LunetteAPI
internal import LunetteLinux
internal import LunetteSpec

extension LuaHost {
    /// `fs.*`: on a thread of its own, since a path may be a FIFO or a dead network file system.
    /// - Parameter waiting: the token that is waited for already; nil: a new one.
    func fileOperation(
        _ operation: String, _ arguments: [Value], waiting: Int64? = nil
    ) throws(LunetteError) -> LuaState.Answer {
        if isReadOnly, let function = APIRegistry.function(operation) { try ReadOnly.check(function, .null) }
        let call = FileCall(operation: operation, arguments: Arguments(arguments), directory: options.directory)
        if options.permissions == nil, operation == "fs.temporary" {
            let path = try call.makeTemporary()
            temporaryDirectories.append(path)
            return .results([.string(path)])
        }
        if dryRun?.covers(operation, arguments, temporary: temporaryDirectories) == true { return .results([]) }
        let roots = options.permissions.map { permissions in
            permissions.compactMap { $0.hasPrefix("fs:/") ? String($0.dropFirst(3)) : nil }
        }
        let hold = try holdCall()
        let token = waiting ?? newToken()
        let mailbox = mailbox
        // Nothing to cancel: a file operation ends by itself or with the process.
        inFlight[token] = TaskOperation(task: Task {})
        Activity.shared.begin()
        onOwnThread {
            let result: Result<Value, LunetteError>
            do throws(LunetteError) { result = .success(try call.perform(roots: roots)) } catch { result = .failure(error) }
            mailbox.post { host in withExtendedLifetime(hold) { host.deliver(token, result.map { .array([$0]) }) } }
            Activity.shared.end()
        }
        return .await(token)
    }

    func removeTemporaryDirectories() {
        for path in temporaryDirectories {
            // The folder is ours and temporary; what can't be removed is left to the system's own sweeping.
            try? FileTree.remove(path)
        }
        temporaryDirectories = []
    }

    /// The source of a module beside a limited state's code; nil where there is none.
    func moduleSource(_ name: String) throws(LunetteError) -> Value {
        if let modules = options.modules { return try modules.source(of: name).map(Value.text) ?? .null }
        guard let directory = options.moduleDirectory else { return .null }
        for candidate in try ModuleName.candidates(name) {
            do throws(LunetteError) {
                return .text(try FileTree.read("\(directory)/\(candidate)", roots: [directory]))
            } catch  where error.code == .notFound {
                continue
            }
        }
        return .null
    }
}

/// One `fs.*` call, free of the host, so that it can run on any thread.
struct FileCall: Sendable {
    let operation: String
    private let first: Value
    private let second: Value
    private let third: Value
    let directory: String

    init(operation: String, arguments: Arguments, directory: String) {
        self.operation = operation
        first = arguments[0]
        second = arguments[1]
        third = arguments[2]
        self.directory = directory
    }

    func makeTemporary() throws(LunetteError) -> String {
        let base = Environment["TMPDIR"] ?? "/tmp"
        var template = Array("\(base)/lunette-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw .system("make a temporary folder in \(base)", errno, path: nil) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private func path(_ value: Value, _ name: String) throws(LunetteError) -> String {
        guard let text = value.stringValue, !text.isEmpty else {
            throw LunetteError(.invalidArgument, "expected a path, got \(value.kind)", path: name)
        }
        if text.utf8.contains(0) { throw LunetteError(.invalidArgument, "a path can't hold a zero byte", path: name) }
        return APIRegistry.absolutePath(text, directory: directory)
    }

    /// Permission bits: a number, or octal as text (`"0755"`), since Lua has no octal numbers.
    private func mode(_ options: inout FieldReader) throws(LunetteError) -> Int64? {
        guard let value = options.value("mode") else { return nil }
        let number = value.intValue ?? value.stringValue.flatMap { Int64($0, radix: 8) }
        guard let number, (0...0o7777).contains(number) else { throw options.failure("mode", "is not a file mode", hint: "write \"0755\"") }
        return number
    }

    /// - Parameter roots: the folders a limited state may touch; nil: everything.
    func perform(roots: [String]?) throws(LunetteError) -> Value {
        switch operation {
        case "fs.read": return .text(try FileTree.read(try path(first, "path"), roots: roots))
        case "fs.write":
            guard let bytes = second.byteString else {
                throw LunetteError(.invalidArgument, "expected a string, got \(second.kind)", path: "data")
            }
            var options = try FieldReader(third)
            let isAppending = try options.bool("append") ?? false
            let mode = try mode(&options) ?? 0o666
            try options.finish()
            try FileTree.write(try path(first, "path"), bytes, isAppending: isAppending, mode: mode, roots: roots)
            return .null
        case "fs.exists": return .bool(try FileTree.exists(try path(first, "path"), roots: roots))
        case "fs.list": return .array(try FileTree.list(try path(first, "path"), roots: roots).map(Value.string))
        case "fs.stat": return try FileTree.describe(try path(first, "path"), roots: roots)
        case "fs.usage": return try FileTree.usage(try path(first, "path"), roots: roots)
        case "fs.mkdir":
            var options = try FieldReader(second)
            let mode = try mode(&options) ?? 0o777
            let makesParents = try options.bool("parents") ?? false
            let uid = try options.int("uid")
            let gid = try options.int("gid")
            try options.finish()
            try FileTree.makeDirectory(
                try path(first, "path"), mode: mode, makesParents: makesParents, owner: uid.map { ($0, gid ?? $0) }, roots: roots)
            return .null
        case "fs.remove":
            var options = try FieldReader(second)
            let isRecursive = try options.bool("recursive") ?? false
            try options.finish()
            return .bool(try FileTree.remove(try path(first, "path"), isRecursive: isRecursive, roots: roots))
        case "fs.rename":
            try FileTree.rename(try path(first, "from"), try path(second, "to"), roots: roots)
            return .null
        case "fs.temporary": throw LunetteError(.denied, "fs.temporary is not for plugins", hint: "use the plugin's own state folder")
        default: throw LunetteError(.internal, "the Lua host has no operation \(operation)")
        }
    }
}
