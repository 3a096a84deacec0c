import Foundation
import Glibc

/// A program with runc's command line: `LUNETTE_OCI_RUNTIME` names it (a path, or a name on PATH); the `lunette-oci` that this build made otherwise.
///
/// The suites of `Tests/IntegrationTests/OCI` run on whichever it is: runc and crun prove that a test can pass, and that what it asks is the specification's.
public struct OCIRuntime: Sendable {
    public let path: String
    /// What runs it, before its own command line: `unshare` gives it namespaces that aren't this machine's.
    public let prefix: [String]
    /// Global options, in front of the command's name.
    public let options: [String]

    public init(path: String, prefix: [String] = [], options: [String] = []) {
        self.path = path
        self.prefix = prefix
        self.options = options
    }

    /// The same, with cgroups made by systemd.
    public var bySystemd: OCIRuntime { OCIRuntime(path: path, prefix: prefix, options: options + ["--systemd-cgroup"]) }

    /// The same, in mount, network, ipc and uts namespaces of its own: for configurations that share "the runtime's".
    public var apart: OCIRuntime {
        OCIRuntime(path: path, prefix: ["unshare", "--mount", "--propagation", "private", "--net", "--ipc", "--uts", "--"])
    }

    public static let underTest: OCIRuntime = {
        let named = ProcessInfo.processInfo.environment["LUNETTE_OCI_RUNTIME"] ?? ""
        if !named.isEmpty { return OCIRuntime(path: Programs.find(named) ?? named) }
        return OCIRuntime(path: "\((LunetteHome.binary as NSString).deletingLastPathComponent)/lunette-oci")
    }()

    public var name: String { (path as NSString).lastPathComponent }
    /// Whether it is ours: only then are messages looked at, too.
    public var isLunette: Bool { name == "lunette-oci" }
    public var isThere: Bool { access(path, X_OK) == 0 }

    /// A command of the runtime, not yet run.
    /// - Parameter root: its `--root`, the folder that holds its containers' states.
    public func command(root: String, _ arguments: [String], environment: [String: String?] = [:], workdir: String? = nil) -> Command {
        // runc and crun take cgroupfs unless told otherwise, and so do we: no systemd runs where tests run.
        Command(prefix + [path, "--root", root] + options + arguments, environment: environment, workdir: workdir)
    }
}
