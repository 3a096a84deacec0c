import Foundation
import Glibc
import LunetteSpec
public import Testing

/// Names something a test needs of the machine; a test states its needs with `.requires(…)` and skips by name when one is missing.
public enum Requirement: Sendable, Hashable, CustomStringConvertible {
    /// Effective user id 0.
    case root
    /// Controllers mounted as cgroup v1 below /sys/fs/cgroup (hybrid counts).
    case cgroupV1
    /// /sys/fs/cgroup itself is cgroup v2.
    case cgroupV2
    /// The kernel knows overlayfs.
    case overlay
    case userNamespaces
    case networkNamespaces
    /// Seccomp filters.
    case seccomp
    /// A program on PATH (or in the sbin folders).
    case command(String)
    /// Debian's docker-registry.
    case dockerRegistry
    case podman
    case skopeo
    case file(String)
    /// The processor, as images name it.
    case architecture(String)
    /// Root, newuidmap, and a build folder that others may enter: what tests of an ordinary user's engine need.
    case ordinaryUser

    public var description: String {
        switch self {
        case .root: "root"
        case .cgroupV1: "cgroup v1"
        case .cgroupV2: "cgroup v2"
        case .overlay: "overlayfs"
        case .userNamespaces: "user namespaces"
        case .networkNamespaces: "network namespaces"
        case .seccomp: "seccomp"
        case .command(let name): "the command \(name)"
        case .dockerRegistry: "the command docker-registry"
        case .podman: "the command podman"
        case .skopeo: "the command skopeo"
        case .file(let path): path
        case .architecture(let name): "a machine of architecture \(name)"
        case .ordinaryUser: "root, newuidmap, setpriv, and a build folder that every user may enter"
        }
    }

    /// Whether this machine has it.
    public var isMet: Bool {
        switch self {
        case .root: geteuid() == 0
        case .cgroupV1: access("/sys/fs/cgroup/memory/cgroup.procs", F_OK) == 0
        case .cgroupV2: access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0
        case .overlay:
            // Without /proc nothing is known to be there.
            (try? String(contentsOfFile: "/proc/filesystems", encoding: .utf8))?.contains("\toverlay\n") ?? false
        case .userNamespaces: access("/proc/self/ns/user", F_OK) == 0
        case .networkNamespaces: access("/proc/self/ns/net", F_OK) == 0
        case .seccomp: access("/proc/sys/kernel/seccomp/actions_avail", F_OK) == 0
        case .command(let name): Programs.find(name) != nil
        case .dockerRegistry: Programs.find("docker-registry") != nil
        case .podman: Programs.find("podman") != nil
        case .skopeo: Programs.find("skopeo") != nil
        case .file(let path): access(path, F_OK) == 0
        case .architecture(let name): Platform.native.architecture == name
        case .ordinaryUser:
            geteuid() == 0 && Programs.find("newuidmap") != nil && Programs.find("setpriv") != nil
                && Self.everyoneMayReach(LunetteHome.binary)
        }
    }
}

extension Requirement {
    private static func everyoneMayReach(_ path: String) -> Bool {
        var folder = ""
        for part in path.pathParts {
            folder += "/\(part)"
            var status = stat()
            guard stat(folder, &status) == 0, status.st_mode & 0o001 != 0 else { return false }
        }
        return true
    }
}

extension Trait where Self == ConditionTrait {
    /// Skips the test, with the missing one's name as the reason, unless the machine has all of `requirements`.
    public static func requires(_ requirements: Requirement...) -> Self {
        let missing = requirements.filter { !$0.isMet }
        let reason = missing.map(\.description).joined(separator: ", ")
        return .enabled(if: missing.isEmpty, Comment(rawValue: "requires \(reason)"))
    }
}

/// Finds programs the way a shell would, the sbin folders included.
public enum Programs {
    /// - Returns: the absolute path of `name`, or nil.
    public static func find(_ name: String) -> String? {
        if name.hasSlash { return access(name, X_OK) == 0 ? name : nil }
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let folders = path.split(separator: ":").map(String.init) + ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        return folders.lazy.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    /// Copies a program that is about to be executed. Another process writes it: what this one has open for writing is inherited, until it executes
    /// something, by whatever another test spawns just then, and a file that anybody may write to can't be executed ("text file busy").
    public static func copy(_ program: String, to path: String) async throws { try await Command("cp", program, path).run() }
}
