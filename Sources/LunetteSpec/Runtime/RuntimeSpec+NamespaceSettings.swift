extension RuntimeSpec.LinuxSection {
    /// One clock of a time namespace, moved against the host's (time_namespaces(7)).
    package struct TimeOffset: Sendable, Hashable {
        package enum Clock: String, CaseIterable, Sendable { case monotonic, boottime }
        package var clock: Clock
        package var seconds: Int64
        package var nanoseconds: UInt32

        static func list(_ table: inout FieldReader) throws(LunetteError) -> [TimeOffset] {
            var result: [TimeOffset] = []
            for key in table.keys {
                guard let clock = Clock(rawValue: key) else {
                    throw table.failure(key, "\"\(displayable(key, limit: 40))\" is not a clock of a time namespace: monotonic, boottime")
                }
                guard var entry = try table.table(key) else { continue }
                let seconds = try entry.int("secs") ?? 0
                let nanoseconds = try entry.unsigned("nanosecs") ?? 0
                guard nanoseconds < 1_000_000_000 else { throw entry.failure("nanosecs", "\(nanoseconds) is a second or more") }
                result.append(TimeOffset(clock: clock, seconds: seconds, nanoseconds: nanoseconds))
            }
            return result.sorted { $0.clock.rawValue > $1.clock.rawValue }
        }

        static func value(_ list: [TimeOffset]) -> ValueMap {
            var map = ValueMap()
            for offset in list {
                map[offset.clock.rawValue] = ["secs": .int(offset.seconds), "nanosecs": .int(Int64(offset.nanoseconds))]
            }
            return map
        }
    }

    /// One interface of the host's that moves into the container's network namespace (runtime-spec 1.3, "Network Devices").
    package struct NetDevice: Sendable, Hashable {
        package var name: String
        /// Inside; the same when not given.
        package var newName: String

        static func list(_ table: inout FieldReader) throws(LunetteError) -> [NetDevice] {
            var result: [NetDevice] = []
            for name in table.keys {
                guard var entry = try table.table(name) else { continue }
                let device = NetDevice(name: name, newName: try entry.string("name") ?? name)
                // A name may be a template: "%d" at its end becomes the first number that is free.
                let example = device.newName.hasSuffix("%d") ? String(device.newName.dropLast(2)) + "0" : device.newName
                for text in [device.name, example] {
                    // dev_valid_name in net/core/dev.c.
                    let fits =
                        (1...15).contains(text.utf8.count) && text != "." && text != ".."
                        && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"/:%".utf8.contains($0) }
                    guard fits else { throw table.failure(name, "\"\(displayable(text, limit: 40))\" can't name a network interface") }
                }
                guard !result.contains(where: { $0.newName == device.newName }) else {
                    throw table.failure(name, "two interfaces would be called \(device.newName)")
                }
                result.append(device)
            }
            return result.sorted { $0.name < $1.name }
        }

        static func value(_ list: [NetDevice]) -> ValueMap {
            var map = ValueMap()
            for device in list { map[device.name] = device.newName == device.name ? [:] : ["name": .string(device.newName)] }
            return map
        }
    }
}
