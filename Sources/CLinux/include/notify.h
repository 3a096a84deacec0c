// Seccomp notifications (seccomp_unotify(2)), used to observe which paths a program asks for. Every call goes on as it would have.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum lnt_path_intent { LNT_INTENT_READ = 0, LNT_INTENT_WRITE = 1, LNT_INTENT_EXECUTE = 2, LNT_INTENT_OPEN = 3, LNT_INTENT_OPEN_HOW = 4, LNT_INTENT_CONNECT = 5, LNT_INTENT_BIND = 6,
  // An address to send to: an argument of its own, in a msghdr, in the first of several.
  LNT_INTENT_SEND = 7, LNT_INTENT_SEND_MESSAGE = 8, LNT_INTENT_SEND_MESSAGES = 9 };

// A call that takes a path or an address: which arguments hold the folder's descriptor (-1 = the working folder), the path and the flags (-1 = none).
struct lnt_path_call {
  int32_t number;
  int8_t folder;
  int8_t path;
  int8_t flags;
  int8_t intent;
};
// The calls of this machine's ABI; *count of them.
const struct lnt_path_call *lnt_path_calls(size_t *count);

struct lnt_notification {
  uint64_t id;
  int32_t pid;
  int32_t number;
  uint64_t arguments[6];
};
// -ENOENT when the caller has been killed meanwhile; -EAGAIN when nothing waits.
int lnt_notification_receive(int listener, struct lnt_notification *out);
// Whether the caller still waits: what was read of its memory before is its own.
int lnt_notification_is_valid(int listener, uint64_t id);
int lnt_notification_continue(int listener, uint64_t id);
// Reads another process's memory up to `size` bytes, as far as pages are there, or with `is_text` to the page of its NUL; the count.
int64_t lnt_read_memory(int32_t pid, uint64_t address, void *into, size_t size, int is_text);
// The type (SOCK_STREAM) of a socket that another process has open; it must be given by its first thread. -errno when it can't be asked.
int lnt_socket_type(int32_t pid, int fd);
