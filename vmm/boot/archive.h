/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_ARCHIVE_H
#define SPMVM_BOOT_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"
#include "vmm/base/error.h"

/*
 * The bytes of an initramfs before they have a place in guest memory. Small things are in a buffer; of a large file
 * there is only its name and size, and archive_write() reads it straight to its place. So the file's bytes are never in
 * memory of our own.
 *
 * A zeroed struct is an empty archive. Main thread.
 */
enum { ARCHIVE_PART_MIN = 16 * 1024 }; /* a smaller file is not worth opening twice */

struct archive_part {
	size_t at;     /* comes before this byte of the buffer */
	uint64_t size; /* of the file; zeros fill it to a multiple of 4 */
	char *host;    /* path; heap, owned */
};

struct archive {
	struct buf bytes;
	struct archive_part *parts; /* heap, owned; by ascending at */
	size_t part_count;
	uint64_t part_bytes; /* of all of them, each filled */
};

void archive_release(struct archive *archive);

/* The next bytes are those of a host's file of this size. The buffer has to end on a multiple of 4. -ENOMEM. */
int archive_add_part(struct archive *archive, const char *host, uint64_t size);

/* Of all of it. */
uint64_t archive_size(const struct archive *archive);

/* Writes archive_size() bytes. EXIT_STATUS_IMAGE for a file that is not there any more or has another size now. */
int archive_write(const struct archive *archive, void *to, struct error *err);

#endif
