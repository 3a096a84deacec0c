/// How long tasks of a cgroup waited for something, in percent of the last ten seconds (psi.rst).
package struct CgroupPressure: Sendable, Equatable {
    /// Some task waited.
    package var some: Double
    /// All of them did.
    package var full: Double
}

extension ContainerCgroup {
    /// Pressure stall information by `cpu`, `memory`, `io`; empty on v1, which doesn't count it by cgroup, and without CONFIG_PSI.
    package func pressure() -> [String: CgroupPressure] {
        guard version == .v2, let directory = directories.first else { return [:] }
        var result: [String: CgroupPressure] = [:]
        for kind in ["cpu", "memory", "io"] {
            if let text = directory.read("\(kind).pressure") { result[kind] = Self.pressure(text) }
        }
        return result
    }

    /// Reads `some avg10=0.12 avg60=… total=…` and the line for `full`.
    static func pressure(_ text: String) -> CgroupPressure {
        var result = CgroupPressure(some: 0, full: 0)
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            let average = words.first { $0.hasPrefix("avg10=") }.flatMap { Double($0.dropFirst(6)) } ?? 0
            if words.first == "some" { result.some = average }
            if words.first == "full" { result.full = average }
        }
        return result
    }
}
