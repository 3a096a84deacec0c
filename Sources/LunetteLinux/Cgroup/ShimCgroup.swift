internal import CLinux

/// Where monitors live when the engine is a service: outside of the service's own cgroup, so that nothing that is done to the service (a stop,
/// a limit, a kill) is done to them.
///
/// They are born in the engine's. Moving one costs every fork and exit of the machine up to 20 ms (cgroup_procs_write_start in
/// kernel/cgroup/cgroup.c waits for an RCU grace period, when nobody did so just before), so it happens beside the starts, for all new ones at
/// once. Until then `KillMode=process` keeps them.
package struct ShimCgroup: Sendable {
    static let name = "lunette-shims"
    /// Where a process's place is kept apart from limits: v2, and on v1 systemd's own hierarchy.
    private let folders: [String]
    private let own: [String]

    /// - Returns: nil where this process is in no cgroup of its own, or may not move others out of it: then they stay.
    package init?() { self.init(own: readSmallFile("/proc/self/cgroup") ?? "", mounts: readSmallFile("/proc/self/mountinfo") ?? "") }

    init?(own: String, mounts: String) {
        var folders: [String] = []
        var places: [String] = []
        for line in mounts.split(separator: "\n") {
            let parts = line.split(separator: " ")
            guard let dash = parts.firstIndex(of: "-"), dash + 3 < parts.count, parts.count > 4, parts[3] == "/" else { continue }
            let isV2 = parts[dash + 1] == "cgroup2"
            let isSystemds = parts[dash + 1] == "cgroup" && parts[dash + 3].split(separator: ",").contains("name=systemd")
            guard isV2 || isSystemds, let place = Self.place(own, isV2 ? "" : "name=systemd"), place != "/" else { continue }
            folders.append("\(parts[4])/\(Self.name)")
            places.append("\(parts[4])\(place)")
        }
        guard !folders.isEmpty else { return nil }
        self.folders = folders
        self.own = places
    }

    private static func place(_ text: String, _ controllers: String) -> String? {
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            if fields.count == 3, fields[1] == controllers { return String(fields[2]) }
        }
        return nil
    }

    /// Whether anybody but the engine is in its cgroup: one small file to read, where looking for monitors walks /proc. Blocks.
    package var hasOthers: Bool { own.contains { CgroupFile(path: $0, controllers: []).processes().count > 1 } }

    /// Moves those of these processes that are in the engine's cgroup. Blocks.
    /// - Returns: how many were moved.
    @discardableResult
    package func take(_ shims: [ProcessIdentity]) throws(SystemCallError) -> Int {
        var moved = 0
        for (folder, place) in zip(folders, own) {
            let here = Set(CgroupFile(path: place, controllers: []).processes())
            for shim in shims where here.contains(shim.pid) {
                let made = lnt_host_mkdirat(-100, folder, 0o755)
                if made < 0, -made != ErrorNumber.exists { throw SystemCallError("make cgroup", folder, errno: -made) }
                do throws(SystemCallError) {
                    try CgroupFile(path: folder, controllers: []).write("cgroup.procs", "\(shim.pid)")
                    moved += 1
                } catch {
                    // It has ended meanwhile.
                    guard error.errno == ErrorNumber.noProcess else { throw error }
                }
            }
        }
        return moved
    }

    /// Removes the cgroup when nobody is in it.
    package func removeIfEmpty() { for folder in folders { CgroupFile.removeIfEmpty(folder) } }
}
