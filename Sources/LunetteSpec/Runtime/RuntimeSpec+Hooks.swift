extension RuntimeSpec {
    /// One program of `hooks`: run by the runtime at a point of the container's life, with the container's state on stdin.
    package struct Hook: Sendable, Hashable {
        /// Absolute.
        package var path: String
        /// argv, its first word included; empty = the path alone.
        package var args: [String]
        /// The whole environment: the runtime's own is not passed on.
        package var env: [String]
        /// Seconds after which it is killed and counts as failed; nil = none.
        package var timeout: Int64?

        package init(path: String, args: [String] = [], env: [String] = [], timeout: Int64? = nil) {
            self.path = path
            self.args = args
            self.env = env
            self.timeout = timeout
        }
    }

    /// The OCI hooks by their points (runtime-spec, config.md, "POSIX-platform Hooks"), each list in the order in which it is run.
    package struct Hooks: Sendable, Hashable {
        package var prestart: [Hook] = []
        package var createRuntime: [Hook] = []
        package var createContainer: [Hook] = []
        package var startContainer: [Hook] = []
        package var poststart: [Hook] = []
        package var poststop: [Hook] = []

        package init() {}

        /// Whether the runtime has something to run between the making of the namespaces and the change of the root.
        package var pausesCreation: Bool { !prestart.isEmpty || !createRuntime.isEmpty }
        package var isEmpty: Bool { self == Hooks() }

        init(reading reader: inout FieldReader) throws(LunetteError) {
            prestart = try Self.list("prestart", &reader)
            createRuntime = try Self.list("createRuntime", &reader)
            createContainer = try Self.list("createContainer", &reader)
            startContainer = try Self.list("startContainer", &reader)
            poststart = try Self.list("poststart", &reader)
            poststop = try Self.list("poststop", &reader)
        }

        private static func list(_ key: String, _ reader: inout FieldReader) throws(LunetteError) -> [Hook] {
            var hooks: [Hook] = []
            for var table in try reader.tables(key) {
                let path = try table.required("path")
                guard path.utf8.first == UInt8(ascii: "/"), !path.utf8.contains(0) else {
                    throw table.failure("path", "\"\(displayable(path, limit: 120))\" is not an absolute path")
                }
                var hook = Hook(path: path, args: try table.strings("args") ?? [], env: try table.strings("env") ?? [])
                try Names.validateArguments(hook.args, path: table.path(of: "args"), firstIndex: table.notation.firstIndex)
                for (index, text) in hook.env.enumerated() where text.utf8.contains(0) {
                    throw table.failure(table.item("env", index), "has a NUL byte, which no environment can hold")
                }
                hook.timeout = try table.int("timeout")
                if let timeout = hook.timeout, timeout <= 0 {
                    throw table.failure("timeout", "\(timeout) is not a number of seconds above 0")
                }
                hooks.append(hook)
            }
            return hooks
        }

        var value: Value {
            var map = ValueMap()
            for (key, hooks) in [
                ("prestart", prestart), ("createRuntime", createRuntime), ("createContainer", createContainer),
                ("startContainer", startContainer), ("poststart", poststart), ("poststop", poststop),
            ] where !hooks.isEmpty {
                map[key] = .array(
                    hooks.map { hook in
                        var entry: ValueMap = ["path": .string(hook.path)]
                        if !hook.args.isEmpty { entry["args"] = .array(hook.args.map(Value.string)) }
                        if !hook.env.isEmpty { entry["env"] = .array(hook.env.map(Value.string)) }
                        if let timeout = hook.timeout { entry["timeout"] = .int(timeout) }
                        return .map(entry)
                    })
            }
            return .map(map)
        }
    }
}
