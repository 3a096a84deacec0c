// The few system calls an unpack makes thousands of times. Each returns -errno or >= 0 and works below a descriptor.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Gives this thread its own umask of 0 (and its own working directory and root): files get the mode that is asked for in one call.
int lnt_disk_private_umask(void);
/// Creates a file that must not exist; -EEXIST when something is there, links included.
int lnt_disk_create(int directory, const char *name, uint32_t mode);
int lnt_disk_write_all(int fd, const void *data, size_t size, int64_t offset);
/// Writes all of it at the file's own offset.
int lnt_disk_append(int fd, const void *data, size_t size);
/// Sets both times, so that unpacking twice gives the same tree. By descriptor when `name` is NULL; links are not followed.
int lnt_disk_times(int directory, const char *name, int64_t seconds, uint32_t nanoseconds);
int lnt_disk_chown(int fd, uint32_t uid, uint32_t gid);
/// Starts writing what is dirty to the disk without waiting, so that the syncfs at the end finds little left.
int lnt_disk_start_writeback(int fd);
ssize_t lnt_disk_read(int fd, void *buffer, size_t size);
/// Tells the kernel that `fd` is read once, front to back.
void lnt_disk_read_ahead(int fd);
/// Compares stat identity: fills device and inode. Links are not followed.
int lnt_disk_identity(int directory, const char *name, uint64_t *device, uint64_t *inode, uint32_t *mode);
/// Attributes of a link itself, by directory descriptor and name.
int lnt_disk_link_set_xattr(int directory, const char *name, const char *attribute, const void *value, size_t size);
