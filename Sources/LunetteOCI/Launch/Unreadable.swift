internal import LunetteLinux
internal import LunetteSpec

/// A container whose record can't be read: damaged, or another version's after an upgrade. What is certain all the same is ended: shims by the folder
/// that they hold open, and who is in a cgroup that bears the container's mark and id.
struct Unreadable {
    var held: HeldFolder
    var id: String
    var log: ErrorLog

    /// - Throws: when processes or cgroups that are its own stay; the folder must then stay too.
    func end() throws(LunetteError) {
        try Deletion.endShims(of: held.directory, id)
        guard let cgroup = cgroup() else {
            return log.warn("container \(id): its record can't be read: processes and cgroups that it has by other names than its id stay")
        }
        let lock = try atBorder("hold the cgroup of container \(id)", { () throws(SystemCallError) in try cgroup.lock(patience: 10) })
        guard let lock else {
            throw LunetteError(.timeout, "hold the cgroup of container \(id): somebody else has had it for 10 s")
        }
        defer { lock.release() }
        // Whoever had it until now may have moved in.
        guard self.cgroup() != nil else { return }
        let isEmpty = try atBorder("end the processes of container \(id)", { () throws(SystemCallError) in try cgroup.killAll() })
        guard isEmpty else { throw LunetteError(.timeout, "end the processes of container \(id): some are still there after 10 s") }
        if let failure = cgroup.remove(dropsCache: false).first { throw failure.lunette }
    }

    /// The one that the kept config asks for, by either driver's default or with the id in its name; nil where none is there.
    private func cgroup() -> ContainerCgroup? {
        var wanted: String?
        // Without a config, or with a damaged one, it may still have the default.
        if let bytes = try? held.directory.read(Bundle.configName, limit: Bundle.configLimit),
            let spec = try? RuntimeSpec(JSON.decode(bytes, source: Bundle.configName))
        {
            wanted = spec.linux.cgroupsPath
        }
        guard var layout = CgroupLayout.detect(), case .components(let names)? = try? CgroupPath(wanted, id: id),
            let name = names.last, name == id || name.utf8.suffix(id.utf8.count + 1).elementsEqual("-\(id)".utf8)
        else { return nil }
        if Caller.current != .machine, wanted?.utf8.first != UInt8(ascii: "/") {
            layout = CgroupLayout.given(toUser: Caller.current.machineUID)
        }
        let cgroup = CgroupSite(layout: layout, components: names).cgroup
        // Without the file it took none.
        guard cgroup.exists, let owner = try? held.directory.read(CgroupRecord.takenName) else { return nil }
        return cgroup.isOwned(by: owner.isEmpty ? nil : String(decoding: owner, as: UTF8.self)) ? cgroup : nil
    }
}
