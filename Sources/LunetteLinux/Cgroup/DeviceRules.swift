package import LunetteSpec

/// The device rules of a container, in their order: the last one that says something about a kind of access decides it; without one, it is
/// denied. Pure.
package struct DeviceRules: Sendable, Equatable {
    package typealias Rule = CgroupLimits.DeviceRule

    /// In their order: each kind of access is decided by the last that names it.
    package var rules: [Rule]

    /// - Parameter rules: a later one outweighs those before it.
    package init(_ rules: [Rule]) { self.rules = rules }

    /// The rules of a runtime spec. One for all devices of a type `a` with less than every number and access is one for both kinds.
    package init(_ rules: [RuntimeSpec.Resources.DeviceRule]) {
        self.rules = rules.flatMap { rule in
            let major = rule.major.flatMap { $0 < 0 ? nil : $0 }
            let minor = rule.minor.flatMap { $0 < 0 ? nil : $0 }
            let access = rule.access.flatMap { $0.isEmpty ? nil : $0 } ?? "rwm"
            let kinds: [Character] =
                switch rule.type ?? "a" {
                case "b": ["b"]
                case "c": ["c"]
                default: major == nil && minor == nil && Set(access).count == 3 ? ["a"] : ["b", "c"]
                }
            return kinds.map { Rule(allow: rule.allow, kind: $0, major: major, minor: minor, access: access) }
        }
    }

    /// What an OCI runtime allows behind a container's own rules: making nodes of any number, opening those of the default devices (runtime-spec,
    /// "Default Devices"), the terminals of its own devpts, and the console.
    package static let runtimeDefaults: [Rule] =
        [Rule(allow: true, kind: "c", access: "m"), Rule(allow: true, kind: "b", access: "m")]
        + RuntimeDefaults.devices.map { Rule(allow: true, kind: "c", major: Int64($0.major), minor: Int64($0.minor)) }
        + [
            Rule(allow: true, kind: "c", major: 5, minor: 1), Rule(allow: true, kind: "c", major: 5, minor: 2),
            Rule(allow: true, kind: "c", major: 136),
        ]

    /// v1's way to say them: everything or nothing, and exceptions from it, of which each is about whole devices.
    struct List: Equatable {
        var allowsByDefault = false
        /// Rules of the other kind than the default.
        var exceptions: [Rule] = []

        /// `devices.list` as the kernel prints it.
        init(text: String) {
            for line in text.split(separator: "\n") {
                // `c 1:3 rwm`, `a *:* rwm`
                let fields = line.split(whereSeparator: { $0 == " " || $0 == ":" })
                guard fields.count == 4, let kind = fields[0].first else { continue }
                if kind == "a" {
                    allowsByDefault = true
                } else {
                    exceptions.append(
                        Rule(allow: true, kind: kind, major: Int64(fields[1]), minor: Int64(fields[2]), access: String(fields[3])))
                }
            }
        }

        init() {}
    }

    /// - Throws: `unsupported` for a rule that takes a single device out of a group: cgroup v1 has no words for it, and would ignore it.
    func list() throws(LunetteError) -> List {
        var list = List()
        for (index, rule) in rules.enumerated() {
            if rule.kind == "a" {
                list.allowsByDefault = rule.allow
                list.exceptions = []
            } else if rule.allow != list.allowsByDefault {
                list.add(rule)
            } else {
                try list.takeBack(rule, index)
            }
        }
        return list
    }
}

extension DeviceRules.List {
    fileprivate mutating func add(_ rule: DeviceRules.Rule) {
        if let index = exceptions.firstIndex(where: { $0.kind == rule.kind && $0.major == rule.major && $0.minor == rule.minor }) {
            exceptions[index].access = Self.ordered(Set(exceptions[index].access).union(rule.access))
        } else {
            var rule = rule
            rule.access = Self.ordered(Set(rule.access))
            exceptions.append(rule)
        }
    }

    fileprivate mutating func takeBack(_ rule: DeviceRules.Rule, _ index: Int) throws(LunetteError) {
        for (place, exception) in exceptions.enumerated() where exception.overlaps(rule) {
            let left = Set(exception.access).subtracting(rule.access)
            if left.count == Set(exception.access).count { continue }
            guard rule.covers(exception) else {
                throw LunetteError(
                    .unsupported,
                    "\(rule.allow ? "allowing" : "denying") \(rule.text) out of \(exception.text) can't be said to cgroup v1",
                    path: "linux.resources.devices", hint: "name the single devices instead of the group")
            }
            exceptions[place].access = Self.ordered(left)
        }
        exceptions.removeAll { $0.access.isEmpty }
    }

    private static func ordered(_ access: Set<Character>) -> String { String("rwm".filter(access.contains)) }
}

extension CgroupLimits.DeviceRule {
    fileprivate func covers(_ other: Self) -> Bool {
        kind == other.kind && (major == nil || major == other.major) && (minor == nil || minor == other.minor)
    }

    fileprivate func overlaps(_ other: Self) -> Bool {
        kind == other.kind && (major == nil || other.major == nil || major == other.major)
            && (minor == nil || other.minor == nil || minor == other.minor)
    }
}
