internal import LunetteLinux
internal import LunetteSpec

/// What this process may pass on to containers that share its user namespace.
enum Privileges {
    /// The permitted set, by capability number. Everything when the kernel doesn't tell: it then refuses by itself.
    static var grantable: UInt64 { ProcessCapabilities.own?.permitted ?? .max }

    /// Says of capabilities that nobody knows that they are left out.
    /// - Parameter place: the field or option that has them.
    static func unknown(_ names: [String], _ place: String) -> String {
        let words = names.map { text in
            let upper = text.uppercased()
            let name = upper.hasPrefix("CAP_") ? upper : "CAP_\(upper)"
            let near = nearest(to: name, in: Capability.allCases.map(\.name))
            return displayable(text, limit: 40) + (near.map { " (did you mean \($0)?)" } ?? "")
        }
        return "\(place): not known and left out: \(words.joined(separator: ", "))"
    }

    /// Says what of a process section's capabilities it will not have (config.md, "Linux Process": logged, no failure).
    static func warn(_ section: RuntimeSpec.ProcessSection, in spec: RuntimeSpec, grantable: UInt64, _ log: ErrorLog) {
        if let unknown = section.capabilities?.unknown, !unknown.isEmpty {
            log.warn(Self.unknown(unknown, "process.capabilities"))
        }
        let missing = LaunchPlanner.ungranted(section, in: spec, grantable: grantable)
        if !missing.isEmpty {
            log.warn(
                "process.capabilities: lunette-oci itself lacks them, so they are left out: \(missing.map(\.name).joined(separator: ", "))")
        }
    }
}
