#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static int result(int value) { return value < 0 ? -errno : value; }

int lnt_disk_private_umask(void)
{
	if (unshare(CLONE_FS) < 0)
		return -errno;
	umask(0);
	return 0;
}

int lnt_disk_create(int directory, const char *name, uint32_t mode)
{
	return result(openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)mode));
}

int lnt_disk_write_all(int fd, const void *data, size_t size, int64_t offset)
{
	const char *rest = data;
	while (size > 0) {
		ssize_t wrote = pwrite(fd, rest, size, offset);
		if (wrote < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		rest += wrote;
		offset += wrote;
		size -= (size_t)wrote;
	}
	return 0;
}

int lnt_disk_append(int fd, const void *data, size_t size)
{
	const char *rest = data;
	while (size > 0) {
		ssize_t wrote = write(fd, rest, size);
		if (wrote < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		rest += wrote;
		size -= (size_t)wrote;
	}
	return 0;
}

int lnt_disk_times(int directory, const char *name, int64_t seconds, uint32_t nanoseconds)
{
	struct timespec times[2] = { { seconds, nanoseconds }, { seconds, nanoseconds } };
	return result(name ? utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW) : futimens(directory, times));
}

int lnt_disk_chown(int fd, uint32_t uid, uint32_t gid) { return result(fchown(fd, uid, gid)); }

int lnt_disk_start_writeback(int fd) { return result(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE)); }

ssize_t lnt_disk_read(int fd, void *buffer, size_t size)
{
	ssize_t got;
	do
		got = read(fd, buffer, size);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

void lnt_disk_read_ahead(int fd) { posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); }

int lnt_disk_identity(int directory, const char *name, uint64_t *device, uint64_t *inode, uint32_t *mode)
{
	struct stat status;
	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)) < 0)
		return -errno;
	*device = status.st_dev;
	*inode = status.st_ino;
	*mode = status.st_mode;
	return 0;
}

int lnt_disk_link_set_xattr(int directory, const char *name, const char *attribute, const void *value, size_t size)
{
	// There is no fsetxattrat before Linux 6.13; the magic link leads to the directory by its descriptor, and `name` is one component.
	char path[4096 + 64];
	if ((size_t)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", directory, name) >= sizeof path)
		return -ENAMETOOLONG;
	return result(lsetxattr(path, attribute, value, size, 0));
}
