internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let exec = Command(
        name: "exec", summary: "run one more program in a container", arguments: "ID COMMAND [ARGUMENT…] | --process FILE ID",
        count: 1...4096,
        options: [
            Option("process", "p", .value("FILE"), "the process section to run, as JSON"),
            Option("cwd", nil, .value("DIR"), "the working directory, inside"),
            Option("env", "e", .list("NAME=VALUE"), "add to the container's environment"),
            Option("tty", "t", .none, "give it a terminal"),
            Option("user", "u", .value("USER[:GROUP]"), "numbers, or names of the container's own"),
            Option("additional-gids", "g", .list("GID"), "add a supplementary group"),
            Option("cap", "c", .list("CAPABILITY"), "add a capability"),
            Option("no-new-privs", nil, .none, "set no_new_privs"),
            Option("apparmor", nil, .value("PROFILE"), "the AppArmor profile"),
            Option("process-label", nil, .value("LABEL"), "the SELinux label"),
            Option("cgroup", nil, .list("[CONTROLLER:]PATH"), "run it in a cgroup below the container's, which exists"),
            Option("detach", "d", .none, "leave when it runs"),
            Option("console-socket", nil, .value("PATH"), "a listening unix socket that gets the terminal's master"),
            Option("pid-file", nil, .value("FILE"), "write its pid to FILE"),
            Option("preserve-fds", nil, .value("N"), "pass N descriptors from 3 on, behind those of LISTEN_FDS (default: 0)"),
            Option("ignore-paused", nil, .none, "also in a paused container: it runs when that is resumed"),
            Option("no-subreaper", nil, .none, "taken for runc's sake: a program in the foreground is always our child"),
        ], order: .beforeArguments
    ) { invocation throws(LunetteError) in try Execution(invocation).run() }
}
