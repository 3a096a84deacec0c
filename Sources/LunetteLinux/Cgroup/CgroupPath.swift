package import LunetteSpec

/// Where a container's cgroup is asked for: `linux.cgroupsPath`, read and checked. Pure. Source: runtime-spec, config-linux.md, "Cgroups Path".
package enum CgroupPath: Sendable, Equatable {
    /// Names below the root of each hierarchy.
    case components([String])
    /// A scope of systemd's: its slice, and the two halves of the scope's name.
    case systemd(slice: String, prefix: String, name: String)

    /// Relative paths go below this; containers without one are called so beside it.
    package static let defaultParent = "lunette-oci"

    /// - Parameters:
    ///   - text: `linux.cgroupsPath`: absolute = below the hierarchies' roots, relative = below `/lunette-oci`, nil or empty =
    ///     `/lunette-oci-<id>`: one directory to make in each hierarchy, and nobody to share a parent with.
    ///   - id: the container's.
    ///   - usesSystemd: `--systemd-cgroup`: the text is `slice:prefix:name`, nil or empty = a scope `lunette-<id>` of the default slice.
    ///   - field: what errors call it.
    /// - Throws: `invalid_argument`.
    package init(_ text: String?, id: String, usesSystemd: Bool = false, field: String = "linux.cgroupsPath") throws(LunetteError) {
        func refuse(_ why: String) -> LunetteError {
            LunetteError(.invalidArgument, "\"\(displayable(text ?? "", limit: 120))\" \(why)", path: field)
        }
        let text = text ?? ""
        guard !text.utf8.contains(0), !text.utf8.contains(UInt8(ascii: "\n")) else { throw refuse("has a NUL or a line end in it") }
        if usesSystemd {
            guard !text.isEmpty else {
                self = .systemd(slice: "", prefix: "lunette", name: id)
                return
            }
            let parts = text.fields(at: ":").map(String.init)
            guard parts.count == 3, !parts[2].isEmpty, !text.hasSlash else {
                throw refuse("is not slice:prefix:name, as the systemd driver wants it")
            }
            guard parts[0].isEmpty || parts[0].hasSuffix(".slice") else { throw refuse("names no slice: it must end in .slice") }
            self = .systemd(slice: parts[0], prefix: parts[1], name: parts[2])
            return
        }
        let components = text.pathParts.map(String.init).filter { $0 != "." }
        guard !components.contains("..") else { throw refuse("leads upwards (..)") }
        guard !components.contains(where: { $0.utf8.count > 255 }), text.utf8.count < 3800 else { throw refuse("is too long") }
        if text.isEmpty {
            self = .components(["\(Self.defaultParent)-\(id)"])
        } else if components.isEmpty {
            throw refuse("is the root of the hierarchy: every other process is in there")
        } else {
            self = .components(text.utf8.first == UInt8(ascii: "/") ? components : [Self.defaultParent] + components)
        }
    }
}
