/// Where this machine's cgroup hierarchies are mounted, read from mountinfo. Pure.
package struct CgroupLayout: Sendable, Equatable {
    package enum Version: Sendable { case v1, v2 }

    /// One mounted hierarchy.
    package struct Hierarchy: Sendable, Equatable {
        /// The mount point.
        package var path: String
        /// v1: the controllers it carries; v2: none are listed here (they are enabled in subtree_control).
        package var controllers: [String]

        package init(path: String, controllers: [String]) {
            self.path = path
            self.controllers = controllers
        }
    }

    package var version: Version
    package var hierarchies: [Hierarchy]

    package init(version: Version, hierarchies: [Hierarchy]) {
        self.version = version
        self.hierarchies = hierarchies
    }

    /// v1 controllers that Lunette uses, in the order in which they are made and joined.
    package static let controllers = basic + ["hugetlb", "net_cls", "net_prio", "rdma"]

    /// Any of these mounted the old way makes the machine a v1 one. The others are mounted beside v2 on some machines (net_cls by VPN clients).
    private static let basic = ["cpuset", "cpu", "cpuacct", "memory", "devices", "freezer", "blkio", "pids"]

    /// - Parameter mountinfo: the text of `/proc/self/mountinfo`.
    /// - Returns: v2 when a unified hierarchy carries the controllers; v1 when any that matters is mounted the old way (hybrid too, where the
    ///   unified tree carries none); nil without either.
    package static func detect(mountinfo: String) -> CgroupLayout? {
        var legacy: [Hierarchy] = []
        var unified: Hierarchy?
        for line in mountinfo.fields("\n") {
            // 36 35 98:0 /root /mount/point options [optional…] - type source super-options
            let fields = line.fields()
            guard let dash = fields.firstIndex(of: "-"), fields.count > dash + 3, fields.count > 4 else { continue }
            let point = unescape(fields[4])
            switch fields[dash + 1] {
            case "cgroup2":
                if unified == nil { unified = Hierarchy(path: point, controllers: []) }
            case "cgroup":
                let found = fields[dash + 3].split(separator: ",").map(String.init).filter { controllers.contains($0) }
                if !found.isEmpty, !legacy.contains(where: { $0.controllers == found }) {
                    legacy.append(Hierarchy(path: point, controllers: found))
                }
            default: break
            }
        }
        if legacy.contains(where: { !basic.filter($0.controllers.contains).isEmpty }) || unified == nil && !legacy.isEmpty {
            let order = { (hierarchy: Hierarchy) in controllers.firstIndex(of: hierarchy.controllers[0])! }
            return CgroupLayout(version: .v1, hierarchies: legacy.sorted { order($0) < order($1) })
        }
        return unified.map { CgroupLayout(version: .v2, hierarchies: [$0]) }
    }

    /// This machine's.
    package static func detect() -> CgroupLayout? { readSmallFile("/proc/self/mountinfo").flatMap(detect(mountinfo:)) }

    // mountinfo writes space, tab, newline and backslash as three octal digits.
    private static func unescape(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == 0x5c, rest.count >= 3, let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
