#include "user_namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child of the caller's: runs one of the two helpers, with what it says going to `said`. */
static int run_helper(char *const *arguments, int said)
{
    pid_t pid = fork();
    if (pid < 0) return -errno;
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        char *environment[] = { NULL };
        if (null < 0 || dup2(null, 0) < 0 || dup2(said, 1) < 0 || dup2(said, 2) < 0) _exit(126);
        if (close_range(3, ~0u, 0) < 0) _exit(126);
        execve(arguments[0], arguments, environment);
        _exit(127);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Waits until the caller stands in its namespace and maps its ids from out here: newuidmap must be run by the user, outside. */
static _Noreturn void map_from_outside(struct lnt_user_namespace *request, int go, int said)
{
    char byte;
    ssize_t count;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    do count = read(go, &byte, 1);
    while (count < 0 && errno == EINTR);
    if (count != 1) _exit(0);
    int uid = run_helper(request->uid_helper, said);
    if (uid != 0) _exit(uid < 0 ? 125 : 1);
    int gid = run_helper(request->gid_helper, said);
    _exit(gid == 0 ? 0 : gid < 0 ? 125 : 2);
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t count = write(fd, text, strlen(text));
    int result = count < 0 ? -errno : 0;
    close(fd);
    return result;
}

/* One's own id alone needs no helper, but without the right to drop groups (user_namespaces(7)). */
static int map_single(struct lnt_user_namespace *request)
{
    request->step = "write setgroups";
    int result = write_file("/proc/self/setgroups", "deny");
    if (result < 0) return result;
    request->step = "write uid_map";
    result = write_file("/proc/self/uid_map", request->single_uid);
    if (result < 0) return result;
    request->step = "write gid_map";
    return write_file("/proc/self/gid_map", request->single_gid);
}

static void collect(struct lnt_user_namespace *request, int said)
{
    size_t length = 0;
    while (length < sizeof request->said - 1) {
        ssize_t count = read(said, request->said + length, sizeof request->said - 1 - length);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        length += (size_t)count;
    }
    request->said[length] = 0;
}

static int become_root(struct lnt_user_namespace *request, int drops_groups)
{
    request->step = "setgroups";
    if (drops_groups && setgroups(0, NULL) < 0) return -errno;
    request->step = "setresgid";
    if (setresgid(0, 0, 0) < 0) return -errno;
    request->step = "setresuid";
    if (setresuid(0, 0, 0) < 0) return -errno;
    return 0;
}

int lnt_host_make_user_namespace(struct lnt_user_namespace *request)
{
    request->said[0] = 0;
    if (!request->uid_helper) {
        request->step = "unshare";
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return -errno;
        int result = map_single(request);
        return result < 0 ? result : become_root(request, 0);
    }
    int go[2], said[2];
    request->step = "pipe";
    if (pipe2(go, O_CLOEXEC) < 0) return -errno;
    if (pipe2(said, O_CLOEXEC) < 0) {
        int error = errno;
        close(go[0]);
        close(go[1]);
        return -error;
    }
    request->step = "fork";
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        close(said[0]);
        map_from_outside(request, go[0], said[1]);
    }
    int result = pid < 0 ? -errno : 0;
    close(go[0]);
    close(said[1]);
    if (result == 0) {
        request->step = "unshare";
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) result = -errno;
    }
    if (result == 0 && write(go[1], "g", 1) != 1) result = -errno;
    close(go[1]);
    int status = 0;
    if (pid > 0) {
        collect(request, said[0]);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    }
    close(said[0]);
    if (result < 0) return result;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        request->step = WIFEXITED(status) && WEXITSTATUS(status) == 2 ? request->gid_helper[0] : request->uid_helper[0];
        return -EPERM;
    }
    return become_root(request, 1);
}

int lnt_host_join_user_namespace(struct lnt_user_namespace *request, int user_namespace, int drops_groups)
{
    request->said[0] = 0;
    request->step = "setns";
    if (setns(user_namespace, CLONE_NEWUSER) < 0) return -errno;
    int result = become_root(request, drops_groups);
    if (result < 0) return result;
    // A mount namespace of its own, made of the host's as it is now: what was mounted since the first engine is there too.
    request->step = "unshare";
    return unshare(CLONE_NEWNS) < 0 ? -errno : 0;
}

int lnt_host_is_below_own(int user_namespace)
{
    struct stat own, parent;
    if (stat("/proc/self/ns/user", &own) < 0) return -errno;
    int fd = ioctl(user_namespace, NS_GET_PARENT);
    if (fd < 0) return errno == EPERM ? 0 : -errno;
    int result = fstat(fd, &parent) < 0 ? -errno : parent.st_dev == own.st_dev && parent.st_ino == own.st_ino;
    close(fd);
    return result;
}
