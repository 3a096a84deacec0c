extension RuntimeSpec {
    /// `linux.resources`: what the container's cgroup is told.
    package struct Resources: Sendable, Hashable {
        package struct DeviceRule: Sendable, Hashable {
            package var allow: Bool
            /// `a`, `b` or `c`; nil is all.
            package var type: String?
            package var major: Int64?
            package var minor: Int64?
            package var access: String?

            package init(allow: Bool, type: String? = nil, major: Int64? = nil, minor: Int64? = nil, access: String? = nil) {
                self.allow = allow
                self.type = type
                self.major = major
                self.minor = minor
                self.access = access
            }
        }

        package struct Memory: Sendable, Hashable {
            package var limit: Int64?
            package var reservation: Int64?
            /// Memory and swap together.
            package var swap: Int64?
            package var other = ValueMap()
            package init() {}
        }

        package struct Processor: Sendable, Hashable {
            package var shares: Int64?
            /// Microseconds of each period.
            package var quota: Int64?
            package var period: Int64?
            package var cpus: String?
            package var mems: String?
            package var other = ValueMap()
            package init() {}
        }

        package var devices: [DeviceRule] = []
        package var memory = Memory()
        package var cpu = Processor()
        package var pidsLimit: Int64?
        package var blockIOWeight: Int64?
        /// Files of cgroup v2 by name.
        package var unified: [String: String] = [:]
        package var otherBlockIO = ValueMap()
        /// `hugepageLimits`, `network`, `rdma`, as they came.
        package var other = ValueMap()

        package init() {}

        init(reading reader: inout FieldReader) throws(LunetteError) {
            for var table in try reader.tables("devices") {
                guard let allow = try table.bool("allow") else { throw table.failure("allow", "is required") }
                var rule = DeviceRule(allow: allow)
                rule.type = try table.string("type")
                rule.major = try table.int("major")
                rule.minor = try table.int("minor")
                rule.access = try table.string("access")
                devices.append(rule)
            }
            if var table = try reader.table("memory") {
                memory.limit = try table.int("limit")
                memory.reservation = try table.int("reservation")
                memory.swap = try table.int("swap")
                memory.other = table.unread
            }
            if var table = try reader.table("cpu") {
                cpu.shares = try table.int("shares")
                cpu.quota = try table.int("quota")
                cpu.period = try table.int("period")
                cpu.cpus = try table.cpuList("cpus")
                cpu.mems = try table.cpuList("mems")
                cpu.other = table.unread
            }
            if var table = try reader.table("pids") {
                guard let limit = try table.int("limit") else { throw table.failure("limit", "is required") }
                pidsLimit = limit
            }
            if var table = try reader.table("blockIO") {
                blockIOWeight = try table.int("weight")
                otherBlockIO = table.unread
            }
            unified = try reader.dictionary("unified")
            try Self.validateForeign(&reader)
            other = reader.unread
            for key in ["hugepageLimits", "rdma"] { if let value = reader.value(key) { other[key] = value } }
        }

        private static func validateForeign(_ reader: inout FieldReader) throws(LunetteError) {
            for var table in try reader.tables("hugepageLimits") {
                let size = try table.required("pageSize")
                let digits = size.dropLast(2)
                let unit = size.suffix(2)
                guard let number = UInt32(digits), String(number) == digits, number > 0, ["KB", "MB", "GB"].contains(String(unit)) else {
                    throw table.failure("pageSize", "\"\(displayable(size, limit: 32))\" is not a size such as \"2MB\"")
                }
                guard try table.unsigned64("limit") != nil else { throw table.failure("limit", "is required") }
            }
            if var devices = try reader.table("rdma") {
                for name in devices.keys {
                    guard var table = try devices.table(name) else { continue }
                    _ = try table.unsigned("hcaHandles")
                    _ = try table.unsigned("hcaObjects")
                }
            }
        }

        var value: Value {
            var map = ValueMap()
            if !devices.isEmpty {
                map["devices"] = .array(
                    devices.map { rule in
                        var entry: ValueMap = ["allow": .bool(rule.allow)]
                        entry.set("type", rule.type)
                        entry.set("major", rule.major)
                        entry.set("minor", rule.minor)
                        entry.set("access", rule.access)
                        return .map(entry)
                    }
                )
            }
            var memory = ValueMap()
            memory.set("limit", self.memory.limit)
            memory.set("reservation", self.memory.reservation)
            memory.set("swap", self.memory.swap)
            for (key, item) in self.memory.other { memory[key] = item }
            if !memory.isEmpty { map["memory"] = .map(memory) }
            var cpu = ValueMap()
            cpu.set("shares", self.cpu.shares)
            cpu.set("quota", self.cpu.quota)
            cpu.set("period", self.cpu.period)
            cpu.set("cpus", self.cpu.cpus)
            cpu.set("mems", self.cpu.mems)
            for (key, item) in self.cpu.other { cpu[key] = item }
            if !cpu.isEmpty { map["cpu"] = .map(cpu) }
            if let pidsLimit { map["pids"] = ["limit": .int(pidsLimit)] }
            var block = otherBlockIO
            block.set("weight", blockIOWeight)
            if !block.isEmpty { map["blockIO"] = .map(block) }
            map.set("unified", unified)
            for (key, item) in other { map[key] = item }
            return .map(map)
        }
    }
}
