internal import CLinux
internal import Glibc
internal import LunetteLinux
package import LunetteSpec

/// Asks the machine what a sandbox's plan needs to know. Reads only; every call blocks.
package enum SandboxFactsReader {
    /// - Throws: `invalid_argument` or `denied` when a rule's path can't be looked at. A path that isn't there is left out of `found`.
    /// - Parameters:
    ///   - directory: where relative paths start.
    ///   - isOurs: it is the folder that this process stands in.
    package static func read(_ spec: SandboxSpec, directory: String, isOurs: Bool) throws(LunetteError) -> SandboxFacts {
        let uid = geteuid()
        let environment = Environment.all
        let home = environment["HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "/"
        var facts = SandboxFacts(
            directory: directory, home: resolved(home) ?? home,
            userName: UserName.name(of: uid, environment, passwd: readSmallFile("/etc/passwd") ?? ""),
            uid: uid, gid: getegid(),
            isPrivileged: uid == 0 && (ProcessCapabilities.own?.isEffective(.sysAdmin) ?? false) && ownsItsMounts() && mayDropGroups())
        facts.environment = environment
        if isOurs, let found = try find(".") { facts.directory = found.path }
        if spec.preset == .system { facts.system = system(spec) }
        for text in spec.allowRead + spec.allowWrite + spec.privateWrite + spec.hide {
            let absolute = SandboxPath.absolute(text, directory: facts.directory, home: facts.home)
            let path = isOurs ? relative(text) ?? absolute : absolute
            if let found = try find(path) { facts.found[text] = found }
        }
        for tmpfs in spec.tmpfs {
            let path = SandboxPath.absolute(tmpfs.path, directory: facts.directory, home: facts.home)
            if let found = try find(path) {
                facts.found[tmpfs.path] = found
                continue
            }
            let parent = "/" + path.pathParts.dropLast().joined(separator: "/")
            // It is made there, so the links on the way there are the ones that matter.
            if let around = try find(parent) {
                let name = path.pathParts.last.map(String.init) ?? ""
                facts.found[tmpfs.path] = .init(path: "\(around.path)/\(name)", kind: .directory, links: around.links)
            } else {
                facts.lackingParents[tmpfs.path] = parent
            }
        }
        let places = EnginePlaces(uid: uid, home: facts.home)
        facts.ownFolders = OwnFolders.paths(places)
        for text in spec.devices {
            let path = SandboxPath.absolute(text, directory: directory, home: facts.home)
            guard let found = try find(path) else {
                throw LunetteError(.notFound, "\(displayable(text)): there is no such device", path: "devices")
            }
            facts.devices.append(found)
        }
        let memory = Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE)))
        facts.scratch = spec.scratch ?? min(memory / 8, spec.resources.memory ?? .max)
        facts.landlockABI = Landlock.abi
        for resource in [UInt32(2), 6] {
            var limit = rlimit()
            if getrlimit(__rlimit_resource_t(resource), &limit) == 0 { facts.hardLimits[resource] = UInt64(limit.rlim_max) }
        }
        return facts
    }

    /// A path that is relative to where we stand, which has nothing to do with what the folder's name leads to by now; nil for any other.
    private static func relative(_ text: String) -> String? {
        text.utf8.first == UInt8(ascii: "/") || text == "~" || text.utf8.starts(with: "~/".utf8) ? nil : text
    }

    /// Whether the capabilities hold for the mounts that we see. Root of a user namespace alone (`unshare -r`) has all of them, and the mount namespace
    /// is the host's: the kernel tells nobody the owner of what lies outside (ioctl_ns(2)).
    private static func ownsItsMounts() -> Bool {
        let namespace = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)
        guard namespace >= 0 else { return true }
        defer { close(namespace) }
        let getUserNamespace: UInt = 0xb701
        let owner = ioctl(namespace, getUserNamespace, 0)
        guard owner >= 0 else { return errno != EPERM }
        close(owner)
        return true
    }

    /// Root of a user namespace with one id (`unshare -rm`) was denied setgroups(2) for good, in all namespaces below too: there it can no more
    /// than any other user. A kernel without the file denies it to nobody.
    private static func mayDropGroups() -> Bool { readSmallFile("/proc/self/setgroups")?.hasPrefix("deny") != true }

    private static func system(_ spec: SandboxSpec) -> [SandboxFacts.SystemEntry] {
        var entries: [SandboxFacts.SystemEntry] = []
        let files = SandboxFacts.systemFiles + (spec.network == .host ? SandboxFacts.networkFiles : [])
        for path in SandboxFacts.systemFolders {
            var status = lnt_host_stat()
            guard lnt_host_stat(-100, path, AT_SYMLINK_NOFOLLOW, &status) == 0 else { continue }
            switch FileKind(rawValue: status.mode & 0o170000) {
            case .symbolicLink?: if let target = try? readLink(path) { entries.append(.link(path: path, target: target)) }
            case .directory?: entries.append(.tree(path: path, kind: .directory))
            default: break
            }
        }
        for path in files {
            var status = lnt_host_stat()
            // Links are followed: what is bound is what they lead to.
            guard lnt_host_stat(-100, path, 0, &status) == 0 else { continue }
            switch FileKind(rawValue: status.mode & 0o170000) {
            case .directory?: entries.append(.tree(path: path, kind: .directory))
            case .regular?: entries.append(.tree(path: path, kind: .file))
            default: break
            }
        }
        return entries
    }

    /// Looks a path up as the calling user, once: what it names is what the descriptor is of, and its path is that one's.
    ///
    /// Whoever may rename on the way could have each look at a name find something else.
    /// - Returns: nil when nothing is there.
    package static func find(_ path: String) throws(LunetteError) -> SandboxFacts.Found? {
        func failure(_ error: Int32) -> LunetteError {
            LunetteError(errorCode(forErrno: error), "look up \(displayable(path)): \(errnoText(error))", errno: error)
        }
        let (pathOnly, emptyPath): (Int32, Int32) = (0o10000000, 0x1000)
        let opened = lnt_host_openat(-100, path, pathOnly | O_CLOEXEC, 0)
        guard opened >= 0 else {
            if -opened == ENOENT || -opened == ENOTDIR { return nil }
            throw failure(-opened)
        }
        let descriptor = FileDescriptor(owning: opened)
        var status = lnt_host_stat()
        let result = lnt_host_stat(descriptor.number, "", emptyPath, &status)
        guard result == 0 else { throw failure(-result) }
        let real = try atBorder("look up \(displayable(path))") { () throws(SystemCallError) in
            try readLink("/proc/self/fd/\(descriptor.number)")
        }
        guard real.utf8.first == UInt8(ascii: "/") else { throw failure(ENOENT) }
        let kind: SandboxFacts.Kind
        switch FileKind(rawValue: status.mode & 0o170000) {
        case .directory?: kind = .directory
        case .regular?: kind = .file
        case .characterDevice?: kind = .characterDevice(major: status.rdev_major, minor: status.rdev_minor)
        default: kind = .other
        }
        return .init(
            path: real, kind: kind, links: links(on: path.utf8.first == UInt8(ascii: "/") ? path : (resolved(".") ?? "") + "/" + path),
            expectation: .object(device: status.device, inode: status.inode))
    }

    /// The symbolic links that a path goes through, as the kernel walks it (path_resolution(7)).
    static func links(on path: String) -> [String] {
        var found: [String] = []
        var left = path.pathParts.map(String.init)
        var walked: [String] = []
        // The kernel's own limit, which opening it hasn't passed.
        while !left.isEmpty, found.count < 40 {
            let part = left.removeFirst()
            if part == "." { continue }
            if part == ".." {
                _ = walked.popLast()
                continue
            }
            let place = "/" + (walked + [part]).joined(separator: "/")
            guard let target = try? readLink(place) else {
                walked.append(part)
                continue
            }
            found.append(place)
            if target.utf8.first == UInt8(ascii: "/") { walked = [] }
            left = target.pathParts.map(String.init) + left
        }
        return found
    }

    /// Without symbolic links; nil with errno set.
    static func resolved(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(cString: real)
    }
}

extension SandboxFactsReader {
    /// Where `~` leads, without symbolic links; `/` for who has none.
    static func homeFolder() -> String {
        let home = Environment.all["HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "/"
        return resolved(home) ?? home
    }

    /// Whether everybody may put files into a folder, each their own: the sticky bit and others' right to write.
    static func isShared(_ folder: String) -> Bool {
        var status = lnt_host_stat()
        return lnt_host_stat(-100, folder, 0, &status) == 0 && status.mode & 0o1002 == 0o1002
    }

    /// Whether our input is a terminal that somebody else has just now.
    static func isInBackground() -> Bool {
        guard isatty(0) == 1 else { return false }
        let foreground = tcgetpgrp(0)
        return foreground > 0 && foreground != getpgrp()
    }

    /// The size of our terminal where it is ours to give keys from: input and output, and not somebody else's in the foreground.
    /// - Returns: nil for a pipe, a file, a command in the background.
    static func terminal() -> SandboxFacts.Terminal? {
        guard isatty(0) == 1, isatty(1) == 1, tcgetpgrp(0) == getpgrp() else { return nil }
        var size = winsize()
        // A size that isn't known is 0 × 0, as a serial line has it.
        _ = ioctl(1, UInt(TIOCGWINSZ), &size)
        return SandboxFacts.Terminal(rows: size.ws_row, columns: size.ws_col)
    }
}
