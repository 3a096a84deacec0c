package import LunetteSpec

/// What `image.build` is to make.
package struct BuildSpec: Sendable {
    package struct Copy: Sendable, Hashable {
        /// An absolute host path (file, folder or link); a folder's contents are copied, as with Docker.
        package var from: String
        /// The path in the image; ends in `/` to copy into a folder.
        package var to: String
        /// Permission bits for files, nil keeps the host's.
        package var mode: UInt32?
        /// `uid[:gid]`, nil is 0:0.
        package var owner: String?

        package init(from: String, to: String, mode: UInt32? = nil, owner: String? = nil) {
            self.from = from
            self.to = to
            self.mode = mode
            self.owner = owner
        }
    }

    /// A command line for the image's shell, or a program and its arguments (for images without a shell).
    package enum Command: Sendable, Hashable, ExpressibleByStringLiteral {
        case shell(String)
        case exec([String])

        package init(stringLiteral value: String) { self = .shell(value) }

        /// In one line, for messages and history.
        package var text: String {
            switch self {
            case .shell(let line): line
            case .exec(let args): args.joined(separator: " ")
            }
        }
    }

    /// Each field that isn't nil replaces the base's; maps are merged key by key.
    package struct Config: Sendable, Hashable {
        package var entrypoint: [String]?
        package var args: [String]?
        package var env: [(key: String, value: String)] = []
        package var workdir: String?
        package var user: String?
        package var exposedPorts: [String] = []
        package var labels: [(key: String, value: String)] = []
        package var volumes: [String] = []

        package init() {}

        package static func == (left: Config, right: Config) -> Bool {
            left.entrypoint == right.entrypoint && left.args == right.args && left.workdir == right.workdir && left.user == right.user
                && left.exposedPorts == right.exposedPorts && left.volumes == right.volumes
                && left.env.elementsEqual(right.env) { $0 == $1 } && left.labels.elementsEqual(right.labels) { $0 == $1 }
        }
        package func hash(into hasher: inout Hasher) { hasher.combine(entrypoint) }
    }

    /// The new image's reference; nil leaves it nameless.
    package var tag: String?
    /// A reference, or nil for `scratch`.
    package var from: String?
    package var copy: [Copy] = []
    /// Commands, one layer each, run in order after the copies.
    package var run: [Command] = []
    package var config = Config()
    /// Unix seconds put on the config and on every new entry's mtime bound (SOURCE_DATE_EPOCH); nil is now.
    package var timestamp: Int64?
    package var platform: String?

    package init() {}

    /// Reads the contract's `image.build{…}`.
    /// - Parameter workingDirectory: what relative `copy.from` paths are resolved against.
    /// - Throws: `invalid_argument` with the field's path.
    package init(value: Value, workingDirectory: String) throws(LunetteError) {
        var reader = try FieldReader(value)
        tag = try reader.string("tag")
        let base = try reader.string("from")
        from = base == "scratch" ? nil : base
        for var item in try reader.tables("copy") {
            let from = try item.required("from")
            let mode: UInt32?
            switch item.value("mode") {
            case nil: mode = nil
            case .int(let number)? where (0...0o7777).contains(number): mode = UInt32(number)
            case .string(let text)?:
                guard let number = UInt32(text, radix: 8), number <= 0o7777 else {
                    throw item.failure("mode", "\"\(text)\" is not a file mode", hint: "write octal digits, such as \"0755\"")
                }
                mode = number
            default: throw item.failure("mode", "is not a file mode", hint: "write octal digits as a string, such as \"0755\"")
            }
            let owner: String?
            switch item.value("owner") {
            case nil: owner = nil
            case .int(let number)?: owner = String(number)
            case .string(let text)?: owner = text
            default: throw item.failure("owner", "is not \"uid\" or \"uid:gid\"")
            }
            copy.append(
                Copy(
                    from: from.hasPrefix("/") ? from : workingDirectory + "/" + from, to: try item.required("to"), mode: mode, owner: owner)
            )
            try item.finish()
        }
        for (index, item) in (try reader.list("run") ?? []).enumerated() {
            if let line = item.stringValue {
                run.append(.shell(line))
                continue
            }
            let args = item.arrayValue?.compactMap(\.stringValue) ?? []
            guard !args.isEmpty, args.count == item.arrayValue?.count else {
                throw reader.failure("run[\(index + 1)]", "expected a command line or a list of arguments, got \(item.kind)")
            }
            run.append(.exec(args))
        }
        platform = try reader.string("platform")
        timestamp = try reader.int("timestamp")
        if let timestamp, !(0...Int64(Units.latestTime)).contains(timestamp) {
            throw reader.failure("timestamp", "\(timestamp) is no unix time in seconds", hint: "0 is the beginning of 1970")
        }
        if var table = try reader.table("config") {
            config.entrypoint = try table.strings("entrypoint")
            config.args = try table.strings("cmd")
            config.env = try table.stringMap("env") ?? []
            config.workdir = try table.string("workdir")
            config.user = try table.string("user")
            config.exposedPorts = try Self.ports(&table)
            config.labels = try table.stringMap("labels") ?? []
            config.volumes = try table.strings("volumes") ?? []
            try table.finish()
        }
        reader.ignore("progress")
        try reader.finish()
    }

    private static func ports(_ table: inout FieldReader) throws(LunetteError) -> [String] {
        var result: [String] = []
        for (index, item) in (try table.list("exposed_ports") ?? []).enumerated() {
            switch item {
            case .int(let number) where (1...65535).contains(number): result.append("\(number)/tcp")
            case .string(let text) where !text.isEmpty: result.append(text.hasSlash ? text : text + "/tcp")
            default: throw table.failure("exposed_ports[\(index + 1)]", "is not a port", hint: "write 8080 or \"53/udp\"")
            }
        }
        return result
    }
}

/// One command that a build wants run in a container; the engine does it through the runtime.
package struct BuildRun: Sendable {
    /// Unpacked layers, top first; overlay's `lowerdir`.
    package var lower: [String]
    /// Empty folders below the store's root, for overlay's upper and work; what ends up in `upper` becomes the layer.
    package var upper: String
    package var work: String
    package var args: [String]
    /// `KEY=value`, from the config so far.
    package var env: [String]
    package var workdir: String
    package var user: String
}

/// Runs a build's commands. The engine implements it; root is mounted from the given folders with ids mapped as for any container.
package protocol BuildRunner: Sendable {
    /// - Parameter output: receives stdout and stderr as they come.
    /// - Returns: the exit code (128+n for a signal); the overlay is unmounted when this returns.
    func run(_ step: BuildRun, output: @escaping @Sendable ([UInt8]) -> Void) async throws(LunetteError) -> Int32
}
