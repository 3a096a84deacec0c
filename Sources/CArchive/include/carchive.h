// A narrow surface over libarchive (opened with dlopen at first use) and nettle's SHA-256.
// No function here is variadic, none raises; failures are negative, the words are in lnt_archive_error.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct lnt_archive lnt_archive;

/// Gives the next bytes of the input: their number, 0 at the end, negative on failure. `*data` stays valid until the next call.
typedef ssize_t (*lnt_archive_source)(void *context, const void **data);
/// Takes bytes of the output: 0, or negative on failure.
typedef int (*lnt_archive_sink)(void *context, const void *data, size_t size);

/// Opens libarchive. 0, or -1 with the reason in `lnt_archive_load_error`. Thread-safe, cheap when done before.
int lnt_archive_load(void);
const char *lnt_archive_load_error(void);

enum lnt_archive_kind {
	LNT_ARCHIVE_DECOMPRESS = 0, // gzip, zstd or nothing, as the bytes themselves say; gives one stream
	LNT_ARCHIVE_TAR = 1,        // an uncompressed tar; gives entries
};

/// Makes a reader; never NULL unless memory ran out. Errors come with the first read.
lnt_archive *lnt_archive_open(enum lnt_archive_kind kind, lnt_archive_source source, void *context);
void lnt_archive_close(lnt_archive *archive);
/// What went wrong last; "" when nothing did. Valid until the next call on `archive`.
const char *lnt_archive_error(lnt_archive *archive);

enum lnt_entry_kind {
	LNT_ENTRY_FILE, LNT_ENTRY_DIRECTORY, LNT_ENTRY_SYMLINK, LNT_ENTRY_HARDLINK,
	LNT_ENTRY_FIFO, LNT_ENTRY_CHARACTER, LNT_ENTRY_BLOCK, LNT_ENTRY_SOCKET, LNT_ENTRY_OTHER,
};

struct lnt_entry {
	const char *path;   // as stored, never NULL, "" when unreadable; valid until the next entry
	const char *link;   // a symlink's or hard link's target, else NULL
	enum lnt_entry_kind kind;
	uint32_t mode;      // permission bits only, 07777
	int64_t uid, gid, size;
	int64_t mtime;
	uint32_t mtime_nanoseconds;
	uint32_t device_major, device_minor;
	int xattr_count;
	int sparse_count;
};

/// 1 and the next entry, 0 at the end, -1 on failure.
int lnt_tar_next(lnt_archive *archive, struct lnt_entry *out);
/// The entry's next extended attribute: 1, or 0 when there are no more. `lnt_tar_next` starts over.
int lnt_tar_xattr(lnt_archive *archive, const char **name, const void **value, size_t *size);
/// The next bytes of the entry (or of the decompressed stream): 1, 0 at the end, -1 on failure. Sparse files leave holes.
int lnt_archive_data(lnt_archive *archive, const void **data, size_t *size, int64_t *offset);

enum lnt_compression { LNT_COMPRESS_NONE, LNT_COMPRESS_GZIP, LNT_COMPRESS_ZSTD };

typedef struct lnt_tar_writer lnt_tar_writer;
/// Makes a writer of pax tars (names of any length, xattrs); the same calls give the same bytes.
lnt_tar_writer *lnt_tar_writer_open(lnt_archive_sink sink, void *context);
/// Starts an entry; xattrs are added between `lnt_tar_writer_entry` and `lnt_tar_writer_begin`.
int lnt_tar_writer_entry(lnt_tar_writer *writer, const struct lnt_entry *entry);
int lnt_tar_writer_xattr(lnt_tar_writer *writer, const char *name, const void *value, size_t size);
int lnt_tar_writer_begin(lnt_tar_writer *writer);
int lnt_tar_writer_data(lnt_tar_writer *writer, const void *data, size_t size);
/// Writes the end of the archive and frees the writer.
int lnt_tar_writer_close(lnt_tar_writer *writer);
/// Frees the writer; its sink isn't called any more.
void lnt_tar_writer_abandon(lnt_tar_writer *writer);
const char *lnt_tar_writer_error(lnt_tar_writer *writer);

typedef struct lnt_compressor lnt_compressor;
/// Makes a stream of one compressed file with no name and no time in it.
lnt_compressor *lnt_compressor_open(enum lnt_compression kind, lnt_archive_sink sink, void *context);
int lnt_compressor_data(lnt_compressor *compressor, const void *data, size_t size);
/// Ends the stream and frees the compressor.
int lnt_compressor_close(lnt_compressor *compressor);
/// Frees the compressor; its sink isn't called any more.
void lnt_compressor_abandon(lnt_compressor *compressor);

typedef struct lnt_sha256 lnt_sha256;
lnt_sha256 *lnt_sha256_new(void);
void lnt_sha256_update(lnt_sha256 *hash, const void *data, size_t size);
/// Writes 32 bytes and starts over.
void lnt_sha256_finish(lnt_sha256 *hash, uint8_t *digest);
void lnt_sha256_free(lnt_sha256 *hash);
