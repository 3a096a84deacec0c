extension RuntimeSpec.Resources {
    /// `linux.resources.blockIO`.
    package struct BlockIO: Sendable, Hashable {
        package struct DeviceWeight: Sendable, Hashable {
            package var major: Int64
            package var minor: Int64
            package var weight: Int64?
            package var leafWeight: Int64?

            package init(major: Int64, minor: Int64, weight: Int64? = nil, leafWeight: Int64? = nil) {
                self.major = major
                self.minor = minor
                self.weight = weight
                self.leafWeight = leafWeight
            }
        }

        /// Bytes or operations a second of one device; 0 and UInt64.max = no limit.
        package struct Throttle: Sendable, Hashable {
            package var major: Int64
            package var minor: Int64
            package var rate: UInt64

            package init(major: Int64, minor: Int64, rate: UInt64) {
                self.major = major
                self.minor = minor
                self.rate = rate
            }
        }

        /// The four kinds of throttle, by their names in the specification.
        package enum ThrottleKind: String, Sendable, CaseIterable {
            case readBps = "throttleReadBpsDevice"
            case writeBps = "throttleWriteBpsDevice"
            case readIOPS = "throttleReadIOPSDevice"
            case writeIOPS = "throttleWriteIOPSDevice"
        }

        /// 10…1000, v1's scale.
        package var weight: Int64?
        package var leafWeight: Int64?
        package var weightDevices: [DeviceWeight] = []
        package var throttles: [ThrottleKind: [Throttle]] = [:]
        package var other = ValueMap()

        package init() {}

        init(reading table: inout FieldReader) throws(LunetteError) {
            weight = try table.weight("weight")
            leafWeight = try table.weight("leafWeight")
            for var entry in try table.tables("weightDevice") {
                let (major, minor) = try entry.deviceNumbers()
                weightDevices.append(
                    DeviceWeight(
                        major: major, minor: minor, weight: try entry.weight("weight"), leafWeight: try entry.weight("leafWeight")))
            }
            for kind in ThrottleKind.allCases {
                for var entry in try table.tables(kind.rawValue) {
                    let (major, minor) = try entry.deviceNumbers()
                    guard let rate = try entry.unsigned64("rate") else { throw entry.failure("rate", "is required") }
                    throttles[kind, default: []].append(Throttle(major: major, minor: minor, rate: rate))
                }
            }
            other = table.unread
        }

        var value: ValueMap {
            var map = other
            map.set("weight", weight)
            map.set("leafWeight", leafWeight)
            map.set(
                "weightDevice",
                weightDevices.map { device in
                    var entry: ValueMap = ["major": .int(device.major), "minor": .int(device.minor)]
                    entry.set("weight", device.weight)
                    entry.set("leafWeight", device.leafWeight)
                    return .map(entry)
                })
            for kind in ThrottleKind.allCases {
                map.set(
                    kind.rawValue,
                    (throttles[kind] ?? []).map {
                        ["major": .int($0.major), "minor": .int($0.minor), "rate": .int(Int64(clamping: $0.rate))]
                    })
            }
            return map
        }
    }
}

extension FieldReader {
    /// The specification's uint16, of which the kernel's own range was ever 10…1000; 0 is none. bfq's file would take 5.
    fileprivate mutating func weight(_ key: String) throws(LunetteError) -> Int64? {
        guard let number = try int(key) else { return nil }
        guard number == 0 || (10...1000).contains(number) else { throw failure(key, "\(number) is not within 10–1000 (0: none)") }
        return number
    }

    fileprivate mutating func deviceNumbers() throws(LunetteError) -> (Int64, Int64) {
        var numbers: [Int64] = []
        for key in ["major", "minor"] {
            guard let number = try unsigned(key) else { throw failure(key, "is required") }
            numbers.append(Int64(number))
        }
        return (numbers[0], numbers[1])
    }
}
