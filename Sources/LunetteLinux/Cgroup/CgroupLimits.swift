/// Limits for one container's cgroup; nil leaves a value as it is.
package struct CgroupLimits: Sendable, Equatable {
    /// One rule for device nodes; a later rule wins.
    package struct DeviceRule: Sendable, Equatable {
        package var allow: Bool
        /// `a` all, `c` character, `b` block.
        package var kind: Character
        /// nil = any.
        package var major: Int64?
        package var minor: Int64?
        /// Of `rwm`.
        package var access: String

        package init(allow: Bool, kind: Character, major: Int64? = nil, minor: Int64? = nil, access: String = "rwm") {
            self.allow = allow
            self.kind = kind
            self.major = major
            self.minor = minor
            self.access = access
        }
    }

    /// Bytes; -1 = no limit.
    package var memory: Int64?
    /// Memory and swap together, in bytes, as v1 and Docker count; -1 = no limit.
    package var memorySwap: Int64?
    package var memoryReservation: Int64?
    /// CPUs' worth of time; becomes quota and period.
    package var cpus: Double?
    /// Microseconds; used when `cpus` is nil.
    package var cpuQuota: Int64?
    package var cpuPeriod: Int64?
    /// 2…262144, 1024 by default (v1's scale; v2's weight is computed from it).
    package var cpuShares: Int64?
    /// `0-3,7`.
    package var cpuset: String?
    package var memoryNodes: String?
    /// Processes and threads; -1 = no limit.
    package var pids: Int64?
    /// 1…10000, 100 by default (v2's scale).
    package var ioWeight: Int64?
    /// nil = leave; a list replaces all rules, denying what is not named.
    package var devices: [DeviceRule]?
    /// v2's memory.oom.group: one out-of-memory kill ends every process.
    package var killGroupOnOOM: Bool?

    package init() {}
}

extension CgroupLimits.DeviceRule {
    /// As v1's devices.allow takes it: `c 1:3 rwm`.
    package var text: String {
        kind == "a" ? "a" : "\(kind) \(major.map { "\($0)" } ?? "*"):\(minor.map { "\($0)" } ?? "*") \(access)"
    }
}
