/// What the machine says about one sandbox, asked beforehand: the planner asks nothing.
package struct SandboxFacts: Sendable, Hashable {
    package enum Kind: Sendable, Hashable { case directory, file, characterDevice(major: UInt32, minor: UInt32), other }

    /// A path that a rule names, as the kernel found it.
    package struct Found: Sendable, Hashable {
        /// Without symbolic links.
        package var path: String
        package var kind: Kind
        /// Symbolic links on the way from what the rule says to `path`, each by where it lies.
        package var links: [String]
        /// What is then given is this, whatever has the path by that time.
        package var expectation: TreePlan.Expectation
        package init(path: String, kind: Kind, links: [String] = [], expectation: TreePlan.Expectation = .anything) {
            self.path = path
            self.kind = kind
            self.links = links
            self.expectation = expectation
        }
    }

    /// One path of the preset: bound where it stands, or a symbolic link made anew.
    package enum SystemEntry: Sendable, Hashable {
        case tree(path: String, kind: Kind)
        case link(path: String, target: String)
    }

    /// How limits are held.
    package enum Limits: Sendable, Hashable {
        /// Directories that exist; `held` names the limits written there.
        case cgroup(v1: [String], v2: String?, oomEvents: String?)
        /// Why not.
        case none(String)
    }

    package struct Terminal: Sendable, Hashable {
        package var rows: UInt16
        package var columns: UInt16
        package init(rows: UInt16, columns: UInt16) {
            self.rows = rows
            self.columns = columns
        }
    }

    package var directory: String
    package var home: String
    package var userName: String
    package var uid: UInt32
    package var gid: UInt32
    /// CAP_SYS_ADMIN on the host.
    package var isPrivileged: Bool
    package var environment: [String: String]
    /// The terminal that it gets one of its own for; nil where its streams are the caller's.
    package var terminal: Terminal?
    package var system: [SystemEntry]
    /// By the text of the rule.
    package var found: PathTable<Found>
    /// Of folders in memory, by the text of the rule: the folder around one, where that isn't there.
    package var lackingParents: [String: String] = [:]
    /// Folders of the caller's engine that are there or could be made inside, without symbolic links.
    package var ownFolders: [String]
    package var devices: [Found]
    /// Bytes that each folder in memory may hold unless its rule says; 0 leaves the kernel's own limit, half of the memory for each.
    package var scratch: Int64
    /// 0 = the kernel has none.
    package var landlockABI: Int
    package var limits: Limits
    /// Words for what the cgroup could not take.
    package var degraded: [String]
    package var hardLimits: [UInt32: UInt64]
    package var seccompProgram: [UInt8]
    package var listenerProgram: [UInt8]

    package init(directory: String, home: String, userName: String, uid: UInt32, gid: UInt32, isPrivileged: Bool) {
        self.directory = directory
        self.home = home
        self.userName = userName
        self.uid = uid
        self.gid = gid
        self.isPrivileged = isPrivileged
        environment = [:]
        system = []
        found = PathTable()
        ownFolders = []
        devices = []
        scratch = 0
        landlockABI = 0
        limits = .none("no limit was asked for")
        degraded = []
        hardLimits = [:]
        seccompProgram = []
        listenerProgram = []
    }
}

extension SandboxFacts {
    /// Where programs and libraries are: read-only, or links as the host has them.
    package static let systemFolders = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"]

    /// What of /etc every program may read: linking, names of users, certificates, time zone, how names are looked up. No keys, no passwords,
    /// nothing that tells one machine from another.
    package static let systemFiles = [
        "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "passwd", "group", "nsswitch.conf", "localtime", "timezone",
        "ssl/certs",
        "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust", "crypto-policies", "os-release", "debian_version",
        "mime.types", "protocols", "services", "shells", "fonts", "terminfo", "inputrc", "bash.bashrc", "profile",
        "python3", "python3.9", "python3.11", "python3.12", "python3.13", "perl", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk",
        "magic", "gai.conf", "host.conf", "locale.alias", "xattr.conf",
    ].map { "/etc/" + $0 }

    /// Beside them with the host's network.
    package static let networkFiles = ["/etc/hosts", "/etc/resolv.conf"]
}
