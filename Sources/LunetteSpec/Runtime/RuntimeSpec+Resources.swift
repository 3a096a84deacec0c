extension RuntimeSpec {
    /// `linux.resources`: what the container's cgroup is told. A nil (and, as every runtime has it, a zero where zero limits nothing) leaves the
    /// kernel's own value. Source: runtime-spec 1.3, config-linux.md, "Control groups".
    package struct Resources: Sendable, Hashable {
        package var devices: [DeviceRule] = []
        package var memory = Memory()
        package var cpu = Processor()
        /// Processes and threads; below 0 = no limit.
        package var pidsLimit: Int64?
        package var blockIO = BlockIO()
        package var hugepageLimits: [HugepageLimit] = []
        package var network = Network()
        package var rdma: [RdmaLimit] = []
        /// Files of cgroup v2 by name.
        package var unified: [String: String] = [:]
        package var other = ValueMap()

        package init() {}

        /// Decodes `linux.resources` alone, as `update --resources` gives it.
        /// - Parameters:
        ///   - path: where the table stands, for errors.
        ///   - inventory: is told of every field, so that what is ignored can be named.
        /// - Throws: `invalid_argument` with the field's path.
        package init(_ value: Value, path: String = "linux.resources", inventory: FieldInventory? = nil) throws(LunetteError) {
            var reader = try FieldReader(value, path: path, notation: .json, inventory: inventory)
            try self.init(reading: &reader)
        }

        init(reading reader: inout FieldReader) throws(LunetteError) {
            for var table in try reader.tables("devices") { devices.append(try DeviceRule(reading: &table)) }
            if var table = try reader.table("memory") { memory = try Memory(reading: &table) }
            if var table = try reader.table("cpu") { cpu = try Processor(reading: &table) }
            if var table = try reader.table("pids") {
                guard let limit = try table.int("limit") else { throw table.failure("limit", "is required") }
                pidsLimit = limit
            }
            if var table = try reader.table("blockIO") { blockIO = try BlockIO(reading: &table) }
            for var table in try reader.tables("hugepageLimits") { hugepageLimits.append(try HugepageLimit(reading: &table)) }
            if var table = try reader.table("network") { network = try Network(reading: &table) }
            if var table = try reader.table("rdma") {
                for name in table.keys {
                    guard var entry = try table.table(name) else { continue }
                    rdma.append(try RdmaLimit(device: name, reading: &entry))
                }
            }
            unified = try reader.dictionary("unified")
            other = reader.unread
        }

        package var value: Value {
            var map = ValueMap()
            map.set("devices", devices.map(\.value))
            map.set("memory", table: memory.value)
            map.set("cpu", table: cpu.value)
            if let pidsLimit { map["pids"] = ["limit": .int(pidsLimit)] }
            map.set("blockIO", table: blockIO.value)
            map.set("hugepageLimits", hugepageLimits.map(\.value))
            map.set("network", table: network.value)
            var devices = ValueMap()
            for limit in rdma { devices[limit.device] = limit.value }
            map.set("rdma", table: devices)
            map.set("unified", unified)
            for (key, item) in other { map[key] = item }
            return .map(map)
        }
    }
}

extension RuntimeSpec.Resources {
    package struct DeviceRule: Sendable, Hashable {
        package var allow: Bool
        /// `a`, `b` or `c`; nil is all.
        package var type: String?
        /// nil (and -1) = any.
        package var major: Int64?
        package var minor: Int64?
        /// Of `rwm`; nil is all three.
        package var access: String?

        package init(allow: Bool, type: String? = nil, major: Int64? = nil, minor: Int64? = nil, access: String? = nil) {
            self.allow = allow
            self.type = type
            self.major = major
            self.minor = minor
            self.access = access
        }

        init(reading table: inout FieldReader) throws(LunetteError) {
            guard let allow = try table.bool("allow") else { throw table.failure("allow", "is required") }
            self.init(allow: allow)
            type = try table.string("type")
            // `u` and `p` are nodes that can be made, not ones that a rule can be about (devices.allow knows a, b, c).
            if let type, !["a", "b", "c"].contains(type) {
                throw table.failure("type", "\"\(displayable(type, limit: 8))\" is not a, b or c")
            }
            major = try number("major", &table)
            minor = try number("minor", &table)
            access = try table.string("access")
            if let access, access.contains(where: { !"rwm".contains($0) }) {
                throw table.failure("access", "\"\(displayable(access, limit: 8))\" is not made of r, w and m")
            }
        }

        private func number(_ key: String, _ table: inout FieldReader) throws(LunetteError) -> Int64? {
            guard let number = try table.int(key) else { return nil }
            guard (-1...Int64(UInt32.max)).contains(number) else { throw table.failure(key, "\(number) is no device number (-1 is any)") }
            return number
        }

        var value: Value {
            var entry: ValueMap = ["allow": .bool(allow)]
            entry.set("type", type)
            entry.set("major", major)
            entry.set("minor", minor)
            entry.set("access", access)
            return .map(entry)
        }
    }

    /// Bytes; -1 = no limit.
    package struct Memory: Sendable, Hashable {
        package var limit: Int64?
        package var reservation: Int64?
        /// Memory and swap together.
        package var swap: Int64?
        /// Deprecated by the kernel and the specification.
        package var kernel: Int64?
        package var kernelTCP: Int64?
        /// 0…100.
        package var swappiness: Int64?
        package var disableOOMKiller: Bool?
        package var useHierarchy: Bool?
        /// Refuse a limit below what is in use, instead of reclaiming and killing.
        package var checkBeforeUpdate: Bool?
        package var other = ValueMap()
        package init() {}

        init(reading table: inout FieldReader) throws(LunetteError) {
            limit = try table.bytesOrUnlimited("limit")
            reservation = try table.bytesOrUnlimited("reservation")
            swap = try table.bytesOrUnlimited("swap")
            kernel = try table.bytesOrUnlimited("kernel")
            kernelTCP = try table.bytesOrUnlimited("kernelTCP")
            swappiness = try table.int("swappiness")
            if let swappiness, !(0...100).contains(swappiness) { throw table.failure("swappiness", "\(swappiness) is not within 0–100") }
            disableOOMKiller = try table.bool("disableOOMKiller")
            useHierarchy = try table.bool("useHierarchy")
            checkBeforeUpdate = try table.bool("checkBeforeUpdate")
            other = table.unread
        }

        var value: ValueMap {
            var map = ValueMap()
            map.set("limit", limit)
            map.set("reservation", reservation)
            map.set("swap", swap)
            map.set("kernel", kernel)
            map.set("kernelTCP", kernelTCP)
            map.set("swappiness", swappiness)
            map.set("disableOOMKiller", disableOOMKiller)
            map.set("useHierarchy", useHierarchy)
            map.set("checkBeforeUpdate", checkBeforeUpdate)
            for (key, item) in other { map[key] = item }
            return map
        }
    }

    package struct Processor: Sendable, Hashable {
        /// 2…262144, v1's scale.
        package var shares: Int64?
        /// Microseconds of each period; below 0 = no limit.
        package var quota: Int64?
        /// Microseconds of unused time that may be kept for later.
        package var burst: Int64?
        package var period: Int64?
        /// Microseconds for real-time scheduling of each `realtimePeriod`.
        package var realtimeRuntime: Int64?
        package var realtimePeriod: Int64?
        package var cpus: String?
        package var mems: String?
        /// 1 = SCHED_IDLE.
        package var idle: Int64?
        package var other = ValueMap()
        package init() {}

        init(reading table: inout FieldReader) throws(LunetteError) {
            shares = try table.natural("shares")
            quota = try table.int("quota")
            burst = try table.natural("burst")
            period = try table.natural("period")
            realtimeRuntime = try table.int("realtimeRuntime")
            realtimePeriod = try table.natural("realtimePeriod")
            // Docker and containerd write "" for "not set".
            cpus = try table.cpuListOrNothing("cpus")
            mems = try table.cpuListOrNothing("mems")
            idle = try table.int("idle")
            if let idle, idle != 0, idle != 1 { throw table.failure("idle", "\(idle) is not 0 or 1") }
            other = table.unread
        }

        var value: ValueMap {
            var map = ValueMap()
            map.set("shares", shares)
            map.set("quota", quota)
            map.set("burst", burst)
            map.set("period", period)
            map.set("realtimeRuntime", realtimeRuntime)
            map.set("realtimePeriod", realtimePeriod)
            map.set("cpus", cpus)
            map.set("mems", mems)
            map.set("idle", idle)
            for (key, item) in other { map[key] = item }
            return map
        }
    }

    package struct HugepageLimit: Sendable, Hashable {
        /// `2MB`.
        package var pageSize: String
        /// Bytes; UInt64.max = no limit.
        package var limit: UInt64

        package init(pageSize: String, limit: UInt64) {
            self.pageSize = pageSize
            self.limit = limit
        }

        init(reading table: inout FieldReader) throws(LunetteError) {
            let size = try table.required("pageSize")
            let digits = size.dropLast(2)
            guard let number = UInt32(digits), String(number) == digits, number > 0, ["KB", "MB", "GB"].contains(String(size.suffix(2)))
            else {
                throw table.failure("pageSize", "\"\(displayable(size, limit: 32))\" is not a size such as \"2MB\"")
            }
            guard let limit = try table.unsigned64("limit") else { throw table.failure("limit", "is required") }
            self.init(pageSize: size, limit: limit)
        }

        var value: Value { ["pageSize": .string(pageSize), "limit": .int(Int64(clamping: limit))] }
    }

    package struct Network: Sendable, Hashable {
        package var classID: UInt32?
        package var priorities: [(name: String, priority: UInt32)] = []
        package var other = ValueMap()
        package init() {}

        init(reading table: inout FieldReader) throws(LunetteError) {
            classID = try table.unsigned("classID")
            for var entry in try table.tables("priorities") {
                let name = try entry.required("name")
                guard !name.isEmpty, name.utf8.count < 16, !name.contains(where: { $0.isWhitespace || $0 == "/" }) else {
                    throw entry.failure("name", "\"\(displayable(name, limit: 32))\" is no interface's name")
                }
                guard let priority = try entry.unsigned("priority") else { throw entry.failure("priority", "is required") }
                priorities.append((name, priority))
            }
            other = table.unread
        }

        var value: ValueMap {
            var map = ValueMap()
            if let classID { map["classID"] = .int(Int64(classID)) }
            map.set("priorities", priorities.map { ["name": .string($0.name), "priority": .int(Int64($0.priority))] })
            for (key, item) in other { map[key] = item }
            return map
        }

        package static func == (left: Self, right: Self) -> Bool { left.value == right.value }
        package func hash(into hasher: inout Hasher) { hasher.combine(value) }
    }

    package struct RdmaLimit: Sendable, Hashable {
        package var device: String
        package var hcaHandles: UInt32?
        package var hcaObjects: UInt32?

        package init(device: String, hcaHandles: UInt32? = nil, hcaObjects: UInt32? = nil) {
            self.device = device
            self.hcaHandles = hcaHandles
            self.hcaObjects = hcaObjects
        }

        init(device: String, reading table: inout FieldReader) throws(LunetteError) {
            self.init(device: device, hcaHandles: try table.unsigned("hcaHandles"), hcaObjects: try table.unsigned("hcaObjects"))
            guard !device.isEmpty, !device.contains(where: \.isWhitespace) else {
                throw LunetteError(.invalidArgument, "\"\(displayable(device, limit: 32))\" is no device's name", path: table.path)
            }
        }

        var value: Value {
            var map = ValueMap()
            if let hcaHandles { map["hcaHandles"] = .int(Int64(hcaHandles)) }
            if let hcaObjects { map["hcaObjects"] = .int(Int64(hcaObjects)) }
            return .map(map)
        }
    }
}

extension FieldReader {
    /// Bytes as the specification has them; what is beyond an Int64 counts as "no limit".
    mutating func bytesOrUnlimited(_ key: String) throws(LunetteError) -> Int64? {
        guard let number = try int(key) else { return nil }
        guard number >= -1 else { throw failure(key, "\(number) is not -1 or a number of bytes") }
        return number
    }

    /// A uint64 of the specification that the kernel takes no larger than an Int64.
    mutating func natural(_ key: String) throws(LunetteError) -> Int64? {
        guard let number = try unsigned64(key) else { return nil }
        guard let result = Int64(exactly: number) else { throw failure(key, "is too large") }
        return result
    }

    mutating func cpuListOrNothing(_ key: String) throws(LunetteError) -> String? {
        if case .string(let text)? = value(key), text.trimmedOfLines.isEmpty { return nil }
        return try cpuList(key)
    }
}

extension String {
    fileprivate var trimmedOfLines: Substring { self[...].drop(while: \.isWhitespace) }
}

extension ValueMap {
    /// Sets a table; an empty one is left out.
    mutating func set(_ key: String, table: ValueMap) { if !table.isEmpty { self[key] = .map(table) } }

    /// Sets a list; an empty one is left out.
    mutating func set(_ key: String, _ list: [Value]) { if !list.isEmpty { self[key] = .array(list) } }
}
