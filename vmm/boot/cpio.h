/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_CPIO_H
#define SPMVM_BOOT_CPIO_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"

/*
 * A cpio archive of format newc, as Linux unpacks it into its first root file system (Documentation/driver-api/early-userspace/
 * buffer-format.rst). The archive is the same for the same calls: owner 0:0, time 0, inode numbers in order of appearance.
 *
 * Paths are absolute, without "." or ".." parts, and at most CPIO_PATH_MAX bytes long; parents come before what is in them.
 * Running out of memory shows in the buffer (buf_failed). Pure; one thread at a time.
 */
enum { CPIO_PATH_MAX = 4095 }; /* the kernel's PATH_MAX counts the closing zero */

/* The field of a file's size has eight hexadecimal digits. */
#define CPIO_FILE_MAX UINT32_MAX

struct cpio {
	struct buf *out; /* borrowed; the archive starts on a multiple of 4 in it */
	uint32_t inode;
	size_t header; /* where the header of the file that is being written starts, in out */
	size_t data;   /* where its bytes start */
};

/* Starts an archive at the end of out, after zeros up to a multiple of 4 bytes. */
void cpio_init(struct cpio *cpio, struct buf *out);

/* mode: permission bits, set-id bits and the sticky bit; the type is added. */
void cpio_directory(struct cpio *cpio, const char *path, uint32_t mode);
void cpio_symlink(struct cpio *cpio, const char *path, const char *target);
void cpio_char_device(struct cpio *cpio, const char *path, uint32_t mode, uint32_t major, uint32_t minor);
void cpio_file(struct cpio *cpio, const char *path, uint32_t mode, const void *bytes, size_t size);

/*
 * A file whose bytes the caller appends to out itself between the two calls, so that a big file is copied once; nothing
 * else of the archive may be written meanwhile. At most CPIO_FILE_MAX bytes.
 */
void cpio_file_begin(struct cpio *cpio, const char *path, uint32_t mode);
void cpio_file_end(struct cpio *cpio);

/*
 * The head of a file whose size bytes come from elsewhere, filled to a multiple of 4 (see archive.h); at most
 * CPIO_FILE_MAX.
 */
void cpio_file_head(struct cpio *cpio, const char *path, uint32_t mode, uint64_t size);

/* Writes the closing entry. */
void cpio_finish(struct cpio *cpio);

#endif
