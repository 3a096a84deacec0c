package import LunetteSpec

/// How ids of a user namespace correspond to those of the one around it: `/proc/PID/uid_map`, or what newuidmap is asked for. Pure.
package struct IDMap: Sendable, Hashable, CustomStringConvertible {
    package var lines: [IDMapping]

    package init(_ lines: [IDMapping]) { self.lines = lines.sorted { $0.containerID < $1.containerID } }

    /// - Parameter text: of `/proc/PID/uid_map` or `gid_map` (user_namespaces(7)).
    package init(procText text: String) {
        self.init(
            text.split(separator: "\n").compactMap { line in
                let numbers = line.split(whereSeparator: \.isWhitespace).compactMap { UInt32($0) }
                return numbers.count == 3 ? IDMapping(containerID: numbers[0], hostID: numbers[1], size: numbers[2]) : nil
            })
    }

    /// - Parameter description: `inside:outside:size,…`, as `description` writes it; what isn't so is left out.
    package init(description text: String) {
        self.init(
            text.split(separator: ",").compactMap { part in
                let numbers = part.split(separator: ":").compactMap { UInt32($0) }
                return numbers.count == 3 ? IDMapping(containerID: numbers[0], hostID: numbers[1], size: numbers[2]) : nil
            })
    }

    /// Whether every id of a line is mapped to the same here.
    package func contains(_ line: IDMapping) -> Bool {
        lines.contains { own in
            line.containerID >= own.containerID && line.hostID >= own.hostID
                && line.containerID - own.containerID == line.hostID - own.hostID
                && UInt64(line.containerID) + UInt64(line.size) <= UInt64(own.containerID) + UInt64(own.size)
        }
    }

    /// The map of the machine's own namespace.
    package static let all = IDMap([IDMapping(containerID: 0, hostID: 0, size: .max)])

    /// How many ids from 0 up are there without a gap.
    package var count: UInt32 {
        var next: UInt64 = 0
        for line in lines where UInt64(line.containerID) == next { next += UInt64(line.size) }
        return UInt32(clamping: next)
    }

    /// The map of a namespace inside this one that has the same ids. Line by line: the kernel takes no line that spans two of ours.
    package var identity: [IDMapping] { lines.map { IDMapping(containerID: $0.containerID, hostID: $0.containerID, size: $0.size) } }

    /// The arguments that newuidmap and newgidmap take behind the process id.
    package var arguments: [String] { lines.flatMap { ["\($0.containerID)", "\($0.hostID)", "\($0.size)"] } }

    package var description: String { lines.map { "\($0.containerID):\($0.hostID):\($0.size)" }.joined(separator: ",") }
}
