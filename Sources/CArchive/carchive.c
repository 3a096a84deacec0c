#include "carchive.h"

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <locale.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

// Every libarchive function that is used, once: the pointers are filled in by lnt_archive_load.
#define EACH_FUNCTION(X) \
	X(archive_read_new) X(archive_read_free) X(archive_read_open) X(archive_read_next_header) X(archive_read_data_block) \
	X(archive_read_support_filter_gzip) X(archive_read_support_filter_zstd) X(archive_read_support_filter_none) \
	X(archive_read_support_format_tar) X(archive_read_support_format_raw) X(archive_read_support_format_empty) \
	X(archive_error_string) X(archive_set_error) \
	X(archive_entry_new) X(archive_entry_free) X(archive_entry_pathname) X(archive_entry_hardlink) X(archive_entry_symlink) \
	X(archive_entry_filetype) X(archive_entry_perm) X(archive_entry_uid) X(archive_entry_gid) X(archive_entry_size) \
	X(archive_entry_mtime) X(archive_entry_mtime_nsec) X(archive_entry_rdevmajor) X(archive_entry_rdevminor) \
	X(archive_entry_xattr_reset) X(archive_entry_xattr_next) X(archive_entry_sparse_reset) \
	X(archive_entry_set_pathname) X(archive_entry_set_hardlink) X(archive_entry_set_symlink) X(archive_entry_set_filetype) \
	X(archive_entry_set_perm) X(archive_entry_set_uid) X(archive_entry_set_gid) X(archive_entry_set_size) X(archive_entry_set_mtime) \
	X(archive_entry_set_rdevmajor) X(archive_entry_set_rdevminor) X(archive_entry_xattr_add_entry) \
	X(archive_write_new) X(archive_write_free) X(archive_write_close) X(archive_write_set_format_pax_restricted) X(archive_write_set_format_raw) \
	X(archive_write_add_filter_gzip) X(archive_write_add_filter_zstd) X(archive_write_add_filter_none) X(archive_write_set_options) \
	X(archive_write_set_bytes_per_block) X(archive_write_set_bytes_in_last_block) X(archive_write_open) X(archive_write_header) \
	X(archive_write_data) X(archive_write_finish_entry)

static struct {
#define FIELD(name) __typeof__(&name) name;
	EACH_FUNCTION(FIELD)
} lib;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char load_error[256];
static locale_t utf8_locale;

static void load(void)
{
	void *handle = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		snprintf(load_error, sizeof load_error, "%s", dlerror());
		return;
	}
#define RESOLVE(name) \
	if (!(lib.name = (__typeof__(&name))dlsym(handle, #name))) { \
		snprintf(load_error, sizeof load_error, "libarchive.so.13 has no " #name); \
		return; \
	}
	EACH_FUNCTION(RESOLVE)
	// Names in pax headers are UTF-8; in the C locale libarchive could not give them back as bytes.
	utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

int lnt_archive_load(void)
{
	pthread_once(&once, load);
	return load_error[0] ? -1 : 0;
}

const char *lnt_archive_load_error(void) { return load_error; }

struct lnt_archive {
	struct archive *archive;
	struct archive_entry *entry;
	lnt_archive_source source;
	void *context;
	int opened;
	enum lnt_archive_kind kind;
	char error[256];
};

static la_ssize_t on_read(struct archive *archive, void *data, const void **buffer)
{
	struct lnt_archive *self = data;
	ssize_t size = self->source(self->context, buffer);
	if (size < 0) {
		lib.archive_set_error(archive, 5, "the input could not be read");
		return ARCHIVE_FATAL;
	}
	return size;
}

lnt_archive *lnt_archive_open(enum lnt_archive_kind kind, lnt_archive_source source, void *context)
{
	if (lnt_archive_load() < 0)
		return NULL;
	struct lnt_archive *self = calloc(1, sizeof *self);
	if (!self)
		return NULL;
	self->source = source;
	self->context = context;
	self->kind = kind;
	self->archive = lib.archive_read_new();
	if (!self->archive) {
		free(self);
		return NULL;
	}
	lib.archive_read_support_filter_none(self->archive);
	if (kind == LNT_ARCHIVE_TAR) {
		lib.archive_read_support_format_tar(self->archive);
	} else {
		lib.archive_read_support_filter_gzip(self->archive);
		lib.archive_read_support_filter_zstd(self->archive);
		lib.archive_read_support_format_raw(self->archive);
	}
	// An input of no bytes is an empty archive, not an unknown format.
	lib.archive_read_support_format_empty(self->archive);
	return self;
}

void lnt_archive_close(lnt_archive *self)
{
	if (!self)
		return;
	lib.archive_read_free(self->archive);
	free(self);
}

static int failed(struct lnt_archive *self)
{
	const char *why = lib.archive_error_string(self->archive);
	snprintf(self->error, sizeof self->error, "%s", why ? why : "unreadable");
	return -1;
}

const char *lnt_archive_error(lnt_archive *self) { return self->error; }

static int next_header(struct lnt_archive *self)
{
	// uselocale is of this thread alone.
	locale_t before = utf8_locale ? uselocale(utf8_locale) : (locale_t)0;
	int status = ARCHIVE_OK;
	if (!self->opened) {
		self->opened = 1;
		status = lib.archive_read_open(self->archive, self, NULL, on_read, NULL);
	}
	if (status == ARCHIVE_OK)
		status = lib.archive_read_next_header(self->archive, &self->entry);
	if (before)
		uselocale(before);
	if (status == ARCHIVE_EOF)
		return 0;
	// ARCHIVE_WARN: a name that isn't UTF-8; its bytes are there all the same.
	return status == ARCHIVE_OK || status == ARCHIVE_WARN ? 1 : failed(self);
}

static enum lnt_entry_kind kind_of(struct archive_entry *entry)
{
	if (lib.archive_entry_hardlink(entry))
		return LNT_ENTRY_HARDLINK;
	switch (lib.archive_entry_filetype(entry)) {
	case AE_IFREG: return LNT_ENTRY_FILE;
	case AE_IFDIR: return LNT_ENTRY_DIRECTORY;
	case AE_IFLNK: return LNT_ENTRY_SYMLINK;
	case AE_IFIFO: return LNT_ENTRY_FIFO;
	case AE_IFCHR: return LNT_ENTRY_CHARACTER;
	case AE_IFBLK: return LNT_ENTRY_BLOCK;
	case AE_IFSOCK: return LNT_ENTRY_SOCKET;
	default: return LNT_ENTRY_OTHER;
	}
}

int lnt_tar_next(lnt_archive *self, struct lnt_entry *out)
{
	int status = next_header(self);
	if (status <= 0)
		return status;
	struct archive_entry *entry = self->entry;
	locale_t before = utf8_locale ? uselocale(utf8_locale) : (locale_t)0;
	const char *path = lib.archive_entry_pathname(entry);
	out->path = path ? path : "";
	out->kind = kind_of(entry);
	out->link = out->kind == LNT_ENTRY_HARDLINK ? lib.archive_entry_hardlink(entry)
		: out->kind == LNT_ENTRY_SYMLINK ? lib.archive_entry_symlink(entry) : NULL;
	if (before)
		uselocale(before);
	out->mode = lib.archive_entry_perm(entry) & 07777;
	out->uid = lib.archive_entry_uid(entry);
	out->gid = lib.archive_entry_gid(entry);
	out->size = lib.archive_entry_size(entry);
	out->mtime = lib.archive_entry_mtime(entry);
	out->mtime_nanoseconds = (uint32_t)lib.archive_entry_mtime_nsec(entry);
	int device = out->kind == LNT_ENTRY_CHARACTER || out->kind == LNT_ENTRY_BLOCK;
	out->device_major = device ? (uint32_t)lib.archive_entry_rdevmajor(entry) : 0;
	out->device_minor = device ? (uint32_t)lib.archive_entry_rdevminor(entry) : 0;
	out->xattr_count = lib.archive_entry_xattr_reset(entry);
	out->sparse_count = lib.archive_entry_sparse_reset(entry);
	return 1;
}

int lnt_tar_xattr(lnt_archive *self, const char **name, const void **value, size_t *size)
{
	return lib.archive_entry_xattr_next(self->entry, name, value, size) == ARCHIVE_OK;
}

int lnt_archive_data(lnt_archive *self, const void **data, size_t *size, int64_t *offset)
{
	if (self->kind == LNT_ARCHIVE_DECOMPRESS && !self->entry) {
		int status = next_header(self);
		if (status <= 0)
			return status;
	}
	la_int64_t at = 0;
	int status = lib.archive_read_data_block(self->archive, data, size, &at);
	*offset = at;
	if (status == ARCHIVE_EOF)
		return 0;
	return status == ARCHIVE_OK ? 1 : failed(self);
}

struct lnt_tar_writer {
	int abandoned; // what libarchive still wants to flush goes nowhere
	struct archive *archive;
	struct archive_entry *entry;
	lnt_archive_sink sink;
	void *context;
	char error[256];
};

static la_ssize_t on_write(struct archive *archive, void *data, const void *buffer, size_t size)
{
	struct lnt_tar_writer *self = data;
	if (!self->abandoned && self->sink(self->context, buffer, size) < 0) {
		lib.archive_set_error(archive, 5, "the output could not be written");
		return -1;
	}
	return (la_ssize_t)size;
}

static struct lnt_tar_writer *writer_new(lnt_archive_sink sink, void *context)
{
	if (lnt_archive_load() < 0)
		return NULL;
	struct lnt_tar_writer *self = calloc(1, sizeof *self);
	if (!self)
		return NULL;
	self->sink = sink;
	self->context = context;
	self->archive = lib.archive_write_new();
	self->entry = lib.archive_entry_new();
	return self;
}

static int writer_status(struct lnt_tar_writer *self, int status)
{
	if (status >= ARCHIVE_WARN)
		return 0;
	const char *why = lib.archive_error_string(self->archive);
	snprintf(self->error, sizeof self->error, "%s", why ? why : "can't be written");
	return -1;
}

lnt_tar_writer *lnt_tar_writer_open(lnt_archive_sink sink, void *context)
{
	struct lnt_tar_writer *self = writer_new(sink, context);
	if (!self)
		return NULL;
	// "restricted" writes plain ustar headers wherever they suffice.
	lib.archive_write_set_format_pax_restricted(self->archive);
	// No "hdrcharset=BINARY": a name that isn't ASCII gets that by itself in the locale C, the others no extended header, of which GNU tar complains.
	lib.archive_write_add_filter_none(self->archive);
	lib.archive_write_set_bytes_per_block(self->archive, 64 * 1024);
	lib.archive_write_set_bytes_in_last_block(self->archive, 1);
	if (lib.archive_write_open(self->archive, self, NULL, on_write, NULL) != ARCHIVE_OK) {
		lnt_tar_writer_abandon(self);
		return NULL;
	}
	return self;
}

static mode_t file_type(enum lnt_entry_kind kind)
{
	switch (kind) {
	case LNT_ENTRY_DIRECTORY: return AE_IFDIR;
	case LNT_ENTRY_SYMLINK: return AE_IFLNK;
	case LNT_ENTRY_FIFO: return AE_IFIFO;
	case LNT_ENTRY_CHARACTER: return AE_IFCHR;
	case LNT_ENTRY_BLOCK: return AE_IFBLK;
	default: return AE_IFREG;
	}
}

int lnt_tar_writer_entry(lnt_tar_writer *self, const struct lnt_entry *from)
{
	lib.archive_entry_free(self->entry);
	struct archive_entry *entry = self->entry = lib.archive_entry_new();
	if (!entry)
		return -1;
	lib.archive_entry_set_pathname(entry, from->path);
	lib.archive_entry_set_filetype(entry, file_type(from->kind));
	lib.archive_entry_set_perm(entry, from->mode);
	lib.archive_entry_set_uid(entry, from->uid);
	lib.archive_entry_set_gid(entry, from->gid);
	lib.archive_entry_set_size(entry, from->kind == LNT_ENTRY_FILE ? from->size : 0);
	lib.archive_entry_set_mtime(entry, from->mtime, from->mtime_nanoseconds);
	if (from->kind == LNT_ENTRY_SYMLINK)
		lib.archive_entry_set_symlink(entry, from->link);
	if (from->kind == LNT_ENTRY_HARDLINK)
		lib.archive_entry_set_hardlink(entry, from->link);
	if (from->kind == LNT_ENTRY_CHARACTER || from->kind == LNT_ENTRY_BLOCK) {
		lib.archive_entry_set_rdevmajor(entry, from->device_major);
		lib.archive_entry_set_rdevminor(entry, from->device_minor);
	}
	return 0;
}

int lnt_tar_writer_xattr(lnt_tar_writer *self, const char *name, const void *value, size_t size)
{
	lib.archive_entry_xattr_add_entry(self->entry, name, value, size);
	return 0;
}

int lnt_tar_writer_begin(lnt_tar_writer *self)
{
	locale_t before = utf8_locale ? uselocale(utf8_locale) : (locale_t)0;
	int status = lib.archive_write_header(self->archive, self->entry);
	if (before)
		uselocale(before);
	return writer_status(self, status);
}

int lnt_tar_writer_data(lnt_tar_writer *self, const void *data, size_t size)
{
	la_ssize_t written = lib.archive_write_data(self->archive, data, size);
	return written == (la_ssize_t)size ? 0 : writer_status(self, ARCHIVE_FATAL);
}

int lnt_tar_writer_close(lnt_tar_writer *self)
{
	if (!self)
		return -1;
	int status = writer_status(self, lib.archive_write_close(self->archive));
	lnt_tar_writer_abandon(self);
	return status;
}

void lnt_tar_writer_abandon(lnt_tar_writer *self)
{
	if (!self)
		return;
	self->abandoned = 1;
	lib.archive_write_free(self->archive);
	lib.archive_entry_free(self->entry);
	free(self);
}

const char *lnt_tar_writer_error(lnt_tar_writer *self) { return self->error; }

// A compressor is the same writer with libarchive's "raw" format: one entry, no header.
lnt_compressor *lnt_compressor_open(enum lnt_compression kind, lnt_archive_sink sink, void *context)
{
	struct lnt_tar_writer *self = writer_new(sink, context);
	if (!self)
		return NULL;
	lib.archive_write_set_format_raw(self->archive);
	if (kind == LNT_COMPRESS_GZIP)
		lib.archive_write_add_filter_gzip(self->archive);
	else if (kind == LNT_COMPRESS_ZSTD)
		lib.archive_write_add_filter_zstd(self->archive);
	else
		lib.archive_write_add_filter_none(self->archive);
	if (kind == LNT_COMPRESS_GZIP)
		// Without the time the same content always gives the same digest.
		lib.archive_write_set_options(self->archive, "gzip:!timestamp,gzip:compression-level=6");
	lib.archive_write_set_bytes_per_block(self->archive, 256 * 1024);
	lib.archive_write_set_bytes_in_last_block(self->archive, 1);
	lib.archive_entry_set_filetype(self->entry, AE_IFREG);
	lib.archive_entry_set_pathname(self->entry, "layer");
	if (lib.archive_write_open(self->archive, self, NULL, on_write, NULL) != ARCHIVE_OK
	    || lib.archive_write_header(self->archive, self->entry) != ARCHIVE_OK) {
		lnt_tar_writer_abandon(self);
		return NULL;
	}
	return (lnt_compressor *)self;
}

int lnt_compressor_data(lnt_compressor *self, const void *data, size_t size)
{
	return lnt_tar_writer_data((lnt_tar_writer *)self, data, size);
}

void lnt_compressor_abandon(lnt_compressor *self) { lnt_tar_writer_abandon((lnt_tar_writer *)self); }

int lnt_compressor_close(lnt_compressor *self) { return lnt_tar_writer_close((lnt_tar_writer *)self); }

struct lnt_sha256 {
	struct sha256_ctx context;
};

lnt_sha256 *lnt_sha256_new(void)
{
	struct lnt_sha256 *self = malloc(sizeof *self);
	if (self)
		sha256_init(&self->context);
	return self;
}

void lnt_sha256_update(lnt_sha256 *self, const void *data, size_t size) { sha256_update(&self->context, size, data); }
void lnt_sha256_finish(lnt_sha256 *self, uint8_t *digest) { sha256_digest(&self->context, SHA256_DIGEST_SIZE, digest); }
void lnt_sha256_free(lnt_sha256 *self) { free(self); }
