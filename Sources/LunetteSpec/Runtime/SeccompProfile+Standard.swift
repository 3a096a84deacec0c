extension SeccompProfile {
    /// Counts changes of the default profile; part of the compiled program's name in the cache.
    package static let standardRevision = 1

    /// Lunette's default profile for a container with the default capabilities.
    package static let standard = standard(for: Capability.defaults)

    /// Lunette's default profile: a list of what passes, after Docker's and Podman's, narrowed as docs/security.md tells.
    ///
    /// What is on no list fails with ENOSYS, so that a C library newer than this list falls back as on an older kernel; calls that
    /// are known and refused fail with EPERM. A capability that was added by name brings the calls that are of no use without it.
    package static func standard(for capabilities: [Capability]) -> SeccompProfile {
        let granted = Set(capabilities)
        var rules: [Rule] = [Rule(allowed, .allow), Rule(nativeOnly, .allow)]
        rules +=
            socketRules(granted) + [
                // Any process but one that makes namespaces. clone3 hides its flags behind a pointer, so it can't be judged: ENOSYS, and
                // every C library falls back to clone.
                granted.contains(.sysAdmin)
                    ? Rule(["clone", "clone3"], .allow) : Rule(["clone"], .allow, args: [Argument(0, .maskedEqual, namespaceFlags, 0)]),
                // Linux personalities that change no protection: the current one is asked for by ~0; ADDR_NO_RANDOMIZE isn't here.
                Rule(["personality"], .allow, args: [Argument(0, .equal, 0x0)]),
                Rule(["personality"], .allow, args: [Argument(0, .equal, 0x0008)]),
                Rule(["personality"], .allow, args: [Argument(0, .equal, 0x20000)]),
                Rule(["personality"], .allow, args: [Argument(0, .equal, 0x20008)]),
                Rule(["personality"], .allow, args: [Argument(0, .equal, 0xffff_ffff)]),
                // TIOCSTI types into a terminal, TIOCLINUX drives a console. The kernel reads 32 bits of the number, so only those are
                // compared (CVE-2019-10063).
                Rule(["ioctl"], .allow),
                Rule(["ioctl"], .errno, errno: 1, args: [Argument(1, .maskedEqual, 0xffff_ffff, 0x5412)]),
                Rule(["ioctl"], .errno, errno: 1, args: [Argument(1, .maskedEqual, 0xffff_ffff, 0x541c)]),
            ]
        var opened: Set<String> = ["clone", "clone3"]
        for (capability, names) in byCapability where granted.contains(capability) {
            let names = names.filter { opened.insert($0).inserted }
            if !names.isEmpty { rules.append(Rule(names, .allow)) }
        }
        rules.append(Rule(refused.filter { !opened.contains($0) }, .errno, errno: 1))
        return SeccompProfile(
            defaultAction: .errno, defaultErrnoRet: 38,
            architectures: [Platform.native.architecture == "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64"],
            syscalls: rules.filter { !$0.names.isEmpty }
        )
    }

    /// CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}.
    private static let namespaceFlags: UInt64 = 0x7e02_0000

    /// Address families by list: each other one is kernel code that few have looked at (AF_ALG, AF_VSOCK, AF_TIPC …).
    private static func socketRules(_ granted: Set<Capability>) -> [Rule] {
        func family(_ number: UInt64) -> Rule { Rule(["socket"], .allow, args: [Argument(0, .equal, number)]) }
        var rules = [family(1), family(2), family(10)]  // AF_UNIX, AF_INET, AF_INET6
        if granted.contains(.netAdmin) {
            rules.append(family(16))  // AF_NETLINK, all of it: iptables and ip need nfnetlink and xfrm.
        } else {
            // NETLINK_ROUTE, SOCK_DIAG, AUDIT, KOBJECT_UEVENT, GENERIC.
            for netlink: UInt64 in [0, 4, 9, 15, 16] {
                rules.append(Rule(["socket"], .allow, args: [Argument(0, .equal, 16), Argument(2, .equal, netlink)]))
            }
        }
        if granted.contains(.netRaw) { rules += [family(17), family(44)] }  // AF_PACKET, AF_XDP
        return rules
    }

    /// Calls that only make sense with a capability, and come with it.
    private static let byCapability: [(Capability, [String])] = [
        (.dacReadSearch, ["open_by_handle_at"]),
        (
            .sysAdmin,
            [
                "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr", "move_mount",
                "open_tree",
                "pivot_root", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns", "umount2", "unshare", "listmount",
                "statmount",
            ]
        ),
        (.sysBoot, ["reboot"]),
        (.sysChroot, ["chroot"]),
        (.sysModule, ["delete_module", "finit_module", "init_module"]),
        (.sysPacct, ["acct"]),
        (.sysPtrace, ["kcmp", "pidfd_getfd", "process_madvise"]),
        (.sysRawio, ["ioperm", "iopl"]),
        (.sysTime, ["clock_settime", "settimeofday"]),
        (.sysTtyConfig, ["vhangup"]),
        (.sysNice, ["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
        (.syslog, ["syslog"]),
        (.bpf, ["bpf"]),
        (.perfmon, ["perf_event_open"]),
    ]

    /// Refused by name, with EPERM, unless a capability brings them.
    private static let refused: [String] = [
        "_sysctl", "acct", "add_key", "bpf", "chroot", "clock_settime", "create_module", "delete_module", "fanotify_init", "finit_module",
        "fsconfig",
        "fsmount", "fsopen", "fspick", "get_kernel_syms", "get_mempolicy", "init_module", "ioperm", "iopl", "kcmp", "kexec_file_load",
        "kexec_load",
        "keyctl", "lookup_dcookie", "mbind", "migrate_pages", "mount", "mount_setattr", "move_mount", "move_pages", "nfsservctl",
        "open_by_handle_at",
        "open_tree", "perf_event_open", "pidfd_getfd", "pivot_root", "process_madvise", "query_module", "quotactl", "quotactl_fd", "reboot",
        "request_key", "set_mempolicy", "set_mempolicy_home_node", "setdomainname", "sethostname", "setns", "settimeofday", "swapoff",
        "swapon",
        "sysfs", "syslog", "umount2", "unshare", "uselib", "userfaultfd", "ustat", "vhangup",
    ]

    private static let nativeOnly: [String] = Platform.native.architecture == "arm64" ? [] : ["arch_prctl", "modify_ldt"]

    private static let allowed: [String] = [
        "accept", "accept4", "access", "adjtimex", "alarm", "bind", "brk", "cachestat", "capget", "capset", "chdir", "chmod", "chown",
        "clock_adjtime", "clock_getres", "clock_gettime", "clock_nanosleep", "close", "close_range", "connect", "copy_file_range", "creat",
        "dup",
        "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait",
        "epoll_wait_old", "eventfd", "eventfd2", "execve", "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64",
        "fallocate",
        "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr",
        "flock",
        "fork", "fremovexattr", "fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate", "futex", "futex_requeue", "futex_wait",
        "futex_waitv",
        "futex_wake", "futimesat", "get_robust_list", "get_thread_area", "getcpu", "getcwd", "getdents", "getdents64", "getegid", "geteuid",
        "getgid", "getgroups", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom",
        "getresgid",
        "getresuid", "getrlimit", "getrusage", "getsid", "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getxattr",
        "getxattrat",
        "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel", "io_destroy", "io_getevents",
        "io_pgetevents",
        "io_setup", "io_submit", "ioprio_get", "ioprio_set", "kill", "landlock_add_rule", "landlock_create_ruleset",
        "landlock_restrict_self",
        "lchown", "lgetxattr", "link", "linkat", "listen", "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lseek", "lsetxattr",
        "lstat",
        "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore", "mkdir", "mkdirat", "mknod", "mknodat",
        "mlock",
        "mlock2", "mlockall", "mmap", "mprotect", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
        "mremap",
        "mseal", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall", "munmap", "name_to_handle_at", "nanosleep",
        "newfstatat", "open", "openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2", "pkey_alloc", "pkey_free",
        "pkey_mprotect", "poll", "ppoll", "prctl", "pread64", "preadv", "preadv2", "prlimit64", "process_mrelease", "process_vm_readv",
        "process_vm_writev", "pselect6", "ptrace", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat",
        "readv",
        "recvfrom", "recvmmsg", "recvmsg", "remap_file_pages", "removexattr", "removexattrat", "rename", "renameat", "renameat2",
        "restart_syscall",
        "rmdir", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend",
        "rt_sigtimedwait",
        "rt_tgsigqueueinfo", "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
        "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
        "sched_yield",
        "seccomp", "select", "semctl", "semget", "semop", "semtimedop", "sendfile", "sendmmsg", "sendmsg", "sendto", "set_robust_list",
        "set_thread_area", "set_tid_address", "setfsgid", "setfsuid", "setgid", "setgroups", "setitimer", "setpgid", "setpriority",
        "setregid",
        "setresgid", "setresuid", "setreuid", "setrlimit", "setsid", "setsockopt", "setuid", "setxattr", "setxattrat", "shmat", "shmctl",
        "shmdt",
        "shmget", "shutdown", "sigaltstack", "signalfd", "signalfd4", "socketpair", "splice", "stat", "statfs", "statx", "symlink",
        "symlinkat",
        "sync", "sync_file_range", "syncfs", "sysinfo", "tee", "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun",
        "timer_gettime", "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime", "times", "tkill", "truncate", "umask",
        "uname",
        "unlink", "unlinkat", "uretprobe", "utime", "utimensat", "utimes", "vfork", "vmsplice", "wait4", "waitid", "write", "writev",
    ]
}
