package import LunetteLinux
package import LunetteSpec

/// Everything the runtime needs to launch one container. All names are resolved, all paths are absolute host paths.
package struct CreateRequest: Sendable {
    /// Where the root file system comes from.
    package enum Root: Sendable {
        /// An image's unpacked layers, top first (`ImageRecord.snapshotPaths`); an upper of the container's own goes on top.
        case layers([String])
        /// A host directory, used as it is (`rootfs=`).
        case directory(String)
        /// An empty folder of the container's own, for one that runs nothing (a pod).
        case empty
    }

    /// A mount of the spec whose source the engine resolved (volume driver's path, image's layers).
    package struct ResolvedMount: Sendable {
        /// Index in `spec.mounts`.
        package var index: Int
        /// Host path; for an image mount the layers top first.
        package var sources: [String]
        package var readonly: Bool

        package init(index: Int, sources: [String], readonly: Bool = false) {
            self.index = index
            self.sources = sources
            self.readonly = readonly
        }
    }

    /// Chosen by the engine: 64 hexadecimal digits or any `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 64 bytes.
    package var id: String
    /// What the user asked for, normalised.
    package var spec: ContainerSpec
    /// The image's own defaults; nil for a `rootfs=`.
    package var image: ImageProcessConfig?
    package var root: Root
    package var mounts: [ResolvedMount] = []
    /// The container's user namespace; nil = `user_namespace=false`.
    package var idRange: IDRange?
    /// Containers whose namespaces are joined (`network = "container:x"`): their pid 1.
    package var joinNetworkOf: ProcessIdentity?
    /// Set with any of the others: whose user namespace owns them. Not joined when there is no id range.
    package var joinUserOf: ProcessIdentity?
    package var joinIPCOf: ProcessIdentity?
    package var joinPIDOf: ProcessIdentity?
    /// A client's own descriptors for a foreground run, handed over at `start()`.
    package var io: ProcessIO = .none
    /// Extra lines for /etc/hosts, as `address name…`.
    package var hosts: [String] = []

    package init(id: String, spec: ContainerSpec, image: ImageProcessConfig?, root: Root, idRange: IDRange?) {
        self.id = id
        self.spec = spec
        self.image = image
        self.root = root
        self.idRange = idRange
    }
}

/// Paths and limits of one engine's containers.
package struct RuntimeConfiguration: Sendable {
    /// `--root`: `containers/<id>/{upper,work,log*}` live here.
    package var root: String
    /// `--state`: `containers/<id>/{plan,shim.sock,exit,hosts,hostname,resolv.conf}` live here.
    package var state: String
    /// nil = `LUNETTE_SHIM`, beside the running program, then `../lib/lunette`.
    package var shimPath: String?

    package init(root: String, state: String, shimPath: String? = nil) {
        self.root = root
        self.state = state
        self.shimPath = shimPath
    }
}

/// What `remove` takes away besides processes, cgroups and the run directory.
package struct ReapOptions: Sendable {
    /// Upper, work and log directories: true for `remove`, false after an exit (a restart keeps them).
    package var storage: Bool
    package init(storage: Bool) { self.storage = storage }
}
