/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_BLK_IO_H
#define SPMVM_DEVICES_VIRTIO_BLK_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"

/*
 * Steps of work on one file descriptor, many at a time: through io_uring where the host has it, else by plain system calls, which block their
 * caller. Steps are started, then submitted together; their results are fetched one by one, in any order.
 *
 * Not thread-safe: the caller has a lock. Results may be fetched, and steps cancelled, by another thread than the one that
 * submitted them (so no IORING_SETUP_SINGLE_ISSUER).
 */
enum blk_engine {
	BLK_ENGINE_AUTO,  /* io_uring, or system calls where that is missing, switched off or refused */
	BLK_ENGINE_URING, /* or fail */
	BLK_ENGINE_SYNC,
};

enum blk_op {
	BLK_READ,  /* into iov, from offset on */
	BLK_WRITE, /* from iov */
	BLK_SYNC,  /* fdatasync(2) */
	BLK_PUNCH, /* deallocates offset .. offset + size - 1, which read as zeroes then; the file keeps its size */
	BLK_ZERO,  /* zeroes that range and leaves it allocated */
};

struct blk_step {
	enum blk_op op;
	const struct iovec *iov; /* with what it points to, the engine's until the result is there */
	unsigned count;          /* at most IOV_MAX */
	uint64_t offset, size;   /* size: of BLK_PUNCH and BLK_ZERO */
};

struct blk_result {
	uint32_t tag;
	int32_t value; /* bytes moved (perhaps fewer than asked for), 0, or -errno */
};

struct io_uring;

struct blk_io {
	int fd;                     /* borrowed */
	int event_fd;               /* readable when results may be there; owned */
	struct io_uring *ring;      /* NULL: plain system calls, or it has failed */
	bool failed;                /* io_uring has: every step's result is -EIO */
	unsigned depth;             /* steps that may be under way at a time */
	unsigned in_flight;         /* started, and the result not fetched */
	uint8_t *busy;              /* [depth]: the tags of those; heap */
	struct blk_result *results; /* [depth]: a ring of results of plain system calls; heap */
	unsigned results_head, results_count;
	const struct log *log; /* borrowed, may be NULL */
	const char *option;    /* borrowed: what lines of the log start with */
};

/*
 * Makes the engine for steps with tags 0 .. depth - 1 (at most 4096) on fd. With BLK_ENGINE_AUTO, a line (info) tells why io_uring
 * is not used. EXIT_STATUS_HOST. On failure nothing is left behind.
 */
int blk_io_init(struct blk_io *io, int fd, unsigned depth, enum blk_engine engine, const char *option,
		const struct log *log, struct error *err);

/* Ends everything, as blk_io_cancel() does, and gives back what was made. Takes one that was released, or whose init failed. */
void blk_io_release(struct blk_io *io);

/* Starts a step; tag has none under way. Plain system calls do the work here. */
void blk_io_start(struct blk_io *io, uint32_t tag, const struct blk_step *step);

/*
 * Gives what was started to the kernel, in one system call. When the kernel has no room at the moment, event_fd becomes readable and
 * the caller tries again then: 0. -errno when io_uring itself has failed: nothing but blk_io_cancel() helps.
 */
int blk_io_submit(struct blk_io *io);

/* Takes one result; false when there is none. */
bool blk_io_next(struct blk_io *io, struct blk_result *result);

/* Empties event_fd; before the results are fetched, or one could be missed. */
void blk_io_acknowledge(struct blk_io *io);

/*
 * Ends all that is under way and drops the results; when it returns, no buffer is touched any more. What waits in the kernel's queues is
 * cancelled, what a disk is doing is waited for: one step for each worker of the kernel, so the time is bounded by what the caller
 * puts into a step, as long as the disk answers. (A transfer that the host's kernel will not give up cannot be abandoned: it would land in the
 * guest's memory later. A line is logged every few seconds.) After an io_uring that has failed there is nothing that works: every step's result is -EIO then.
 */
void blk_io_cancel(struct blk_io *io);

#endif
