// Answers questions about the place it runs in: one argument a question, "KEY VALUE" lines as answers. Run as a container's process by the
// suites of Tests/IntegrationTests/OCI; two verbs serve a test from outside: "listen" (a seccomp agent) and "console" (takes a pty).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const char *error_name(int number) {
    const char *name = strerrorname_np(number);
    return name ? name : "E?";
}

// "ok", or the name of errno with a mark before it.
static void outcome(const char *key, const char *what, long result) {
    if (result >= 0)
        printf("%s%s%s ok\n", key, *what ? "." : "", what);
    else
        printf("%s%s%s !%s\n", key, *what ? "." : "", what, error_name(errno));
}

static void print_file(const char *key, const char *path) {
    char buffer[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        printf("%s !%s\n", key, error_name(errno));
        return;
    }
    size_t length = 0;
    ssize_t got;
    while (length < sizeof buffer - 1 && (got = read(fd, buffer + length, sizeof buffer - 1 - length)) > 0) length += (size_t)got;
    if (length == 0 && got < 0) {
        printf("%s !%s\n", key, error_name(errno));
        close(fd);
        return;
    }
    close(fd);
    while (length > 0 && buffer[length - 1] == '\n') length--;
    for (size_t i = 0; i < length; i++)
        if (buffer[i] == '\n') buffer[i] = '|';
    printf("%s %.*s\n", key, (int)length, buffer);
}

static void ids(void) {
    uid_t r, e, s;
    gid_t rg, eg, sg;
    getresuid(&r, &e, &s);
    getresgid(&rg, &eg, &sg);
    printf("uid %u %u %u\ngid %u %u %u\n", r, e, s, rg, eg, sg);
    gid_t groups[256];
    int count = getgroups(256, groups);
    printf("groups");
    for (int i = 0; i < count; i++) printf(" %u", groups[i]);
    printf("\npid %d\nppid %d\n", getpid(), getppid());
}

static const char *capabilities[] = {
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
};

static void status(void) {
    FILE *file = fopen("/proc/self/status", "re");
    if (!file) {
        printf("status !%s\n", error_name(errno));
        return;
    }
    char line[1024];
    static const char *sets[] = {"Inh", "Prm", "Eff", "Bnd", "Amb"};
    static const char *names[] = {"inheritable", "permitted", "effective", "bounding", "ambient"};
    while (fgets(line, sizeof line, file)) {
        unsigned long long value;
        for (int i = 0; i < 5; i++) {
            if (strncmp(line, "Cap", 3) || strncmp(line + 3, sets[i], 3)) continue;
            if (sscanf(line + 7, "%llx", &value) != 1) continue;
            printf("caps.%s", names[i]);
            for (unsigned bit = 0; bit < 64; bit++)
                if (value >> bit & 1) {
                    if (bit < sizeof capabilities / sizeof *capabilities)
                        printf(" CAP_%s", capabilities[bit]);
                    else
                        printf(" %u", bit);
                }
            printf("\n");
        }
        char *colon = strchr(line, ':');
        if (colon && (!strncmp(line, "Seccomp", 7) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Cpus_allowed_list", 17))) {
            *colon = 0;
            colon[strcspn(colon + 1, "\n") + 1] = 0;
            printf("%s %s\n", line, colon + 1 + strspn(colon + 1, "\t "));
        }
    }
    fclose(file);
}

static void rlimits(void) {
    static const char *names[] = {"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
                                  "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"};
    for (int i = 0; i < 16; i++) {
        struct rlimit limit;
        if (getrlimit(i, &limit)) continue;
        printf("RLIMIT_%s %llu %llu\n", names[i], (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    }
}

static void fds(void) {
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) return;
    struct dirent *entry;
    while ((entry = readdir(folder))) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(folder)) continue;
        char path[64], target[4096];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        printf("fd %d %.*s\n", fd, length > 0 ? (int)length : 0, target);
    }
    closedir(folder);
}

static void namespaces(void) {
    static const char *names[] = {"pid", "net", "ipc", "uts", "mnt", "user", "cgroup", "time"};
    for (int i = 0; i < 8; i++) {
        char path[64], target[256];
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length > 0) printf("ns.%s %.*s\n", names[i], (int)length, target);
    }
}

static void mounts(void) {
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (!file) {
        printf("mounts !%s\n", error_name(errno));
        return;
    }
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) {
        char root[4096], target[4096], options[4096], type[256] = "-", source[4096] = "-", super[4096] = "-", shared[1024] = "";
        int used = 0;
        if (sscanf(line, "%*d %*d %*s %4095s %4095s %4095s %n", root, target, options, &used) != 3) continue;
        char *rest = line + used;
        while (*rest && strncmp(rest, "- ", 2)) {
            size_t word = strcspn(rest, " ");
            if (*shared) strcat(shared, ",");
            strncat(shared, rest, word < 200 ? word : 200);
            rest += word + 1;
        }
        sscanf(rest, "- %255s %4095s %4095s", type, source, super);
        printf("mount %s %s %s %s %s %s %s\n", target, options, *shared ? shared : "-", type, source, super, root);
    }
    free(line);
    fclose(file);
}

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};

static void scheduling(void) {
    struct attributes at = {.size = sizeof at};
    static const char *names[] = {"SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"};
    if (syscall(SYS_sched_getattr, 0, &at, sizeof at, 0)) {
        printf("policy !%s\n", error_name(errno));
        return;
    }
    printf("policy %s\nnice %d\npriority %u\nsched_flags %llu\ndeadline %llu %llu %llu\n", at.policy < 7 ? names[at.policy] : "?", at.nice,
           at.priority, (unsigned long long)at.flags, (unsigned long long)at.runtime, (unsigned long long)at.deadline,
           (unsigned long long)at.period);
    long io = syscall(SYS_ioprio_get, 1, 0);
    static const char *classes[] = {"NONE", "RT", "BE", "IDLE"};
    if (io >= 0) printf("ioprio IOPRIO_CLASS_%s %ld\n", classes[io >> 13 & 3], io & 0x1fff);
}

static void memory_policy(void) {
    int mode = 0;
    unsigned long nodes[16] = {0};
    if (syscall(SYS_get_mempolicy, &mode, nodes, sizeof nodes * 8, NULL, 0)) {
        printf("mempolicy !%s\n", error_name(errno));
        return;
    }
    printf("mempolicy %d %#lx\n", mode, nodes[0]);
}

static void stat_path(const char *path) {
    struct stat s;
    if (lstat(path, &s)) {
        printf("stat.%s !%s\n", path, error_name(errno));
        return;
    }
    char type = S_ISCHR(s.st_mode) ? 'c' : S_ISBLK(s.st_mode) ? 'b' : S_ISFIFO(s.st_mode) ? 'p' : S_ISDIR(s.st_mode) ? 'd'
              : S_ISLNK(s.st_mode) ? 'l' : S_ISSOCK(s.st_mode) ? 's' : 'f';
    printf("stat.%s %c %04o %u %u %u:%u\n", path, type, s.st_mode & 07777, s.st_uid, s.st_gid, major(s.st_rdev), minor(s.st_rdev));
}

static void terminal(void) {
    for (int fd = 0; fd < 3; fd++) printf("tty.%d %s\n", fd, isatty(fd) ? ttyname(fd) ? ttyname(fd) : "unnamed" : "no");
    struct winsize size;
    if (!ioctl(0, TIOCGWINSZ, &size)) printf("size %d %d\n", size.ws_row, size.ws_col);
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    outcome("controlling", "", fd);
    if (fd >= 0) close(fd);
}

static void links(void) {
    struct ifaddrs *all;
    if (getifaddrs(&all)) return;
    for (struct ifaddrs *at = all; at; at = at->ifa_next) {
        char text[INET6_ADDRSTRLEN] = "";
        if (!at->ifa_addr || at->ifa_addr->sa_family == AF_PACKET) {
            printf("link.%s %s\n", at->ifa_name, at->ifa_flags & IFF_UP ? "up" : "down");
        } else if (at->ifa_addr->sa_family == AF_INET) {
            printf("address.%s %s\n", at->ifa_name,
                   inet_ntop(AF_INET, &((struct sockaddr_in *)at->ifa_addr)->sin_addr, text, sizeof text));
        } else if (at->ifa_addr->sa_family == AF_INET6) {
            printf("address.%s %s\n", at->ifa_name,
                   inet_ntop(AF_INET6, &((struct sockaddr_in6 *)at->ifa_addr)->sin6_addr, text, sizeof text));
        }
    }
    freeifaddrs(all);
}

// A call by name, made directly: what a seccomp filter says to it.
static long named_call(const char *name) {
    char path[4096];
    if (!strcmp(name, "getcwd")) return syscall(SYS_getcwd, path, sizeof path);
    if (!strcmp(name, "chmod")) return syscall(SYS_chmod, "/tmp", 01777);
    if (!strcmp(name, "mkdir")) return syscall(SYS_mkdir, "/tmp/made", 0755);
    if (!strcmp(name, "getpgid")) return syscall(SYS_getpgid, 0);
    if (!strcmp(name, "sysinfo")) return syscall(SYS_sysinfo, path);
    if (!strcmp(name, "personality")) return syscall(SYS_personality, 0xffffffff);
    if (!strncmp(name, "dup3:", 5)) {
        // Its flags are the third argument; descriptors are chosen so that nothing of the process is lost.
        return syscall(SYS_dup3, 1, 700, strtoul(name + 5, NULL, 0));
    }
    if (!strncmp(name, "lseek:", 6)) {
        // The third argument decides in tests; a directory takes any whence of 0 to 2.
        int fd = open("/", O_RDONLY | O_CLOEXEC);
        long result = syscall(SYS_lseek, fd, 0, strtoul(name + 6, NULL, 0));
        int saved = errno;
        close(fd);
        errno = saved;
        return result;
    }
    if (!strncmp(name, "setpriority:", 12)) {
        char *end;
        long which = strtol(name + 12, &end, 0);
        return syscall(SYS_getpriority, which, *end == ':' ? strtol(end + 1, NULL, 0) : 0);
    }
    if (!strncmp(name, "i386:", 5)) {
        // getpid of the 32-bit ABI.
        long result;
#ifdef __x86_64__
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(atol(name + 5)) : "memory");
#else
        result = -ENOSYS;
#endif
        if (result < 0) {
            errno = (int)-result;
            return -1;
        }
        return result;
    }
    if (!strncmp(name, "socket:", 7)) {
        int fd = socket(atoi(name + 7), SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) close(fd);
        return fd;
    }
    errno = EINVAL;
    return -1;
}

static void in_child(const char *name) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        long result = named_call(name);
        _exit(result >= 0 ? 0 : errno & 0x7f);
    }
    int how = 0;
    waitpid(child, &how, 0);
    if (WIFSIGNALED(how))
        printf("child.%s signal %d\n", name, WTERMSIG(how));
    else if (WEXITSTATUS(how))
        printf("child.%s !%s\n", name, error_name(WEXITSTATUS(how)));
    else
        printf("child.%s ok\n", name);
}

// A thread's own death, the process living on: SCMP_ACT_KILL_THREAD.
static int thread_body(void *name) {
    named_call(name);
    return 0;
}

static void in_thread(const char *name) {
    static char stack[65536] __attribute__((aligned(16)));
    volatile int done = 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int thread = clone(thread_body, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, (void *)name);
        if (thread < 0) _exit(1);
        // Gone when signal 0 no longer finds it.
        for (int i = 0; i < 2000 && syscall(SYS_tgkill, getpid(), thread, 0) == 0; i++) usleep(1000);
        _exit(42);
    }
    (void)done;
    int how = 0;
    waitpid(child, &how, 0);
    if (WIFSIGNALED(how))
        printf("thread.%s signal %d\n", name, WTERMSIG(how));
    else
        printf("thread.%s exit %d\n", name, WEXITSTATUS(how));
}

static void session_keyring(void) {
    char buffer[256];
    long length = syscall(SYS_keyctl, 6 /* KEYCTL_DESCRIBE */, -3 /* the session's */, buffer, sizeof buffer);
    if (length < 0)
        printf("keyring !%s\n", error_name(errno));
    else
        printf("keyring %s\n", buffer);
}

static void await_signal(const char *which) {
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    printf("awaiting %s\n", which);
    fflush(stdout);
    int got;
    do sigwait(&set, &got);
    while (got == SIGCHLD || got == SIGCONT);
    printf("signal %s\n", sigabbrev_np(got) ? sigabbrev_np(got) : "?");
}

static void ask(char *question) {
    char *value = strchr(question, '=');
    if (value) *value++ = 0;
    else value = question + strlen(question);
    char key[4200];
    snprintf(key, sizeof key, "%s.%s", question, value);

    if (!strcmp(question, "ids")) ids();
    else if (!strcmp(question, "umask")) printf("umask %04o\n", umask(0));
    else if (!strcmp(question, "cwd")) {
        char path[4096];
        printf("cwd %s\n", getcwd(path, sizeof path) ? path : error_name(errno));
    }
    else if (!strcmp(question, "env")) for (char **at = environ; *at; at++) printf("env %s\n", *at);
    else if (!strcmp(question, "fds")) fds();
    else if (!strcmp(question, "ns")) namespaces();
    else if (!strcmp(question, "mounts")) mounts();
    else if (!strcmp(question, "status")) status();
    else if (!strcmp(question, "rlimits")) rlimits();
    else if (!strcmp(question, "scheduling")) scheduling();
    else if (!strcmp(question, "mempolicy")) memory_policy();
    else if (!strcmp(question, "tty")) terminal();
    else if (!strcmp(question, "links")) links();
    else if (!strcmp(question, "keyring")) session_keyring();
    else if (!strcmp(question, "personality")) {
        struct utsname name;
        uname(&name);
        printf("personality %#x\nmachine %s\n", personality(0xffffffff), name.machine);
    }
    else if (!strcmp(question, "uts")) {
        struct utsname name;
        uname(&name);
        printf("hostname %s\ndomainname %s\n", name.nodename, name.domainname);
    }
    else if (!strcmp(question, "clocks")) {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        printf("monotonic %lld\n", (long long)at.tv_sec);
        clock_gettime(CLOCK_BOOTTIME, &at);
        printf("boottime %lld\n", (long long)at.tv_sec);
    }
    else if (!strcmp(question, "read")) print_file(key, value);
    else if (!strcmp(question, "list")) {
        DIR *folder = opendir(value);
        if (!folder) {
            printf("%s !%s\n", key, error_name(errno));
            return;
        }
        printf("%s", key);
        struct dirent *entry;
        while ((entry = readdir(folder)))
            if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) printf(" %s", entry->d_name);
        printf(" .\n");
        closedir(folder);
    }
    else if (!strcmp(question, "open")) {
        int fd = open(value, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        outcome(question, value, fd);
        if (fd >= 0) close(fd);
    }
    else if (!strcmp(question, "write")) {
        int fd = open(value, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        outcome(question, value, fd);
        if (fd >= 0) close(fd);
    }
    else if (!strcmp(question, "put")) {
        // put=PATH:TEXT writes; the answer's key is the path.
        char *text = strrchr(value, ':');
        if (text) *text++ = 0;
        int fd = open(value, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        long done = fd < 0 ? -1 : write(fd, text ? text : "", strlen(text ? text : ""));
        outcome(question, value, done);
        if (fd >= 0) close(fd);
    }
    else if (!strcmp(question, "create")) {
        int fd = open(value, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        outcome(question, value, fd);
        if (fd >= 0) close(fd);
    }
    else if (!strcmp(question, "stat")) stat_path(value);
    else if (!strcmp(question, "readlink")) {
        char target[4096];
        ssize_t length = readlink(value, target, sizeof target - 1);
        if (length < 0) printf("%s !%s\n", key, error_name(errno));
        else printf("%s %.*s\n", key, (int)length, target);
    }
    else if (!strcmp(question, "exec")) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            int quiet = open("/dev/null", O_WRONLY);
            dup2(quiet, 1);
            execl(value, value, "noop", (char *)NULL);
            _exit(errno);
        }
        int how;
        waitpid(child, &how, 0);
        errno = WIFEXITED(how) ? WEXITSTATUS(how) : EINTR;
        outcome(question, value, errno ? -1 : 0);
    }
    else if (!strcmp(question, "mknod")) {
        // mknod=MAJOR:MINOR makes a character device in /tmp.
        unsigned a = 0, b = 0;
        sscanf(value, "%u:%u", &a, &b);
        int result = mknod("/tmp/node", S_IFCHR | 0666, makedev(a, b));
        outcome(question, value, result);
        if (!result) unlink("/tmp/node");
    }
    else if (!strcmp(question, "mkdir")) outcome(question, value, mkdir(value, 0777));
    else if (!strcmp(question, "chown")) outcome(question, value, chown(value, 1, 1));
    else if (!strcmp(question, "bindself")) {
        // Can this be bind-mounted elsewhere? (not when it is unbindable)
        mkdir("/tmp/bound", 0755);
        int result = mount(value, "/tmp/bound", NULL, MS_BIND, NULL);
        outcome(question, value, result);
    }
    else if (!strcmp(question, "call")) outcome(question, value, named_call(value));
    else if (!strcmp(question, "child")) in_child(value);
    else if (!strcmp(question, "thread")) in_thread(value);
    else if (!strcmp(question, "print")) printf("%s\n", value);
    else if (!strcmp(question, "noop")) {}
    else if (!strcmp(question, "await")) await_signal(value);
    else if (!strcmp(question, "touch")) {
        // Memory that is there: this many MiB.
        size_t size = (size_t)atol(value) << 20;
        char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) outcome(question, value, -1);
        else {
            for (size_t i = 0; i < size; i += 4096) memory[i] = 1;
            outcome(question, value, 0);
        }
    }
    else if (!strcmp(question, "fork")) {
        // How many processes beside this one are allowed, up to VALUE.
        int made = 0, wanted = atoi(value);
        pid_t children[256];
        while (made < wanted && made < 256) {
            pid_t child = fork();
            if (child < 0) break;
            if (child == 0) {
                pause();
                _exit(0);
            }
            children[made++] = child;
        }
        printf("forked %d\n", made);
        for (int i = 0; i < made; i++) kill(children[i], SIGKILL);
        while (waitpid(-1, NULL, 0) > 0) {}
    }
    else if (!strcmp(question, "exit")) {
        fflush(stdout);
        _exit(atoi(value));
    }
    else if (!strcmp(question, "pause")) {
        fflush(stdout);
        for (;;) pause();
    }
    else printf("unknown %s\n", question);
}

// Takes one descriptor and the bytes beside it from a socket that it listens on.
static int accept_fd(const char *path, char *bytes, size_t size, ssize_t *length) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4)) {
        printf("listen !%s\n", error_name(errno));
        exit(1);
    }
    printf("listening %s\n", path);
    fflush(stdout);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    char control[CMSG_SPACE(16 * sizeof(int))];
    struct iovec part = {bytes, size - 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    *length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    int taken = -1, count = 0;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
        count = (int)((at->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        if (count > 0) memcpy(&taken, CMSG_DATA(at), sizeof taken);
    }
    printf("descriptors %d\n", count);
    // The rest of the message, up to the end that the sender makes by closing.
    ssize_t more;
    int later = 0;
    for (;;) {
        struct iovec rest = {bytes + *length, size - 1 - (size_t)*length};
        struct msghdr next = {.msg_iov = &rest, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        more = recvmsg(fd, &next, MSG_CMSG_CLOEXEC);
        if (more <= 0) break;
        if (next.msg_controllen > 0) later++;
        *length += more;
    }
    printf("later_descriptors %d\nclosed %s\n", later, more == 0 ? "yes" : error_name(errno));
    close(fd);
    close(listener);
    return taken;
}

// A seccomp agent: prints the state that came, then answers each notification with errno 99 (EADDRNOTAVAIL), so that its hand is seen.
static int agent(const char *path) {
    char bytes[65536];
    ssize_t length = 0;
    int fd = accept_fd(path, bytes, sizeof bytes, &length);
    printf("state %.*s\n", (int)length, bytes);
    fflush(stdout);
    if (fd < 0) return 1;
    for (;;) {
        struct seccomp_notif notification = {0};
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &notification)) break;
        printf("notified %d\n", notification.data.nr);
        fflush(stdout);
        struct seccomp_notif_resp answer = {.id = notification.id, .error = -EADDRNOTAVAIL};
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT) break;
    }
    printf("done %s\n", error_name(errno));
    return 0;
}

// Takes a container's terminal and copies what is written there to stdout.
static int console(const char *path) {
    char bytes[4096];
    ssize_t length = 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1)) return 1;
    printf("listening %s\n", path);
    fflush(stdout);
    int from = accept4(listener, NULL, NULL, SOCK_CLOEXEC), fd = -1;
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) < 0) return 1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS) return 1;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    printf("terminal %s\n", isatty(fd) ? "yes" : "no");
    fflush(stdout);
    while ((length = read(fd, bytes, sizeof bytes)) > 0)
        if (write(1, bytes, (size_t)length) < 0) return 1;
    return 0;
}

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 3 && !strcmp(arguments[1], "listen")) return agent(arguments[2]);
    if (count == 3 && !strcmp(arguments[1], "console")) return console(arguments[2]);
    if (count > 1 && !strcmp(arguments[1], "arguments")) {
        for (int i = 0; i < count; i++) printf("argument %s\n", arguments[i]);
        return 0;
    }
    for (int i = 1; i < count; i++) ask(arguments[i]);
    return 0;
}
