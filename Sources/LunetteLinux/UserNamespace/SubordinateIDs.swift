internal import LunetteSpec

/// What /etc/subuid and /etc/subgid give one user. Pure.
package enum SubordinateIDs {
    /// The user's ranges in the order of the file: lines begin with the login name or the number (subuid(5)).
    /// - Parameters:
    ///   - text: of /etc/subuid or /etc/subgid; both name the *user*.
    ///   - name: the login name, nil when the user has none.
    package static func ranges(in text: String, name: String?, uid: UInt32) -> [IDRange] {
        text.byteLines.flatMap { line -> [IDRange] in
            guard let owner = line.fields(at: ":").first else { return [] }
            guard owner == "\(uid)" || (name.map { owner == $0 } ?? false) else { return [] }
            return IDRangeAllocator.parse(subordinate: String(line))
        }
    }

    /// The map of the user's namespace: its own id is 0 inside, the ranges follow from 1 up.
    /// - Parameter limit: how many ids are mapped at most besides 0; the kernel takes 340 lines.
    package static func map(own: UInt32, _ ranges: [IDRange], limit: UInt32 = .max) -> IDMap {
        var lines = [IDMapping(containerID: 0, hostID: own, size: 1)]
        var next: UInt32 = 1
        for range in ranges.prefix(300) {
            // A range with the own id in it would map that twice, which the kernel refuses.
            guard !(UInt64(range.first)..<range.end).contains(UInt64(own)) else { continue }
            let size = min(range.count, limit - (next - 1))
            guard size > 0 else { break }
            lines.append(IDMapping(containerID: next, hostID: range.first, size: size))
            next += size
        }
        return IDMap(lines)
    }

    /// The login name of a uid in the text of /etc/passwd.
    package static func loginName(of uid: UInt32, in text: String) -> String? {
        for line in text.byteLines {
            let fields = line.fields(at: ":")
            if fields.count > 3, fields[2] == "\(uid)" { return String(fields[0]) }
        }
        return nil
    }
}
