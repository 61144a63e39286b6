/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_BLK_FILE_H
#define SPMVM_DEVICES_VIRTIO_BLK_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"

/*
 * The raw file or block device behind a disk: opened, locked against others, and its facts. Sizes are bytes.
 *
 * The lock is flock(2)'s: shared for a reader, exclusive for a writer, so two machines can share a disk that neither writes. It is
 * advisory: it stops a second spmvm (and what else asks), not every program. A block device that is to be written is
 * opened with O_EXCL as well, which the kernel refuses while the host has it mounted. Where a file system has no locks, a line
 * says so and the disk works.
 *
 * The page cache is used, not O_DIRECT: a guest's buffers need not have the alignment that O_DIRECT asks for (bounce buffers would be
 * the price), the host's cache serves several guests, and what a guest has flushed is on the disk either way (fdatasync).
 */
struct blk_file {
	int fd; /* -1 when closed */
	bool read_only;
	bool block_device;
	bool punches;               /* can deallocate (FALLOC_FL_PUNCH_HOLE) */
	uint64_t size;              /* a multiple of 512, at least 512 */
	uint32_t logical, physical; /* block sizes: powers of two, 512 <= logical <= physical */
	uint32_t io_min, io_best;   /* preferred sizes of a transfer; 0 when nobody says */
};

/*
 * Opens path; option ("--blk path=disk.img") is what errors start with. Refused: what is neither a file nor a block device, an empty
 * file, and a size that is not a multiple of 512 (the guest would not see the file's tail). EXIT_STATUS_CONFIG for a path that
 * cannot be a disk, EXIT_STATUS_HOST for permissions, locks and limits. On failure file->fd is -1. Main thread; log may be NULL.
 */
int blk_file_open(struct blk_file *file, const char *path, bool read_only, const char *option, const struct log *log,
		  struct error *err);

/* Closes it and so gives up the lock; takes one that is closed. */
void blk_file_close(struct blk_file *file);

/*
 * How many bytes the file has now; size for a block device. Less than size: somebody has cut the file short, and a write behind its new
 * end would quietly make it grow again, with a hole where data was.
 */
uint64_t blk_file_size_now(const struct blk_file *file);

/*
 * Tells a block device that nobody needs these bytes any more (BLKDISCARD), for those that can do this but cannot promise zeroes
 * afterwards, as fallocate(2) would have it: thin volumes, many SSDs. Waits for the device. -EOPNOTSUPP for a file and for devices
 * that cannot.
 */
int blk_file_discard(const struct blk_file *file, uint64_t offset, uint64_t size);

#endif
