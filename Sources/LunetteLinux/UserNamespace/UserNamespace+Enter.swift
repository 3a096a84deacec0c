internal import CLinux
internal import Glibc
package import LunetteSpec

extension UserNamespace {
    /// What an ordinary user's namespace is made of, and why it has no more ids.
    package struct Offer: Sendable {
        package var namespace: UserNamespace
        package var helpers: IDMapHelpers?
        /// nil when the user's ranges are mapped; else what is missing, with the hint how to get it.
        package var shortage: LunetteError?
    }

    /// Reads what this user may map. Never throws: with nothing but the own id there still is a namespace.
    package static func offer(uid: UInt32, gid: UInt32) -> Offer {
        let name = readSmallFile("/etc/passwd").flatMap { SubordinateIDs.loginName(of: uid, in: $0) }
        let single = UserNamespace(uids: SubordinateIDs.map(own: uid, []), gids: SubordinateIDs.map(own: gid, []))
        func shortage(_ what: String, _ hint: String) -> Offer {
            let error = LunetteError(
                .unsupported, "only one id can be used in containers: \(what), so images with files of others than root can't be unpacked",
                hint: hint)
            return Offer(namespace: single, helpers: nil, shortage: error)
        }
        let login = name ?? "\(uid)"
        var maps: [IDMap] = []
        for (path, own) in [("/etc/subuid", uid), ("/etc/subgid", gid)] {
            let ranges = SubordinateIDs.ranges(in: readSmallFile(path) ?? "", name: name, uid: uid)
            guard !ranges.isEmpty else {
                return shortage(
                    "\(path) has no range for \(displayable(login))",
                    "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \(displayable(login))"
                        + " (a range that nobody else has)")
            }
            maps.append(SubordinateIDs.map(own: own, ranges))
        }
        guard let helpers = IDMapHelpers.find() else {
            return shortage("newuidmap and newgidmap aren't installed", "install Debian's package uidmap")
        }
        return Offer(namespace: UserNamespace(uids: maps[0], gids: maps[1]), helpers: helpers, shortage: nil)
    }

    /// Makes this process root of a new user namespace with these ids, and of a new mount namespace. For a process of one thread, before
    /// `current` is asked.
    /// - Throws: `unsupported` when this machine lets no ordinary user do so; `denied` with newuidmap's own words when it refused.
    package static func make(_ offer: Offer) throws(LunetteError) {
        let pid = "\(getpid())"
        let namespace = offer.namespace
        var request = lnt_user_namespace()
        var result: Int32 = 0
        if let helpers = offer.helpers {
            let uids = CStringArray([helpers.newuidmap, pid] + namespace.uids.arguments)
            let gids = CStringArray([helpers.newgidmap, pid] + namespace.gids.arguments)
            request.uid_helper = UnsafePointer(uids.pointer)
            request.gid_helper = UnsafePointer(gids.pointer)
            result = lnt_host_make_user_namespace(&request)
            try check(result, request)
            withExtendedLifetime((uids, gids)) {}
        } else {
            let uids = namespace.uids.arguments.joined(separator: " ")
            let gids = namespace.gids.arguments.joined(separator: " ")
            result = uids.withCString { uids in
                gids.withCString { gids in
                    request.single_uid = uids
                    request.single_gid = gids
                    return lnt_host_make_user_namespace(&request)
                }
            }
            try check(result, request)
        }
    }

    /// Joins the user namespace of a process, with a mount namespace of its own.
    ///
    /// Containers that go on belong to the namespace of the engine that started them: only from there are their processes in reach
    /// (`/proc/PID/root`, signals to other uids). Our user owns it, and an owner has every capability in it (user_namespaces(7)).
    /// - Returns: false when that process is gone, or its namespace isn't one that was made in ours.
    package static func join(of process: ProcessIdentity) throws(LunetteError) -> Bool {
        let fd = lnt_host_openat(-100, "/proc/\(process.pid)/ns/user", 0, 0)
        if fd == -ErrorNumber.noEntry || fd == -ErrorNumber.noProcess { return false }
        let descriptor = FileDescriptor(
            owning: try atBorder(
                nil,
                { () throws(SystemCallError) in
                    try LunetteLinux.check(fd, "open the user namespace of lunette-shim", "\(process.pid)")
                }))
        // Compared after the opening: what was opened is this process's.
        guard process.isAlive else { return false }
        // A container's own namespace lies deeper: what its shim just cloned has the shim's name too.
        let isOurs = try atBorder(
            nil,
            { () throws(SystemCallError) in
                try LunetteLinux.check(lnt_host_is_below_own(descriptor.number), "ioctl NS_GET_PARENT", "\(process.pid)")
            })
        guard isOurs == 1 else { return false }
        let gids = readSmallFile("/proc/\(process.pid)/gid_map").map(IDMap.init(procText:))
        var request = lnt_user_namespace()
        let result = lnt_host_join_user_namespace(&request, descriptor.number, (gids?.count ?? 0) > 1 ? 1 : 0)
        withExtendedLifetime(descriptor) {}
        try check(result, request)
        return true
    }

    private static func check(_ result: Int32, _ request: lnt_user_namespace) throws(LunetteError) {
        guard result < 0 else { return }
        let step = request.step.map { String(cString: $0) } ?? "start"
        var said = request.said
        let words = withUnsafeBytes(of: &said) { bytes in String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self) }
        if step.hasPrefix("/") {
            throw LunetteError(
                .denied, "map ids for an ordinary user's engine: \(step) refused: \(displayable(words.trimmed, limit: 400))",
                hint:
                    "compare /etc/subuid and /etc/subgid with what it says; it must be setuid root, as Debian's package uidmap installs it")
        }
        let isRefused = [ErrorNumber.permission, ErrorNumber.access, ErrorNumber.noSpace].contains(-result)
        throw LunetteError(
            isRefused ? .unsupported : .io, "make a user namespace for an ordinary user's engine: \(step): \(errnoText(-result))",
            errno: -result,
            hint: isRefused
                ? "does this machine allow them? see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
                    + "kernel.apparmor_restrict_unprivileged_userns" : nil)
    }
}
