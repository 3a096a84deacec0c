#include "network_device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_ADDRESSES = 64, BUFFER = 16384 };

struct address {
  struct ifaddrmsg message;
  unsigned char local[16], peer[16], broadcast[4];
  int has_peer, has_broadcast;
};

struct request {
  struct nlmsghdr header;
  union {
    struct ifinfomsg link;
    struct ifaddrmsg address;
  };
  char attributes[256];
};

static void add(struct request *request, unsigned short type, const void *data, size_t size) {
  struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = (unsigned short)RTA_LENGTH(size);
  memcpy(RTA_DATA(attribute), data, size);
  request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

static int rtnetlink(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  return fd < 0 ? -errno : fd;
}

static int acknowledged(int fd, struct request *request) {
  char buffer[1024] __attribute__((aligned(8)));
  request->header.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  if (send(fd, request, request->header.nlmsg_len, 0) < 0) return -errno;
  ssize_t size = recv(fd, buffer, sizeof buffer, 0);
  if (size < 0) return -errno;
  const struct nlmsghdr *answer = (const struct nlmsghdr *)buffer;
  if (!NLMSG_OK(answer, (size_t)size) || answer->nlmsg_type != NLMSG_ERROR) return -EPROTO;
  return ((const struct nlmsgerr *)NLMSG_DATA(answer))->error;
}

static void remember(const struct nlmsghdr *message, struct address *out) {
  memset(out, 0, sizeof *out);
  out->message = *(const struct ifaddrmsg *)NLMSG_DATA(message);
  size_t size = out->message.ifa_family == AF_INET6 ? 16 : 4;
  int has_local = 0;
  size_t left = IFA_PAYLOAD(message);
  for (const struct rtattr *attribute = IFA_RTA(NLMSG_DATA(message)); RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    if (RTA_PAYLOAD(attribute) < size) continue;
    switch (attribute->rta_type) {
      case IFA_LOCAL: memcpy(out->local, RTA_DATA(attribute), size); has_local = 1; break;
      case IFA_ADDRESS: memcpy(out->peer, RTA_DATA(attribute), size); out->has_peer = 1; break;
      case IFA_BROADCAST: memcpy(out->broadcast, RTA_DATA(attribute), 4); out->has_broadcast = 1; break;
    }
  }
  // IPv6 has one address only, under the other name.
  if (!has_local) memcpy(out->local, out->peer, size);
}

// How many were kept, or -errno.
static int list(int fd, unsigned index, struct address *out) {
  struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)), .nlmsg_type = RTM_GETADDR, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
  if (send(fd, &request, request.header.nlmsg_len, 0) < 0) return -errno;
  static char buffer[BUFFER] __attribute__((aligned(8)));
  int count = 0;
  for (;;) {
    ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    if (size < 0) return -errno;
    size_t left = (size_t)size;
    for (const struct nlmsghdr *message = (const struct nlmsghdr *)buffer; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return count;
      if (message->nlmsg_type == NLMSG_ERROR) return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
      if (message->nlmsg_type != RTM_NEWADDR) continue;
      const struct ifaddrmsg *address = NLMSG_DATA(message);
      if (address->ifa_index != index || address->ifa_scope != RT_SCOPE_UNIVERSE || !(address->ifa_flags & IFA_F_PERMANENT)) continue;
      if (count == MOST_ADDRESSES) return -E2BIG;
      remember(message, &out[count++]);
    }
  }
}

static int restore(int fd, unsigned index, const struct address *addresses, int count) {
  for (int number = 0; number < count; number++) {
    struct request request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)), .nlmsg_type = RTM_NEWADDR, .nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL},
        .address = addresses[number].message,
    };
    size_t size = request.address.ifa_family == AF_INET6 ? 16 : 4;
    request.address.ifa_index = index;
    add(&request, IFA_LOCAL, addresses[number].local, size);
    if (addresses[number].has_peer) add(&request, IFA_ADDRESS, addresses[number].peer, size);
    if (addresses[number].has_broadcast) add(&request, IFA_BROADCAST, addresses[number].broadcast, 4);
    int result = acknowledged(fd, &request);
    if (result < 0) return result;
  }
  struct request request = {
      .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK},
      .link = {.ifi_index = (int)index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP},
  };
  return acknowledged(fd, &request);
}

// The index that an interface has behind the descriptor of another namespace; *fd is an rtnetlink socket there.
static int enter(int netns, const char *name, int *fd) {
  int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (own < 0) return -errno;
  int result = setns(netns, CLONE_NEWNET) < 0 ? -errno : 0;
  if (result == 0) {
    *fd = rtnetlink();
    result = *fd < 0 ? *fd : (int)if_nametoindex(name);
    if (result == 0) result = -ENODEV;
    // A caller that can't come back must not go on elsewhere.
    if (setns(own, CLONE_NEWNET) < 0) _exit(125);
  }
  close(own);
  return result;
}

// The first name of a template ("eth%d") that is free over there.
static int number(const char *template, int netns, char out[IFNAMSIZ]) {
  size_t length = strlen(template) - 2;
  for (unsigned candidate = 0; candidate < 1000; candidate++) {
    char digits[4];
    size_t count = 0, at = length;
    unsigned rest = candidate;
    do digits[count++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (length + count >= IFNAMSIZ) return -ENAMETOOLONG;
    memcpy(out, template, length);
    while (count > 0) out[at++] = digits[--count];
    out[at] = 0;
    int fd = -1, result = enter(netns, out, &fd);
    if (fd >= 0) close(fd);
    if (result == -ENODEV) return 0;
    if (result < 0) return result;
  }
  return -ENFILE;
}

int lnt_move_network_device(const char *name, const char *new_name, int netns) {
  char numbered[IFNAMSIZ];
  size_t length = strlen(new_name);
  if (length > 2 && !strcmp(new_name + length - 2, "%d")) {
    int result = number(new_name, netns, numbered);
    if (result < 0) return result;
    new_name = numbered;
  }
  static struct address addresses[MOST_ADDRESSES];
  unsigned index = if_nametoindex(name);
  if (index == 0) return -ENODEV;
  // The kernel moves first and names then: a name that is taken there must be found out before.
  int taken = -1, found = enter(netns, new_name, &taken);
  if (taken >= 0) close(taken);
  if (found != -ENODEV) return found < 0 ? found : -EEXIST;
  int fd = rtnetlink();
  if (fd < 0) return fd;
  int count = list(fd, index, addresses);
  int result = count;
  if (count >= 0) {
    struct request request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK},
        .link = {.ifi_index = (int)index, .ifi_change = IFF_UP},
    };
    add(&request, IFLA_NET_NS_FD, &netns, sizeof netns);
    add(&request, IFLA_IFNAME, new_name, strlen(new_name) + 1);
    result = acknowledged(fd, &request);
  }
  close(fd);
  if (result < 0) return result;
  int there = -1;
  result = enter(netns, new_name, &there);
  if (result >= 0) result = restore(there, (unsigned)result, addresses, count);
  if (there >= 0) close(there);
  return result;
}
