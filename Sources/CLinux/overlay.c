#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "clinux.h"
#include "host_calls.h"

/* Overlay takes 500 layers; 4096 bytes are what mount(2) reads. */
enum { MAXIMUM_DIRECTORIES = 502, OPTIONS_SIZE = 4096 };

struct overlay_request {
  const char *lowers;
  size_t count;
  const char *upper, *work;
  int user_attributes;
  int result;
  int open_count;
  int open[MAXIMUM_DIRECTORIES];
  char options[OPTIONS_SIZE];
  size_t length;
};

/* Opens a directory and puts its number behind `key`. */
static int add(struct overlay_request *request, const char *key, const char *path) {
  if (request->open_count == MAXIMUM_DIRECTORIES) return -E2BIG;
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -errno;
  request->open[request->open_count++] = fd;
  size_t space = OPTIONS_SIZE - request->length;
  int length = snprintf(request->options + request->length, space, "%s%d", key, fd);
  if (length < 0 || (size_t)length >= space) return -E2BIG;
  request->length += (size_t)length;
  return 0;
}

static int make(struct overlay_request *request) {
  if (unshare(CLONE_NEWNS) < 0) return -errno;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return -errno;
  // Opened here: overlay takes directories of the caller's own mount namespace only.
  const char *lower = request->lowers;
  int result = 0;
  for (size_t index = 0; index < request->count && result == 0; index++, lower += strlen(lower) + 1)
    result = add(request, index == 0 ? "lowerdir=" : ":", lower);
  if (result == 0 && request->upper) {
    result = add(request, ",upperdir=", request->upper);
    if (result == 0) result = add(request, ",workdir=", request->work);
  }
  if (result == 0 && request->user_attributes) {
    static const char option[] = ",userxattr";
    if (request->length + sizeof option > OPTIONS_SIZE) return -E2BIG;
    memcpy(request->options + request->length, option, sizeof option);
    request->length += sizeof option - 1;
  }
  if (result == 0) result = lnt_overlay_by_number(request->options, request->upper ? request->upper : request->lowers);
  return result;
}

static void *run(void *argument) {
  struct overlay_request *request = argument;
  request->result = make(request);
  for (int index = 0; index < request->open_count; index++) close(request->open[index]);
  return NULL;
}

int lnt_host_overlay_by_path(const char *lowers, size_t count, const char *upper, const char *work, int user_attributes) {
  struct overlay_request request = {.lowers = lowers, .count = count, .upper = upper, .work = work, .user_attributes = user_attributes};
  // Signals are for the process's own threads, not for one that stands elsewhere.
  sigset_t all, before;
  sigfillset(&all);
  pthread_t thread;
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread, NULL, run, &request);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error) return -error;
  pthread_join(thread, NULL);
  return request.result;
}
