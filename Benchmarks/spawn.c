// Spawns a program COUNT times, one after the other, and prints the nanoseconds from spawn to exit of each, one a line.
// usage: spawn COUNT PROGRAM [ARGUMENT…]     The program's stdout goes to /dev/null; a failure stops with its exit code.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    for (int left = atoi(argv[1]); left > 0; left--) {
        struct timespec began, ended;
        pid_t pid;
        int status;
        clock_gettime(CLOCK_MONOTONIC, &began);
        int failure = posix_spawnp(&pid, argv[2], &actions, NULL, argv + 2, environ);
        if (failure) {
            fprintf(stderr, "spawn %s: errno %d\n", argv[2], failure);
            return 126;
        }
        if (waitpid(pid, &status, 0) < 0) return 125;
        clock_gettime(CLOCK_MONOTONIC, &ended);
        if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            fprintf(stderr, "%s: wait status %d\n", argv[2], status);
            return 1;
        }
        printf("%lld\n", (ended.tv_sec - began.tv_sec) * 1000000000LL + ended.tv_nsec - began.tv_nsec);
    }
    return 0;
}
