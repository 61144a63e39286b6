/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/blk_io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/io.h"

/* linux/io_uring.h of Linux 5.19; Debian 12's has it, older ones do not. */
#ifndef IORING_SETUP_COOP_TASKRUN
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif

enum {
	PATIENCE_SECONDS = 5,  /* between two lines about a disk that does not answer */
	SUBMIT_ATTEMPTS = 100, /* before a submission that makes no progress is given up */
	CANCEL_USER_DATA = 0,  /* results of cancellations themselves; a step has tag + 1 */
};

static const int PUNCH_MODE = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
static const int ZERO_MODE = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

/* ---- plain system calls */

static int32_t perform_once(int fd, const struct blk_step *step)
{
	ssize_t value;

	switch (step->op) {
	case BLK_READ:
		value = preadv(fd, step->iov, (int)step->count, (off_t)step->offset);
		break;
	case BLK_WRITE:
		value = pwritev(fd, step->iov, (int)step->count, (off_t)step->offset);
		break;
	case BLK_SYNC:
		value = fdatasync(fd);
		break;
	default:
		value = fallocate(fd, step->op == BLK_PUNCH ? PUNCH_MODE : ZERO_MODE, (off_t)step->offset,
				  (off_t)step->size);
		break;
	}
	return value < 0 ? -errno : (int32_t)value;
}

static int32_t perform(int fd, const struct blk_step *step)
{
	int32_t value;

	do {
		value = perform_once(fd, step);
	} while (value == -EINTR);
	return value;
}

/* ---- io_uring */

/* Whether the kernel knows every operation that is used here: Linux 5.6. */
static bool has_operations(struct io_uring *ring)
{
	static const int NEEDED[] = {IORING_OP_READ,  IORING_OP_WRITE,     IORING_OP_READV,       IORING_OP_WRITEV,
				     IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL};
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool all = probe != NULL;

	for (size_t i = 0; all && i < sizeof(NEEDED) / sizeof(NEEDED[0]); i++)
		all = io_uring_opcode_supported(probe, NEEDED[i]);
	io_uring_free_probe(probe);
	return all;
}

static int make_ring(struct blk_io *io)
{
	struct io_uring *ring = calloc(1, sizeof(*ring));
	int code;

	if (ring == NULL)
		return -ENOMEM;
	/* the loop enters the kernel soon enough by itself: do not interrupt it for a completion */
	code = io_uring_queue_init(io->depth, ring, IORING_SETUP_COOP_TASKRUN);
	if (code == -EINVAL)
		code = io_uring_queue_init(io->depth, ring, 0);
	if (code < 0) {
		free(ring);
		return code;
	}
	code = has_operations(ring) ? 0 : -ENOSYS;
	if (code == 0)
		code = io_uring_register_files(ring, &io->fd, 1);
	if (code >= 0)
		code = io_uring_register_eventfd(ring, io->event_fd);
	if (code < 0) {
		io_uring_queue_exit(ring);
		free(ring);
		return code;
	}
	io->ring = ring;
	return 0;
}

static void drop_ring(struct blk_io *io)
{
	if (io->ring == NULL)
		return;
	/* the kernel takes the ring down later; the file is to be free now */
	(void)io_uring_unregister_files(io->ring);
	io_uring_queue_exit(io->ring);
	free(io->ring);
	io->ring = NULL;
}

static void prepare(struct io_uring_sqe *sqe, const struct blk_step *step)
{
	/* the only registered file has index 0 */
	switch (step->op) {
	case BLK_READ:
		if (step->count == 1)
			io_uring_prep_read(sqe, 0, step->iov->iov_base, (unsigned)step->iov->iov_len, step->offset);
		else
			io_uring_prep_readv(sqe, 0, step->iov, step->count, step->offset);
		break;
	case BLK_WRITE:
		if (step->count == 1)
			io_uring_prep_write(sqe, 0, step->iov->iov_base, (unsigned)step->iov->iov_len, step->offset);
		else
			io_uring_prep_writev(sqe, 0, step->iov, step->count, step->offset);
		break;
	case BLK_SYNC:
		io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
		break;
	default:
		io_uring_prep_fallocate(sqe, 0, step->op == BLK_PUNCH ? PUNCH_MODE : ZERO_MODE, (off_t)step->offset,
					(off_t)step->size);
		break;
	}
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
}

/* Takes one completion of a step; those of cancellations and of liburing's own timeouts are dropped. */
static bool next_completion(struct blk_io *io, struct blk_result *result)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(io->ring, &cqe) == 0) {
		uint64_t user_data = io_uring_cqe_get_data64(cqe);
		int32_t value = cqe->res;

		io_uring_cqe_seen(io->ring, cqe);
		if (user_data == CANCEL_USER_DATA || user_data > io->depth)
			continue;
		*result = (struct blk_result){(uint32_t)user_data - 1, value};
		return true;
	}
	return false;
}

/* ---- both */

int blk_io_init(struct blk_io *io, int fd, unsigned depth, enum blk_engine engine, const char *option,
		const struct log *log, struct error *err)
{
	int code = 0;

	assert(depth > 0 && depth <= 4096);
	*io = (struct blk_io){.fd = fd, .depth = depth, .log = log, .option = option};
	io->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (io->event_fd < 0) {
		code = error_set(err, EXIT_STATUS_HOST, errno, "%s: cannot make an eventfd: %s", option,
				 strerror(errno));
		goto fail;
	}
	io->busy = calloc(depth, sizeof(*io->busy));
	io->results = calloc(depth, sizeof(*io->results));
	if (io->busy == NULL || io->results == NULL) {
		code = error_set(err, EXIT_STATUS_HOST, ENOMEM, "%s: out of memory", option);
		goto fail;
	}
	if (engine != BLK_ENGINE_SYNC)
		code = make_ring(io);
	if (code < 0 && engine == BLK_ENGINE_URING) {
		code = error_set(err, EXIT_STATUS_HOST, -code, "%s: the host has no io_uring for us: %s", option,
				 strerror(-code));
		goto fail;
	}
	if (code < 0 && log != NULL)
		log_info(log, "%s: no io_uring (%s); plain system calls do it, one at a time", option, strerror(-code));
	return 0;
fail:
	blk_io_release(io);
	return code;
}

void blk_io_release(struct blk_io *io)
{
	if (io->depth == 0)
		return;
	blk_io_cancel(io);
	drop_ring(io);
	io_close(&io->event_fd);
	free(io->busy);
	free(io->results);
	*io = (struct blk_io){.fd = -1, .event_fd = -1};
}

void blk_io_start(struct blk_io *io, uint32_t tag, const struct blk_step *step)
{
	assert(tag < io->depth && !io->busy[tag]);
	io->busy[tag] = 1;
	io->in_flight++;
	if (io->ring != NULL) {
		/* never full: it has depth entries, and cancellations are submitted before anything is started again */
		struct io_uring_sqe *sqe = io_uring_get_sqe(io->ring);

		assert(sqe != NULL);
		prepare(sqe, step);
		io_uring_sqe_set_data64(sqe, (uint64_t)tag + 1);
		return;
	}
	io->results[(io->results_head + io->results_count++) % io->depth] =
		(struct blk_result){tag, io->failed ? -EIO : perform(io->fd, step)};
}

int blk_io_submit(struct blk_io *io)
{
	unsigned attempts = 0;

	while (io->ring != NULL && io_uring_sq_ready(io->ring) > 0) {
		int code = io_uring_submit(io->ring);

		if (code > 0 || (code == -EINTR && attempts++ < SUBMIT_ATTEMPTS))
			continue;
		if (code < 0 && code != -EAGAIN && code != -EBUSY && code != -ENOMEM && code != -EINTR)
			return code;
		/* no memory, or results have to be fetched first: the loop comes back here */
		io_raise(io->event_fd);
		return 0;
	}
	return 0;
}

bool blk_io_next(struct blk_io *io, struct blk_result *result)
{
	if (io->in_flight == 0)
		return false;
	if (io->ring != NULL) {
		if (!next_completion(io, result))
			return false;
	} else {
		if (io->results_count == 0)
			return false;
		*result = io->results[io->results_head];
		io->results_head = (io->results_head + 1) % io->depth;
		io->results_count--;
	}
	assert(io->busy[result->tag]);
	io->busy[result->tag] = 0;
	io->in_flight--;
	return true;
}

void blk_io_acknowledge(struct blk_io *io)
{
	io_lower(io->event_fd);
}

/* Hands everything in the submission queue to the kernel, as far as it takes it. */
static void push_out(struct blk_io *io)
{
	for (unsigned attempts = 0; attempts < SUBMIT_ATTEMPTS && io_uring_sq_ready(io->ring) > 0; attempts++) {
		if (io_uring_submit(io->ring) < 0)
			clock_pause(100 * 1000);
	}
}

static void ask_for_cancellation(struct blk_io *io)
{
	push_out(io);
	for (uint32_t tag = 0; tag < io->depth; tag++) {
		struct io_uring_sqe *sqe;

		if (!io->busy[tag])
			continue;
		sqe = io_uring_get_sqe(io->ring);
		if (sqe == NULL) {
			push_out(io);
			sqe = io_uring_get_sqe(io->ring);
		}
		if (sqe == NULL) /* the kernel takes nothing; what it has is waited for */
			break;
		io_uring_prep_cancel64(sqe, (uint64_t)tag + 1, 0);
		io_uring_sqe_set_data64(sqe, CANCEL_USER_DATA);
	}
	push_out(io);
}

/* Waits until the kernel has nothing of ours; entries that it never took do not count. */
static void wait_for_kernel(struct blk_io *io, unsigned never_taken)
{
	struct __kernel_timespec patience = {.tv_sec = PATIENCE_SECONDS};
	struct blk_result result;
	struct io_uring_cqe *cqe;

	while (io->in_flight > never_taken) {
		int code;

		if (blk_io_next(io, &result))
			continue;
		code = io_uring_wait_cqe_timeout(io->ring, &cqe, &patience);
		if (code == -ETIME && io->log != NULL)
			log_warn(io->log, "%s: waiting for the host's disk to finish %u requests before a reset",
				 io->option, io->in_flight);
		else if (code < 0 && code != -EINTR && code != -ETIME)
			clock_pause(1000 * 1000);
	}
}

/* How many of the entries that the kernel did not take are steps, not cancellations. */
static unsigned steps_never_taken(const struct blk_io *io)
{
	const struct io_uring_sq *sq = &io->ring->sq;
	unsigned ready = io_uring_sq_ready(io->ring), steps = 0;

	for (unsigned i = 0; i < ready; i++)
		steps += sq->sqes[(sq->sqe_tail - 1 - i) & sq->ring_mask].user_data != CANCEL_USER_DATA;
	return steps;
}

void blk_io_cancel(struct blk_io *io)
{
	if (io->busy == NULL)
		return; /* half-built */
	if (io->ring != NULL && io->in_flight > 0) {
		ask_for_cancellation(io);
		wait_for_kernel(io, steps_never_taken(io));
		if (io_uring_sq_ready(io->ring) > 0) {
			/* it does not work any more, and its queue names guest memory; the sandbox leaves no other way */
			if (io->log != NULL)
				log_warn(io->log, "%s: the host's io_uring has failed; every request does from now on",
					 io->option);
			drop_ring(io);
			io->failed = true;
		}
	}
	memset(io->busy, 0, io->depth);
	io->in_flight = 0;
	io->results_head = 0;
	io->results_count = 0;
	blk_io_acknowledge(io);
}
