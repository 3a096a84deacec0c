package import LunetteSpec

/// How long processes stood still for want of a resource: one of v2's pressure files. Source: the kernel's Documentation/accounting/psi.rst.
package struct Pressure: Sendable, Equatable {
    /// The part of the time in which tasks waited.
    package struct Share: Sendable, Equatable {
        /// Percent of the last 10, 60 and 300 seconds.
        package var average10: Double
        /// Percent of the last minute.
        package var average60: Double
        /// Percent of the last five minutes.
        package var average300: Double
        /// Microseconds since the cgroup was made.
        package var total: Int64
    }

    /// At least one process waited.
    package var some: Share
    /// All of them did at once; nil where the kernel has no such line (cpu, before 5.13).
    package var full: Share?

    /// - Returns: nil for what is no such file's text.
    package init?(text: String) {
        var shares: [Substring: Share] = [:]
        for line in text.split(separator: "\n") {
            var fields: [Substring: Substring] = [:]
            let words = line.split(separator: " ")
            for word in words.dropFirst() {
                let halves = word.split(separator: "=")
                if halves.count == 2 { fields[halves[0]] = halves[1] }
            }
            guard let kind = words.first, let total = fields["total"].flatMap({ Int64($0) }) else { continue }
            func average(_ key: Substring) -> Double { fields[key].flatMap { Double($0) } ?? 0 }
            shares[kind] = Share(average10: average("avg10"), average60: average("avg60"), average300: average("avg300"), total: total)
        }
        guard let some = shares["some"] else { return nil }
        self.some = some
        full = shares["full"]
    }

    /// `{some = {avg10, avg60, avg300, total}, full = …}`, as runc's events have it too.
    package var value: Value {
        func value(_ share: Share) -> Value {
            [
                "avg10": .double(share.average10), "avg60": .double(share.average60), "avg300": .double(share.average300),
                "total": .int(share.total),
            ]
        }
        var map: ValueMap = ["some": value(some)]
        if let full { map["full"] = value(full) }
        return .map(map)
    }
}

extension ContainerCgroup {
    /// What the container's processes wait for; nil where the kernel doesn't tell: on v1 only the whole machine's is known (/proc/pressure), on v2
    /// a kernel may be built or started without it (`psi=0`).
    package func pressure(_ resource: String) -> Pressure? {
        guard version == .v2 else { return nil }
        return directories.first?.read("\(resource).pressure").flatMap(Pressure.init(text:))
    }
}
