internal import LunetteSpec

extension Command {
    static let checkpoint = unsupported("checkpoint", "save a running container: unsupported")
    static let restore = unsupported("restore", "start a container from a checkpoint: unsupported")

    private static func unsupported(_ name: String, _ summary: String) -> Command {
        // Every option is taken, so that the answer is the same however it was asked.
        Command(name: name, summary: summary, arguments: "ID", count: 0...Int.max, options: runcOptions, usesState: false) {
            _ throws(LunetteError) in
            throw LunetteError(
                .unsupported, "\(name): unsupported: checkpoints aren't built yet",
                hint: "Debian 12's CRIU 3.17 can't run on current kernels")
        }
    }

    private static let runcOptions: [Option] =
        [
            "leave-running", "tcp-established", "ext-unix-sk", "shell-job", "lazy-pages", "file-locks", "pre-dump", "auto-dedup", "detach",
            "no-subreaper", "no-pivot",
        ]
        .map { Option($0, $0 == "detach" ? "d" : nil, .none, "not used") }
        + [
            "image-path", "work-path", "parent-path", "status-fd", "page-server", "manage-cgroups-mode", "empty-ns", "bundle",
            "console-socket",
            "pid-file", "lsm-profile", "lsm-mount-context",
        ].map { Option($0, $0 == "bundle" ? "b" : nil, .value("VALUE"), "not used") }
}
