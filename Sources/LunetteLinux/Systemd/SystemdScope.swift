package import LunetteSpec

/// A container's cgroup as a transient scope of systemd's (`--systemd-cgroup`): systemd makes the directory, knows whom it belongs to, and
/// leaves what is in it to us (Delegate=yes). Source: org.freedesktop.systemd1(5), systemd's CGROUP_DELEGATION.
package struct SystemdScope: Sendable, Equatable {
    /// The unit, `prefix-name.scope`.
    package let unit: String
    /// `machine.slice`.
    package let slice: String

    /// - Parameters:
    ///   - slice: the first of the three parts of a `slice:prefix:name`; empty = `defaultSlice`.
    ///   - defaultSlice: `system.slice`, or `user.slice` of a user's manager, as runc has it.
    package init(slice: String, prefix: String, name: String, defaultSlice: String = "system.slice") {
        self.slice = slice.isEmpty ? defaultSlice : slice
        // As runc names them; a name that ends in .slice or .scope is a unit's own.
        unit = name.hasSuffix(".slice") || name.hasSuffix(".scope") ? name : prefix.isEmpty ? "\(name).scope" : "\(prefix)-\(name).scope"
    }

    /// A scope that is there already, by its unit's name.
    package init(unit: String, slice: String) {
        self.unit = unit
        self.slice = slice
    }

    /// Where systemd will put it, as names below the hierarchies' roots. What `start` returns counts: systemd changes names that would be
    /// taken for files of a cgroup.
    package func expectedPath(below controlGroup: String) -> [String] {
        var path = controlGroup.pathParts.map(String.init)
        // `a-b.slice` lies in `a.slice`; `-.slice` is the root (systemd.slice(5)).
        let parts = slice.dropLast(".slice".count).split(separator: "-").map(String.init)
        for count in 1..<(parts.count + 1) { path.append(parts.prefix(count).joined(separator: "-") + ".slice") }
        return path + [unit]
    }

    /// Makes the scope with a process in it: systemd removes one that becomes empty, so the process has to stay until the container's is there
    /// (`ScopeHolder`). Blocks until systemd is done.
    ///
    /// - Parameters:
    ///   - pid: joins the scope now.
    ///   - resources: limits that systemd would else take away when it is reloaded; `ContainerCgroup.apply` writes all of them once more.
    /// - Returns: its path below the hierarchies' roots, for `CgroupSite`.
    /// - Throws: `already_exists`; `io` with systemd's words.
    package func start(
        on connection: SystemdConnection, pid: Int32, description: String, resources: RuntimeSpec.Resources = .init(),
        version: CgroupLayout.Version
    ) throws(LunetteError) -> [String] {
        var properties = [
            SystemdProperty("Description", .text(description)), SystemdProperty("PIDs", .numbers([UInt32(bitPattern: pid)])),
            SystemdProperty("Delegate", .bool(true)), SystemdProperty("DefaultDependencies", .bool(false)),
            // The container's end is its own affair: systemd only cleans up after it.
            SystemdProperty("CollectMode", .text("inactive-or-failed")),
        ]
        properties.append(SystemdProperty("Slice", .text(slice)))
        for name in ["MemoryAccounting", "CPUAccounting", "TasksAccounting", version == .v1 ? "BlockIOAccounting" : "IOAccounting"] {
            properties.append(SystemdProperty(name, .bool(true)))
        }
        properties += Self.properties(of: resources, version)
        var writer = BusWriter()
        writer.string(unit)
        // One of the same name that is running is an error; so is everything but our own job.
        writer.string("fail")
        writer.properties(properties)
        writer.array(alignment: 8) { _ in }
        let reply = try connection.call("StartTransientUnit", signature: "ssa(sv)a(sa(sv))", body: writer.bytes)
        try finish(reply, "start", connection)
        let path = try controlGroup(on: connection)
        guard !path.isEmpty else { throw LunetteError(.io, "start \(unit): it ended before the container was in it") }
        return path
    }

    /// Changes limits in systemd's mind, so that a reload doesn't take them back. When this returns, systemd has written what it will write:
    /// whoever then writes the same files exactly has the last word.
    package func update(
        _ resources: RuntimeSpec.Resources, on connection: SystemdConnection, version: CgroupLayout.Version
    )
        throws(LunetteError)
    {
        let properties = Self.properties(of: resources, version)
        guard !properties.isEmpty else { return }
        var writer = BusWriter()
        writer.string(unit)
        // For this boot: the scope doesn't outlive it.
        writer.u32(1)
        writer.properties(properties)
        _ = try connection.call("SetUnitProperties", signature: "sba(sv)", body: writer.bytes)
        // systemd answers first and writes then, but before it takes the next call (manager_loop in systemd's src/core/manager.c).
        _ = try controlGroup(on: connection)
    }

    /// Ends the scope and whatever is left in it. One that has gone is done.
    package func stop(on connection: SystemdConnection) throws(LunetteError) {
        var writer = BusWriter()
        writer.string(unit)
        writer.string("replace")
        let reply: BusMessage
        do throws(LunetteError) { reply = try connection.call("StopUnit", signature: "ss", body: writer.bytes) } catch {
            if error.code == .notFound { return }
            throw error
        }
        try finish(reply, "stop", connection)
    }

    private func finish(_ reply: BusMessage, _ verb: String, _ connection: SystemdConnection) throws(LunetteError) {
        var reader = BusReader(reply.body)
        guard reply.signature == "o", let job = reader.string() else { throw LunetteError(.io, "\(verb) \(unit): systemd named no job") }
        let result = try connection.wait(forJob: job)
        guard result == "done" else {
            throw LunetteError(.io, "\(verb) \(unit): systemd's job ended as \"\(displayable(result, limit: 40))\"")
        }
    }

    /// The scope's cgroup, as names below the hierarchies' roots; empty when it has none.
    private func controlGroup(on connection: SystemdConnection) throws(LunetteError) -> [String] {
        let path = try connection.property(
            "ControlGroup", of: "/org/freedesktop/systemd1/unit/\(Self.escaped(unit))", interface: "org.freedesktop.systemd1.Scope")
        return path.pathParts.map(String.init)
    }

    /// A unit's name as part of an object path: all but letters and digits as `_2e` (sd_bus_path_encode(3)).
    static func escaped(_ name: String) -> String {
        var result = ""
        for (index, byte) in name.utf8.enumerated() {
            let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
            let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            if isLetter || isDigit && index > 0 {
                result.append(Character(UnicodeScalar(byte)))
            } else {
                let digits = String(byte, radix: 16)
                result += "_" + (digits.utf8.count == 1 ? "0" : "") + digits
            }
        }
        return result
    }

    // MARK: limits

    /// The limits that systemd has properties for. Source: systemd.resource-control(5).
    static func properties(of resources: RuntimeSpec.Resources, _ version: CgroupLayout.Version) -> [SystemdProperty] {
        let properties = fields(of: resources, version)
        // What is said in the kernel's own words stands, as it does in the files.
        let unified = version == .v2 ? unified(resources.unified) : []
        return properties.filter { field in !unified.contains { $0.name == field.name } } + unified
    }

    /// Files of cgroup v2 that systemd writes too, whenever it looks after a unit's limits; others it leaves alone.
    private static func unified(_ files: [String: String]) -> [SystemdProperty] {
        var properties: [SystemdProperty] = []
        for (file, name) in [
            ("memory.min", "MemoryMin"), ("memory.low", "MemoryLow"), ("memory.high", "MemoryHigh"), ("memory.max", "MemoryMax"),
            ("memory.swap.max", "MemorySwapMax"), ("pids.max", "TasksMax"), ("cpu.weight", "CPUWeight"), ("io.weight", "IOWeight"),
        ] {
            // `io.weight` may say whose it is: `default 100`.
            guard let text = files[file]?.trimmed, let word = text.split(separator: " ").last else { continue }
            if let number = word == "max" ? .max : UInt64(word) { properties.append(SystemdProperty(name, .number(number))) }
        }
        for (file, name) in [("cpuset.cpus", "AllowedCPUs"), ("cpuset.mems", "AllowedMemoryNodes")] {
            if let text = files[file] { properties.append(SystemdProperty(name, .mask(mask(text.trimmed)))) }
        }
        if let words = files["cpu.max"]?.split(whereSeparator: \.isWhitespace), let first = words.first {
            let period = words.count > 1 ? UInt64(words[1]) ?? 100_000 : 100_000
            properties.append(SystemdProperty("CPUQuotaPeriodUSec", .number(period)))
            let quota = first == "max" ? UInt64.max : UInt64(first).map { quotaPerSecond($0, period) }
            if let quota { properties.append(SystemdProperty("CPUQuotaPerSecUSec", .number(quota))) }
        }
        return properties
    }

    private static func fields(of resources: RuntimeSpec.Resources, _ version: CgroupLayout.Version) -> [SystemdProperty] {
        var properties: [SystemdProperty] = []
        func add(_ name: String, _ number: UInt64) { properties.append(SystemdProperty(name, .number(number))) }
        func unlimited(_ number: Int64) -> UInt64 { number < 0 ? .max : UInt64(number) }
        let memory = resources.memory
        if let limit = CgroupRequest.set(memory.limit) { add(version == .v1 ? "MemoryLimit" : "MemoryMax", unlimited(limit)) }
        if version == .v2 {
            if let low = CgroupRequest.set(memory.reservation) { add("MemoryLow", unlimited(low)) }
            if let swap = CgroupRequest.set(memory.swap), let alone = CgroupConversions.swapAlone(swap: swap, memory: memory.limit) {
                add("MemorySwapMax", unlimited(alone))
            }
        }
        if let shares = CgroupRequest.set(resources.cpu.shares) {
            if version == .v1 {
                add("CPUShares", UInt64(shares))
            } else {
                add("CPUWeight", UInt64(CgroupConversions.weight(ofShares: shares)))
            }
        }
        let period = CgroupRequest.set(resources.cpu.period)
        if let period { add("CPUQuotaPeriodUSec", UInt64(period)) }
        if let quota = CgroupRequest.set(resources.cpu.quota) {
            add("CPUQuotaPerSecUSec", quota < 0 ? .max : quotaPerSecond(UInt64(quota), UInt64(period ?? 100_000)))
        }
        if let pids = CgroupRequest.set(resources.pidsLimit) { add("TasksMax", unlimited(pids)) }
        if version == .v2 {
            if let cpus = resources.cpu.cpus { properties.append(SystemdProperty("AllowedCPUs", .mask(mask(cpus)))) }
            if let nodes = resources.cpu.mems { properties.append(SystemdProperty("AllowedMemoryNodes", .mask(mask(nodes)))) }
            if let weight = CgroupRequest.set(resources.blockIO.weight) {
                add("IOWeight", UInt64(CgroupConversions.ioWeight(ofBlockIOWeight: weight)))
            }
        } else if let weight = CgroupRequest.set(resources.blockIO.weight) {
            add("BlockIOWeight", UInt64(weight))
        }
        return properties
    }

    /// systemd takes hundredths of a processor: rounded up, so that nobody gets less than was asked for; the files say it exactly.
    static func quotaPerSecond(_ quota: UInt64, _ period: UInt64) -> UInt64 {
        let perSecond = quota * 1_000_000 / max(1, period)
        return (perSecond + 9999) / 10000 * 10000
    }

    /// `0-2,9` as bits, the lowest first.
    static func mask(_ list: String) -> [UInt8] {
        var mask: [UInt8] = []
        for number in ContainerCgroup.list(list).arrayValue ?? [] {
            guard let bit = number.intValue.map(Int.init) else { continue }
            while mask.count <= bit / 8 { mask.append(0) }
            mask[bit / 8] |= 1 << UInt8(bit % 8)
        }
        return mask
    }
}
