/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_BLK_H
#define SPMVM_DEVICES_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/blk_file.h"
#include "devices/virtio/blk_io.h"
#include "devices/virtio/virtio.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/base/range.h"

/*
 * A disk (virtio 1.2 §5.2) over a raw file or a block device. Requests are taken on the main thread when the driver kicks; the kernel
 * moves their data between the file and the guest's memory (RAM or an SPM block) without a copy of ours, many at a time.
 *
 * What is durable when (§5.2.6.2): a write is acknowledged once it is in the host's page cache, so it survives the end of this process in any
 * way, SIGKILL included. It survives the host's end when the driver has flushed. A flush is one fdatasync(2), submitted when it is taken from
 * the ring. All that it owes are writes that were completed before the driver sent it; these were in the page cache before their used entry
 * was published, so the fdatasync finds them, and no ordering among requests in flight is needed: a driver that wants a write flushed waits
 * for it first. Without FLUSH negotiated, or with writeback 0 in the configuration, each write is followed by an fdatasync of its own
 * before it is acknowledged. A flush that fails is told once; the kernel then forgets the pages (fsync(2)), and the guest should too.
 *
 * A failing disk (EIO, ENOSPC, a file that was cut short) fails the request with VIRTIO_BLK_S_IOERR and a rate-limited line. A request
 * that breaks the rules gets IOERR or UNSUPP; a chain without room for header and status makes the device NEEDS_RESET.
 *
 * The process should ignore SIGXFSZ, or a limit on file sizes that is set while it runs ends it. The engine's task work may interrupt
 * system calls of the main thread with EINTR.
 */
enum {
	VIRTIO_BLK_SECTOR = 512, /* the unit of the protocol, whatever blk_size says */
	VIRTIO_BLK_ID_SIZE = 20,
	VIRTIO_BLK_REQUESTS_MAX = VIRTQ_SIZE_MAX, /* under way in one device at a time, over all queues */
	VIRTIO_BLK_SEGMENTS_MAX =
		VIRTQ_SIZE_MAX - 2 /* seg_max: with header and status, a ring without indirect descriptors is full */,
	VIRTIO_BLK_SEGMENT_SIZE_MAX = 256 * 1024, /* size_max, bytes */
	VIRTIO_BLK_STEP_MAX = 2 * 1024 * 1024,    /* bytes that the engine is given in one step */
	VIRTIO_BLK_RANGES_MAX = 16,               /* max_discard_seg; max_write_zeroes_seg is 1 */
	VIRTIO_BLK_DISCARD_SECTORS_MAX = 1 << 21, /* a range: 1 GiB */
	VIRTIO_BLK_ZEROES_SECTORS_MAX = 1 << 16,  /* 32 MiB: where nothing is faster, they are written */
	VIRTIO_BLK_TURN_BYTES = 16 * 1024 * 1024, /* after so many bytes or requests the loop sees to other devices */
	VIRTIO_BLK_TURN_REQUESTS = VIRTQ_SIZE_MAX,
	VIRTIO_BLK_ZERO_BUFFER = 64 * 1024,
	VIRTIO_BLK_ZERO_SEGMENTS = VIRTIO_BLK_STEP_MAX / VIRTIO_BLK_ZERO_BUFFER,
};

struct virtio_blk_options {
	const char *path;
	bool read_only;
	const char *id;         /* serial number, in the guest /dev/disk/by-id/virtio-ID; NULL for none */
	unsigned queues;        /* 1 .. VIRTIO_QUEUES_MAX; 0 means 1 */
	enum blk_engine engine; /* for tests and comparison; AUTO */
	uint32_t step_max;      /* for tests: bytes in one step, 0 means VIRTIO_BLK_STEP_MAX */
};

/* What requests are counted as; the last one is whatever is none of the others. */
enum blk_kind {
	BLK_KIND_READ,
	BLK_KIND_WRITE,
	BLK_KIND_FLUSH,
	BLK_KIND_DISCARD,
	BLK_KIND_ZERO,
	BLK_KIND_OTHER,
	BLK_KINDS
};

struct blk_counters {
	struct counter requests; /* that have ended, in whatever way */
	struct counter bytes;    /* moved, zeroed or given back, also of a request that failed later */
	struct counter errors;   /* the disk failed */
	struct counter refused;  /* the guest asked for what it may not */
};

/* A request from the ring until its status is written. */
struct blk_request {
	uint16_t queue, head;
	uint32_t type;          /* the driver's, VIRTIO_BLK_T_* */
	enum blk_op op;         /* the step under way */
	bool zeroes;            /* BLK_WRITE writes zeroes, not segments */
	uint8_t retries;        /* of a step that the kernel wants tried again */
	uint8_t *status;        /* the chain's last byte, in guest memory */
	uint32_t status_at;     /* its offset in the writable part */
	uint32_t written;       /* bytes put into the writable part, from its start on */
	uint64_t offset, left;  /* in the file, bytes: where the next step goes on, and how many there are to do */
	struct iovec *segments; /* [VIRTIO_BLK_SEGMENTS_MAX]: the data in guest memory; points into blk->segments */
	unsigned segment, segment_count;            /* the first that is not done */
	struct iovec part;                          /* a segment that is too long for one step */
	struct range ranges[VIRTIO_BLK_RANGES_MAX]; /* of discard and write zeroes; bytes */
	unsigned range, range_count;                /* the one under way */
};

struct virtio_blk {
	struct virtio_device device; /* first */
	struct blk_file file;
	struct blk_io io;
	char id[VIRTIO_BLK_ID_SIZE]; /* NUL-padded */
	uint32_t step_max;
	/* the rest is under the device's lock */
	bool write_through_chosen; /* the driver has written writeback = 0 */
	bool zero_range_missing;   /* FALLOC_FL_ZERO_RANGE was refused: zeroes are written */
	bool size_known;           /* size_now was asked in this turn */
	uint64_t size_now;
	struct blk_request *requests; /* [VIRTIO_BLK_REQUESTS_MAX]; the index is the engine's tag */
	struct iovec *segments;       /* [VIRTIO_BLK_REQUESTS_MAX * VIRTIO_BLK_SEGMENTS_MAX] */
	uint16_t *free;               /* a stack of indices of requests */
	unsigned free_count;
	uint32_t stalled; /* a bit for each queue that waits for a free request */
	uint32_t pushed;  /* a bit for each queue that an interrupt may be due for */
	uint8_t *zero_buffer;
	struct iovec zeroes[VIRTIO_BLK_ZERO_SEGMENTS];
	struct virtq_chain chain; /* the one that is being taken apart */
	struct blk_counters counters[BLK_KINDS];
};

/*
 * Opens and locks the disk and makes the device; its watch descriptor is in device.watch_fds. option ("--blk path=disk.img") starts every message and is
 * borrowed, as log (may be NULL) is; options and what they point to are not kept. Errors: see blk_file_open() and blk_io_init(); EXIT_STATUS_USAGE
 * for an id that is too long. On failure nothing is left behind. Main thread.
 */
int virtio_blk_init(struct virtio_blk *blk, const struct virtio_blk_options *options, const char *option,
		    const struct log *log, struct error *err);

/* Ends what is in flight, closes and unlocks the disk. It does not flush it: that is the guest's. Takes NULL, a zeroed device and a released one. */
void virtio_blk_release(struct virtio_blk *blk);

#endif
