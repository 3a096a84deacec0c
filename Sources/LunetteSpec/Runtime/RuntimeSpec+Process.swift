extension RuntimeSpec {
    /// The `process` section.
    package struct ProcessSection: Sendable, Hashable {
        package var terminal: Bool
        package var consoleSize: ConsoleSize?
        package var cwd: String
        package var env: [String]
        package var args: [String]
        package var user: User
        package var capabilities: Capabilities?
        package var rlimits: [Rlimit]
        package var noNewPrivileges: Bool
        package var oomScoreAdj: Int64?
        package var apparmorProfile: String?
        package var selinuxLabel: String?
        package var scheduler: Scheduler?
        package var ioPriority: IOPriority?
        package var execCPUAffinity: ExecCPUAffinity?
        /// `commandLine` and what later versions add, as it came.
        package var other: ValueMap

        package struct ConsoleSize: Sendable, Hashable {
            package var height: UInt32
            package var width: UInt32
            package init(height: UInt32, width: UInt32) {
                self.height = height
                self.width = width
            }
        }

        package struct User: Sendable, Hashable {
            package var uid: UInt32
            package var gid: UInt32
            package var umask: UInt32?
            package var additionalGids: [UInt32]
            /// A user string that must be looked up in the container (`redis`, `1000:www`); uid and gid are then nobody's, so that a
            /// reader who doesn't know this never runs it as root.
            package var username: String?

            package static let nobody: UInt32 = 65534

            package init(uid: UInt32, gid: UInt32, umask: UInt32? = nil, additionalGids: [UInt32] = [], username: String? = nil) {
                self.uid = uid
                self.gid = gid
                self.umask = umask
                self.additionalGids = additionalGids
                self.username = username
            }
        }

        package struct Capabilities: Sendable, Hashable {
            package var bounding: [Capability]
            package var effective: [Capability]
            package var permitted: [Capability]
            package var inheritable: [Capability]
            package var ambient: [Capability]
            /// Names that this version doesn't know: a runtime warns of them and goes on (config.md, "Linux Process").
            package var unknown: [String] = []

            /// One list as bounding, effective and permitted set; inheritable and ambient stay empty (CVE-2022-24769).
            package init(_ list: [Capability]) {
                bounding = list
                effective = list
                permitted = list
                inheritable = []
                ambient = []
            }
        }

        package init(args: [String], cwd: String = "/") {
            terminal = false
            self.cwd = cwd
            env = []
            self.args = args
            user = User(uid: 0, gid: 0)
            rlimits = []
            noNewPrivileges = true
            other = ValueMap()
        }

        init(reading reader: inout FieldReader) throws(LunetteError) {
            self.init(args: try reader.strings("args") ?? [], cwd: try reader.required("cwd"))
            guard cwd.utf8.first == UInt8(ascii: "/") else {
                throw reader.failure("cwd", "\"\(displayable(cwd, limit: 80))\" is not an absolute path")
            }
            try Names.validateArguments(args, path: reader.path(of: "args"), firstIndex: reader.notation.firstIndex)
            terminal = try reader.bool("terminal") ?? false
            if var size = try reader.table("consoleSize"), let height = try size.unsigned("height"), let width = try size.unsigned("width")
            {
                consoleSize = ConsoleSize(height: height, width: width)
            }
            env = try reader.strings("env") ?? []
            for (index, text) in env.enumerated()
            where text.utf8.contains(0) || text.utf8.first == UInt8(ascii: "=") || !text.utf8.contains(UInt8(ascii: "=")) {
                throw reader.failure(reader.item("env", index), "is not NAME=value")
            }
            if var table = try reader.table("user") { user = try Self.user(reading: &table) }
            if var table = try reader.table("capabilities") {
                var sets = Capabilities([])
                sets.bounding = try table.capabilityNames("bounding", unknown: &sets.unknown)
                sets.effective = try table.capabilityNames("effective", unknown: &sets.unknown)
                sets.permitted = try table.capabilityNames("permitted", unknown: &sets.unknown)
                sets.inheritable = try table.capabilityNames("inheritable", unknown: &sets.unknown)
                sets.ambient = try table.capabilityNames("ambient", unknown: &sets.unknown)
                capabilities = sets
            }
            for var table in try reader.tables("rlimits") {
                let limit = try Self.rlimit(reading: &table)
                guard !rlimits.contains(where: { $0.resource == limit.resource }) else {
                    throw table.failure("type", "\(limit.ociName) is there twice")
                }
                rlimits.append(limit)
            }
            noNewPrivileges = try reader.bool("noNewPrivileges") ?? false
            oomScoreAdj = try reader.int("oomScoreAdj", in: -1000...1000)
            apparmorProfile = try reader.string("apparmorProfile")
            selinuxLabel = try reader.string("selinuxLabel")
            if var table = try reader.table("scheduler") { scheduler = try Scheduler(reading: &table) }
            if var table = try reader.table("ioPriority") { ioPriority = try IOPriority(reading: &table) }
            if var table = try reader.table("execCPUAffinity") { execCPUAffinity = try ExecCPUAffinity(reading: &table) }
            reader.keep("commandLine")
            other = reader.unread
        }

        private static func user(reading table: inout FieldReader) throws(LunetteError) -> User {
            var user = User(uid: try table.unsigned("uid") ?? 0, gid: try table.unsigned("gid") ?? 0)
            user.umask = try table.unsigned("umask")
            if let umask = user.umask, umask > 0o777 { throw table.failure("umask", "\(umask) is not a mask of permissions") }
            for (index, item) in (try table.list("additionalGids") ?? []).enumerated() {
                guard let number = item.intValue, let gid = UInt32(exactly: number) else {
                    throw table.failure(table.item("additionalGids", index), "is not a group id")
                }
                user.additionalGids.append(gid)
            }
            if let text = try table.string("username") { user.username = text }
            // 2^32-1 means "leave as it is" to setresuid: the process would stay root.
            for (key, id) in [("uid", user.uid), ("gid", user.gid)] where id == UInt32.max { throw table.failure(key, "\(id) is no id") }
            return user
        }

        private static func rlimit(reading table: inout FieldReader) throws(LunetteError) -> Rlimit {
            let type = try table.required("type")
            guard type.hasPrefix("RLIMIT_"), let resource = Rlimit.resource(named: type) else {
                throw table.failure("type", "\"\(displayable(type, limit: 40))\" is not a limit of Linux")
            }
            guard let soft = try table.unsigned64("soft"), let hard = try table.unsigned64("hard") else {
                throw LunetteError(.invalidArgument, "needs soft and hard", path: table.path)
            }
            guard soft <= hard else { throw table.failure("soft", "is above hard") }
            return Rlimit(resource: resource, soft: soft, hard: hard)
        }

        var value: Value {
            var map: ValueMap = ["terminal": .bool(terminal)]
            if let consoleSize {
                map["consoleSize"] = ["height": .int(Int64(consoleSize.height)), "width": .int(Int64(consoleSize.width))]
            }
            var user: ValueMap = ["uid": .int(Int64(self.user.uid)), "gid": .int(Int64(self.user.gid))]
            if let umask = self.user.umask { user["umask"] = .int(Int64(umask)) }
            if !self.user.additionalGids.isEmpty { user["additionalGids"] = .array(self.user.additionalGids.map { .int(Int64($0)) }) }
            user.set("username", self.user.username)
            map["user"] = .map(user)
            map["args"] = .array(args.map(Value.string))
            map["env"] = .array(env.map(Value.string))
            map["cwd"] = .string(cwd)
            if let capabilities {
                var sets = ValueMap()
                for (key, list) in [
                    ("bounding", capabilities.bounding), ("effective", capabilities.effective), ("permitted", capabilities.permitted),
                    ("inheritable", capabilities.inheritable), ("ambient", capabilities.ambient),
                ] { sets[key] = .array(list.map { .string($0.name) }) }
                map["capabilities"] = .map(sets)
            }
            if !rlimits.isEmpty {
                // A uint64's largest value doesn't fit `Value`; Int64.max reads back as "no limit".
                map["rlimits"] = .array(
                    rlimits.map {
                        ["type": .string($0.ociName), "hard": .int(Int64(clamping: $0.hard)), "soft": .int(Int64(clamping: $0.soft))]
                    }
                )
            }
            map["noNewPrivileges"] = .bool(noNewPrivileges)
            map.set("oomScoreAdj", oomScoreAdj)
            map.set("apparmorProfile", apparmorProfile)
            map.set("selinuxLabel", selinuxLabel)
            if let scheduler { map["scheduler"] = scheduler.value }
            if let ioPriority { map["ioPriority"] = ioPriority.value }
            if let execCPUAffinity { map["execCPUAffinity"] = execCPUAffinity.value }
            for (key, item) in other { map[key] = item }
            return .map(map)
        }
    }
}

extension FieldReader {
    fileprivate mutating func capabilityNames(_ key: String, unknown: inout [String]) throws(LunetteError) -> [Capability] {
        var list: [Capability] = []
        for text in try strings(key) ?? [] {
            do {
                let capability = try Capability(text)
                if !list.contains(capability) { list.append(capability) }
            } catch { if !unknown.contains(text) { unknown.append(text) } }
        }
        return list.sorted()
    }
}
