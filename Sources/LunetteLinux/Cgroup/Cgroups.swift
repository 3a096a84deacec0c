internal import CLinux
package import LunetteSpec

/// Makes and finds the cgroups of one engine's containers: `<hierarchy>/lunette/<id>` (with the engine's scope behind the id, when it has one).
package struct Cgroups: Sendable {
    package let layout: CgroupLayout
    /// Told apart from other engines on this machine: empty for the default state directory.
    package let scope: String

    package init(layout: CgroupLayout, scope: String = "") {
        self.layout = layout
        self.scope = scope
    }

    package static let parent = "lunette"

    /// Names the scope of a state directory: nothing for the default one, else eight digits that follow from its path.
    package static func scope(ofState path: String) -> String {
        if path == "/run/lunette" { return "" }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325  // FNV-1a: stable between processes, which Swift's Hasher isn't
        for byte in path.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(UInt32(truncatingIfNeeded: hash ^ (hash >> 32)), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// The directory's name for a container.
    package func name(_ id: String) -> String { scope.isEmpty ? id : "\(id).\(scope)" }

    private func parents() -> [CgroupFile] {
        layout.hierarchies.map { CgroupFile(path: "\($0.path)/\(Self.parent)", controllers: $0.controllers) }
    }

    private func site(_ id: String) -> CgroupSite { CgroupSite(layout: layout, components: [Self.parent, name(id)]) }

    /// The container's cgroup, whether it exists or not.
    package func container(_ id: String) -> ContainerCgroup { site(id).cgroup }

    /// Makes the container's cgroup in every hierarchy, with nothing limited yet. On failure what was made is removed.
    /// - Throws: `already_exists`; what the kernel refuses otherwise.
    package func create(_ id: String) throws(LunetteError) -> ContainerCgroup {
        let site = site(id)
        _ = try site.create(takesEmpty: false)
        return site.cgroup
    }

    /// Ids that have a cgroup of this scope in any hierarchy.
    package func ids() -> Set<String> {
        var found: Set<String> = []
        for parent in parents() {
            guard let entries = list(parent.path) else { continue }
            for (name, isDirectory) in entries where isDirectory {
                if scope.isEmpty {
                    if !name.contains(".") { found.insert(name) }
                } else if name.hasSuffix(".\(scope)") {
                    found.insert(String(name.dropLast(scope.count + 1)))
                }
            }
        }
        return found
    }

    private func list(_ path: String) -> [(String, Bool)]? {
        // Absent or unreadable: no containers there.
        guard let directory = try? Directory(path), let names = try? directory.entries() else { return nil }
        return names.map { name in
            var status = lnt_host_stat()
            return (name, lnt_host_stat(directory.descriptor.number, name, 0x100, &status) == 0 && status.mode & 0o170000 == 0o040000)
        }
    }

    /// Removes the parents when no container of any engine is left; busy is no failure. Whoever makes a container just then makes them again.
    package func removeEmptyParents() { for parent in parents() { CgroupFile.removeIfEmpty(parent.path) } }
}
