// The step of an ordinary user's process into a user namespace where it is root (docs/rootless.md). For a process of one thread: the kernel
// refuses others, and the helpers' parent is forked.
#ifndef LUNETTE_USER_NAMESPACE_H
#define LUNETTE_USER_NAMESPACE_H

struct lnt_user_namespace {
    /* newuidmap's and newgidmap's argv, absolute paths first; NULL: the caller's own ids alone become 0. */
    char *const *uid_helper;
    char *const *gid_helper;
    /* The one line of each map without helpers: "0 1000 1". */
    const char *single_uid;
    const char *single_gid;
    /* After a failure: what was tried, and what a helper said. */
    const char *step;
    char said[512];
};

/* Makes a user and a mount namespace and becomes uid and gid 0 in it. After a failure the process may stand in a half-made one: it should end. */
int lnt_host_make_user_namespace(struct lnt_user_namespace *request);

/* Joins a user namespace (a descriptor) that the caller's user owns and becomes 0 in it, with a fresh mount namespace. */
int lnt_host_join_user_namespace(struct lnt_user_namespace *request, int user_namespace, int drops_groups);

/* Whether a user namespace was made in the caller's own: 1 or 0. */
int lnt_host_is_below_own(int user_namespace);

#endif
