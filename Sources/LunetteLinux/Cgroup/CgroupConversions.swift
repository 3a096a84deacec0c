internal import LunetteSpec

/// Numbers of the runtime spec, which speaks v1, as v2's files take them. Pure.
enum CgroupConversions {
    /// v1's shares (2…262144, 1024 normal) as v2's weight (1…10000, 100 normal), by the formula that the specification's authors and runtimes
    /// agree on (runc, crun up to 1.22; Kubernetes reads the weight back by it).
    static func weight(ofShares shares: Int64) -> Int64 { 1 + ((max(2, min(262_144, shares)) - 2) * 9999) / 262_142 }

    /// blkio's weight (10…1000) as io.weight (1…10000), by the same authors' formula.
    static func ioWeight(ofBlockIOWeight weight: Int64) -> Int64 { 1 + (max(10, min(1000, weight)) - 10) * 9999 / 990 }

    /// v2's swap alone, from memory and swap together.
    /// - Parameters:
    ///   - swap: together; below 0 = no limit.
    ///   - memory: the limit beside it; nil or below 0 = none.
    /// - Returns: nil when the two don't fit: a limit of both below that of memory, or of both without one of memory.
    static func swapAlone(swap: Int64, memory: Int64?) -> Int64? {
        if swap < 0 { return -1 }
        guard let memory, memory >= 0, swap >= memory else { return nil }
        return swap - memory
    }

    /// How v2 says a number of which below 0 is "no limit".
    static func limit(_ number: Int64) -> String { number < 0 ? "max" : "\(number)" }

    /// A line of io.max for one device, with the keys that are given.
    static func ioMax(_ kind: RuntimeSpec.Resources.BlockIO.ThrottleKind, _ throttle: RuntimeSpec.Resources.BlockIO.Throttle) -> String {
        let key =
            switch kind {
            case .readBps: "rbps"
            case .writeBps: "wbps"
            case .readIOPS: "riops"
            case .writeIOPS: "wiops"
            }
        return "\(throttle.major):\(throttle.minor) \(key)=\(isUnlimited(throttle.rate) ? "max" : "\(throttle.rate)")"
    }

    /// v1's and the specification's 0, and what doesn't fit, is no limit.
    static func isUnlimited(_ rate: UInt64) -> Bool { rate == 0 || rate == .max }

    /// The quota for a number of CPUs, in microseconds of `period`; the kernel wants at least a millisecond.
    static func quota(cpus: Double, period: Int64) -> Int64 { cpus <= 0 ? -1 : max(1000, Int64((cpus * Double(period)).rounded())) }
}
