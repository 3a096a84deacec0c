/// One limit on each of the container's processes (getrlimit(2)).
public struct Rlimit: Hashable, Sendable {
    /// The limits by number, as Linux counts them on x86-64 and arm64.
    public static let names = [
        "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending", "msgqueue", "nice",
        "rtprio",
        "rttime",
    ]
    /// "No limit" to the kernel.
    public static let infinity = UInt64.max

    /// The kernel's number.
    public var resource: UInt32
    public var soft: UInt64
    public var hard: UInt64

    public init(resource: UInt32, soft: UInt64, hard: UInt64) {
        self.resource = resource
        self.soft = soft
        self.hard = hard
    }

    public var name: String { Self.names[Int(resource)] }
    /// `RLIMIT_NOFILE`.
    public var ociName: String { "RLIMIT_" + name.uppercased() }

    /// The limit's number by `nofile` or `RLIMIT_NOFILE`; nil when there is none.
    public static func resource(named text: String) -> UInt32? {
        let name = text.hasPrefix("RLIMIT_") ? text.dropFirst(7).lowercased() : text
        return names.firstIndex(of: name).map(UInt32.init)
    }

    static func value(_ number: UInt64) -> Value { Int64(exactly: number).map(Value.int) ?? "unlimited" }
}

extension FieldReader {
    /// `rlimits = { nofile = 1024, core = { soft = 0, hard = "unlimited" } }`, ordered by the kernel's number.
    mutating func rlimits(_ key: String) throws(LunetteError) -> [Rlimit] {
        guard var table = try table(key) else { return [] }
        var result: [Rlimit] = []
        for name in table.keys {
            guard let resource = Rlimit.resource(named: name) else {
                throw table.failure(
                    name, "unknown limit",
                    hint: nearest(to: name, in: Rlimit.names).map { "did you mean \"\($0)\"?" } ?? "known: "
                        + Rlimit.names.joined(separator: ", ")
                )
            }
            guard let value = table.value(name) else { continue }
            var limit = Rlimit(resource: resource, soft: 0, hard: 0)
            if case .map = value {
                var ends = try FieldReader(value, path: table.path(of: name))
                let soft = try ends.limit("soft")
                let hard = try ends.limit("hard")
                try ends.finish()
                guard let either = soft ?? hard else { throw table.failure(name, "needs soft or hard") }
                limit.soft = soft ?? either
                limit.hard = hard ?? either
            } else {
                let both = try table.limit(name)!
                (limit.soft, limit.hard) = (both, both)
            }
            guard limit.soft <= limit.hard else { throw table.failure(name, "soft (\(limit.soft)) is above hard (\(limit.hard))") }
            result.append(limit)
        }
        return result.sorted { $0.resource < $1.resource }
    }

    private mutating func limit(_ key: String) throws(LunetteError) -> UInt64? {
        guard let value = value(key) else { return nil }
        if value.stringValue == "unlimited" || value.intValue == -1 { return Rlimit.infinity }
        if let number = value.intValue, number >= 0 { return UInt64(number) }
        if value.stringValue != nil, let size = try size(key) { return UInt64(size) }
        throw failure(key, "expected a whole number or \"unlimited\"")
    }
}

/// The kernel settings that belong to a container's own namespaces; every other one is the host's.
public enum Sysctls {
    /// Says whether a container may set `name` (dotted), given which namespaces are its own.
    /// - Throws: `invalid_argument` that names the setting and why.
    public static func validate(
        _ name: String, _ text: String, ownsNetwork: Bool, ownsIPC: Bool, ownsNames: Bool = false, path: String
    ) throws(LunetteError) {
        // sysctl(8) takes either; with slashes between the parts, an interface's name may hold dots.
        let hasSlashes = name.utf8.contains(UInt8(ascii: "/"))
        let parts = name.split(separator: hasSlashes ? "/" : ".", omittingEmptySubsequences: false)
        let name = hasSlashes ? parts.joined(separator: ".") : name
        // A part is a file's name below /proc/sys; interface names may hold "/" there, which sysctl(8) writes instead of ".".
        let wellFormed =
            parts.count >= 2
            && parts.allSatisfy { part in
                !part.isEmpty && part != ".." && part != "."
                    && part.utf8.allSatisfy {
                        Names.isAlphanumeric($0) || "_-".utf8.contains($0) || (hasSlashes && "@:.".utf8.contains($0))
                    }
            }
        guard wellFormed else {
            throw LunetteError(
                .invalidArgument, "\"\(displayable(name, limit: 80))\" is not a sysctl's name", path: path,
                hint: "write it with dots: \"net.core.somaxconn\"")
        }
        guard !text.utf8.contains(0), text.utf8.count < 4096 else {
            throw LunetteError(.invalidArgument, "the value has a NUL byte or is too long", path: path)
        }
        let ipcNames = [
            "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
            "kernel.shm_rmid_forced",
        ]
        if name.hasPrefix("net.") {
            guard ownsNetwork else {
                throw LunetteError(.invalidArgument, "\(name) is not the container's own: it uses another's network", path: path)
            }
        } else if ipcNames.contains(name) || name.hasPrefix("fs.mqueue.") {
            guard ownsIPC else {
                throw LunetteError(.invalidArgument, "\(name) is not the container's own: it uses another's ipc namespace", path: path)
            }
        } else if ownsNames, name == "kernel.domainname" || name == "kernel.hostname" {
            return
        } else {
            throw LunetteError(
                .invalidArgument, "\(name) belongs to the whole host, so no container can set it", path: path,
                hint: "a container has net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.*"
            )
        }
    }
}

/// A device of the host that the container gets as a bind mount.
public struct DeviceSpec: Hashable, Sendable {
    /// Below the host's /dev.
    public var source: String
    /// Below the container's /dev.
    public var target: String
    /// Of `r`, `w`, `m` (make), as the cgroup's device list says.
    public var permissions: String

    public init(source: String, target: String? = nil, permissions: String = "rw") {
        self.source = source
        self.target = target ?? source
        self.permissions = permissions
    }

    /// Reads `"/dev/fuse"`, `"/dev/fuse:/dev/x:rw"` or a table.
    init(_ value: Value, path: String) throws(LunetteError) {
        if let text = value.stringValue {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard (1...3).contains(parts.count) else {
                throw LunetteError(.invalidArgument, "\"\(displayable(text, limit: 80))\" is not source[:target[:permissions]]", path: path)
            }
            self.init(source: parts[0])
            // Docker's two-part form may give permissions second.
            if parts.count == 2, Self.arePermissions(parts[1]) { permissions = parts[1] } else if parts.count >= 2 { target = parts[1] }
            if parts.count == 3 { permissions = parts[2] }
        } else {
            var reader = try FieldReader(value, path: path)
            self.init(source: try reader.required("source"))
            target = try reader.string("target") ?? source
            permissions = try reader.string("permissions") ?? "rw"
            try reader.finish()
        }
        source = try ContainerPath.normalise(source, path: path)
        target = try ContainerPath.normalise(target, path: path)
        guard ContainerPath.isWithin(source, "/dev"), source != "/dev", ContainerPath.isWithin(target, "/dev"), target != "/dev" else {
            throw LunetteError(.invalidArgument, "a device's source and target lie below /dev", path: path)
        }
        guard !ContainerPath.isWithin(target, "/dev/pts"), !ContainerPath.isWithin(target, "/dev/mqueue"),
            !ContainerPath.isWithin(target, "/dev/shm")
        else {
            throw LunetteError(.invalidArgument, "\"\(target)\" lies in one of the container's own file systems", path: path)
        }
        guard Self.arePermissions(permissions) else {
            throw LunetteError(.invalidArgument, "\"\(displayable(permissions, limit: 16))\" is not made of r, w and m", path: path)
        }
    }

    private static func arePermissions(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 3 && text.utf8.allSatisfy { "rwm".utf8.contains($0) }
    }

    public var value: Value { ["source": .string(source), "target": .string(target), "permissions": .string(permissions)] }
}
