import LunetteLinux
import LunetteSpec

/// Reads what the engine's own users and the guests have done as one log, by time. Blocks; one task's.
struct AuditTrail {
    private struct Part {
        var reader: AuditReader
        var entries: ArraySlice<Value> = []

        /// - Returns: the time of its next entry; nil when all there is was read.
        mutating func next() throws(SystemCallError) -> Double? {
            if entries.isEmpty { entries = try reader.next()[...] }
            return entries.first.map { $0["time"]?.doubleValue ?? 0 }
        }
    }

    private var parts: [Part] = []

    /// - Throws: what opening answers; no file at all is an empty log.
    init(root: String) throws(SystemCallError) {
        for name in [AuditLog.name, AuditLog.guestsName] { parts.append(Part(reader: try AuditReader(root: root, name: name))) }
    }

    /// The next entries, some hundred at most.
    /// - Returns: none when all there is was read.
    mutating func next() throws(SystemCallError) -> [Value] {
        var found: [Value] = []
        while found.count < 256 {
            var earliest: (index: Int, time: Double)?
            for index in parts.indices {
                guard let time = try parts[index].next() else { continue }
                if earliest == nil || time < earliest!.time { earliest = (index, time) }
            }
            guard let earliest else { break }
            found.append(parts[earliest.index].entries.removeFirst())
        }
        return found
    }
}
