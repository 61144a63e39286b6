/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/blk_request.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	HEADER_SIZE = 16,    /* type, reserved, sector: 4, 4 and 8 bytes */
	RANGE_SIZE = 16,     /* struct virtio_blk_discard_write_zeroes: sector, num_sectors, flags: 8, 4 and 4 */
	FLAG_UNMAP = 1,      /* of a range */
	REQUEST_COST = 4096, /* what a request counts for, beside its data */
	RETRIES_MAX = 16,
};

/* What a driver that keeps to size_max and seg_max can ask for at once. */
#define DATA_MAX ((uint64_t)VIRTIO_BLK_SEGMENTS_MAX * VIRTIO_BLK_SEGMENT_SIZE_MAX)

bool blk_writes_back(const struct virtio_blk *blk)
{
	return (blk->device.accepted & VIRTIO_BLK_FEATURE_FLUSH) != 0 && !blk->write_through_chosen;
}

static struct blk_counters *counters_of(struct virtio_blk *blk, const struct blk_request *request)
{
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
		return &blk->counters[BLK_KIND_READ];
	case VIRTIO_BLK_T_OUT:
		return &blk->counters[BLK_KIND_WRITE];
	case VIRTIO_BLK_T_FLUSH:
		return &blk->counters[BLK_KIND_FLUSH];
	case VIRTIO_BLK_T_DISCARD:
		return &blk->counters[BLK_KIND_DISCARD];
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return &blk->counters[BLK_KIND_ZERO];
	default:
		return &blk->counters[BLK_KIND_OTHER];
	}
}

/* ---- the end of a request */

/*
 * §2.7.8.2: the length in the used ring promises so many bytes from the start of the writable part on. The status is its last byte, so it counts only
 * when all before it was written.
 */
static void finish(struct virtio_blk *blk, struct blk_request *request, uint8_t status)
{
	uint32_t written = request->written;

	*request->status = status;
	if (written == request->status_at)
		written++;
	virtq_push(&blk->device.queues[request->queue], request->head, written);
	blk->pushed |= UINT32_C(1) << request->queue;
	counter_add(&counters_of(blk, request)->requests, 1);
	blk->free[blk->free_count++] = (uint16_t)(request - blk->requests);
}

static const char *type_name(uint32_t type)
{
	switch (type) {
	case VIRTIO_BLK_T_IN:
		return "read";
	case VIRTIO_BLK_T_OUT:
		return "write";
	case VIRTIO_BLK_T_FLUSH:
		return "flush";
	case VIRTIO_BLK_T_DISCARD:
		return "discard";
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return "zero";
	default:
		return "serve";
	}
}

/* The disk failed. */
static void fail(struct virtio_blk *blk, struct blk_request *request, const char *why)
{
	struct virtio_device *device = &blk->device;

	if (device->log != NULL)
		log_limited(device->log, &device->log_limit, LOG_WARN,
			    "%s: cannot %s at byte %" PRIu64 ": %s; the guest gets an I/O error", device->option,
			    type_name(request->type), request->offset, why);
	counter_add(&counters_of(blk, request)->errors, 1);
	finish(blk, request, VIRTIO_BLK_S_IOERR);
}

/* The guest asked for what it may not. */
static void refuse(struct virtio_blk *blk, struct blk_request *request, uint8_t status, const char *why)
{
	struct virtio_device *device = &blk->device;

	if (device->log != NULL)
		log_limited(device->log, &device->log_limit, LOG_INFO,
			    "%s: the guest's request (type %u) is refused: %s", device->option, request->type, why);
	counter_add(&counters_of(blk, request)->refused, 1);
	finish(blk, request, status);
}

/* ---- steps */

/* Whole segments up to the step's limit, or a piece of one. */
static void gather(struct virtio_blk *blk, struct blk_request *request, struct blk_step *step)
{
	const struct iovec *first = &request->segments[request->segment];
	uint64_t total = 0;
	unsigned count = 0;

	while (request->segment + count < request->segment_count && total + first[count].iov_len <= blk->step_max)
		total += first[count++].iov_len;
	step->iov = first;
	step->count = count;
	if (count > 0)
		return;
	request->part = (struct iovec){first->iov_base, blk->step_max};
	step->iov = &request->part;
	step->count = 1;
}

static void gather_zeroes(struct virtio_blk *blk, struct blk_request *request, struct blk_step *step)
{
	uint64_t size = request->left < blk->step_max ? request->left : blk->step_max;

	step->iov = blk->zeroes;
	step->count = (unsigned)(size / VIRTIO_BLK_ZERO_BUFFER);
	if (step->count > 0)
		return;
	request->part = (struct iovec){blk->zero_buffer, size};
	step->iov = &request->part;
	step->count = 1;
}

static void start_step(struct virtio_blk *blk, struct blk_request *request)
{
	struct blk_step step = {.op = request->op, .offset = request->offset, .size = request->left};

	if (request->op == BLK_WRITE && request->zeroes)
		gather_zeroes(blk, request, &step);
	else if (request->op == BLK_READ || request->op == BLK_WRITE)
		gather(blk, request, &step);
	blk_io_start(&blk->io, (uint32_t)(request - blk->requests), &step);
}

static void start(struct virtio_blk *blk, struct blk_request *request, enum blk_op op)
{
	request->op = op;
	request->retries = 0;
	start_step(blk, request);
}

/* All data is where it belongs. Without a write-back cache, it must be on the disk before the driver hears of it (§5.2.6.2). */
static void conclude(struct virtio_blk *blk, struct blk_request *request)
{
	if (request->type != VIRTIO_BLK_T_IN && !blk_writes_back(blk))
		start(blk, request, BLK_SYNC);
	else
		finish(blk, request, VIRTIO_BLK_S_OK);
}

/* Discard, write zeroes: the next range that is not empty. */
static void start_range(struct virtio_blk *blk, struct blk_request *request)
{
	while (request->range < request->range_count && request->ranges[request->range].size == 0)
		request->range++;
	if (request->range == request->range_count) {
		conclude(blk, request);
		return;
	}
	request->offset = request->ranges[request->range].start;
	request->left = request->ranges[request->range].size;
	if (request->zeroes && blk->zero_range_missing)
		start(blk, request, BLK_WRITE);
	else
		start(blk, request, request->zeroes ? BLK_ZERO : BLK_PUNCH);
}

static void next_range(struct virtio_blk *blk, struct blk_request *request)
{
	request->range++;
	start_range(blk, request);
}

/* A range that was served in one call. */
static void range_done(struct virtio_blk *blk, struct blk_request *request)
{
	counter_add(&counters_of(blk, request)->bytes, request->left);
	next_range(blk, request);
}

static void moved(struct virtio_blk *blk, struct blk_request *request, uint64_t bytes)
{
	counter_add(&counters_of(blk, request)->bytes, bytes);
	request->offset += bytes;
	request->left -= bytes;
	if (request->type == VIRTIO_BLK_T_IN)
		request->written += (uint32_t)bytes;
	while (!request->zeroes && bytes > 0) {
		struct iovec *segment = &request->segments[request->segment];

		if (bytes < segment->iov_len) {
			segment->iov_base = (uint8_t *)segment->iov_base + bytes;
			segment->iov_len -= bytes;
			break;
		}
		bytes -= segment->iov_len;
		request->segment++;
	}
	if (request->left > 0)
		start(blk, request, request->op);
	else if (request->zeroes)
		next_range(blk, request);
	else
		conclude(blk, request);
}

/* What cannot be punched can be discarded, perhaps. It is a hint (§5.2.6.2: MAY), so a device that can do neither has served it. */
static void discard_instead(struct virtio_blk *blk, struct blk_request *request)
{
	int code = blk_file_discard(&blk->file, request->offset, request->left);

	if (code < 0 && code != -EOPNOTSUPP)
		fail(blk, request, strerror(-code));
	else
		range_done(blk, request);
}

/* fallocate(2) did not work. What was asked for can be had in a slower way. */
static void range_refused(struct virtio_blk *blk, struct blk_request *request, int code)
{
	bool unsupported = code == EOPNOTSUPP || code == ENOSYS;

	if (unsupported && request->type == VIRTIO_BLK_T_DISCARD) {
		discard_instead(blk, request);
	} else if (request->type == VIRTIO_BLK_T_WRITE_ZEROES && request->op == BLK_PUNCH &&
		   (unsupported || code == EINVAL)) {
		request->zeroes = true;
		start_range(blk, request);
	} else if (request->op == BLK_ZERO && (unsupported || code == EINVAL)) {
		blk->zero_range_missing = blk->zero_range_missing || unsupported;
		start(blk, request, BLK_WRITE);
	} else {
		fail(blk, request, strerror(code));
	}
}

void blk_request_step_done(struct virtio_blk *blk, uint32_t tag, int32_t value)
{
	struct blk_request *request = &blk->requests[tag];

	if ((value == -EINTR || value == -EAGAIN) && request->retries++ < RETRIES_MAX) {
		start_step(blk, request);
		return;
	}
	switch (request->op) {
	case BLK_READ:
	case BLK_WRITE:
		if (value > 0 && (uint64_t)value <= request->left)
			moved(blk, request, (uint64_t)value);
		else
			fail(blk, request, value < 0 ? strerror(-value) : "the file ends before");
		break;
	case BLK_SYNC:
		if (value < 0)
			fail(blk, request, strerror(-value));
		else
			finish(blk, request, VIRTIO_BLK_S_OK);
		break;
	default:
		if (value < 0)
			range_refused(blk, request, -value);
		else
			range_done(blk, request);
		break;
	}
}

/* ---- the start of a request */

/* The buffers without skip bytes at their start and without what is behind size bytes more. Their number, or -1 for more than fit. */
static int slice(const struct iovec *iov, unsigned count, uint64_t skip, uint64_t size, struct iovec *out)
{
	unsigned filled = 0;

	for (unsigned i = 0; i < count && size > 0; i++) {
		uint64_t length = iov[i].iov_len;

		if (skip >= length) {
			skip -= length;
			continue;
		}
		if (filled == VIRTIO_BLK_SEGMENTS_MAX)
			return -1;
		length = length - skip < size ? length - skip : size;
		out[filled++] = (struct iovec){(uint8_t *)iov[i].iov_base + skip, length};
		size -= length;
		skip = 0;
	}
	return (int)filled;
}

/* Whether the file has lost its end since it was opened, and the range with it. Asked once in a turn, and only when something writes. */
static bool is_cut_off(struct virtio_blk *blk, uint64_t end)
{
	if (!blk->size_known) {
		blk->size_now = blk_file_size_now(&blk->file);
		blk->size_known = true;
	}
	return end > blk->size_now;
}

static uint64_t begin_transfer(struct virtio_blk *blk, struct blk_request *request, uint64_t sector)
{
	const struct virtq_chain *chain = &blk->chain;
	bool read = request->type == VIRTIO_BLK_T_IN;
	uint64_t size = read ? chain->writable_bytes - 1 : chain->readable_bytes - HEADER_SIZE;
	uint64_t sectors = blk->file.size / VIRTIO_BLK_SECTOR;
	int count;

	if (size % VIRTIO_BLK_SECTOR != 0 || size > DATA_MAX) {
		refuse(blk, request, VIRTIO_BLK_S_IOERR, "not whole sectors, or too many");
		return 0;
	}
	if (sector > sectors || size / VIRTIO_BLK_SECTOR > sectors - sector) {
		refuse(blk, request, VIRTIO_BLK_S_IOERR, "behind the end of the disk");
		return 0;
	}
	count = read ? slice(chain->iov + chain->readable, chain->writable, 0, size, request->segments)
		     : slice(chain->iov, chain->readable, HEADER_SIZE, size, request->segments);
	if (count < 0) {
		refuse(blk, request, VIRTIO_BLK_S_IOERR, "more than seg_max segments");
		return 0;
	}
	request->segment_count = (unsigned)count;
	request->offset = sector * VIRTIO_BLK_SECTOR;
	request->left = size;
	if (size == 0)
		finish(blk, request, VIRTIO_BLK_S_OK);
	else if (!read && is_cut_off(blk, request->offset + size))
		fail(blk, request, "the file was cut short");
	else
		start(blk, request, read ? BLK_READ : BLK_WRITE);
	return size;
}

/* One range of a discard or write zeroes request; the status if it is not good. */
static uint8_t parse_range(const struct virtio_blk *blk, struct blk_request *request, const uint8_t *bytes)
{
	bool discard = request->type == VIRTIO_BLK_T_DISCARD;
	uint64_t sectors = blk->file.size / VIRTIO_BLK_SECTOR, sector;
	uint32_t count, flags;

	memcpy(&sector, bytes, 8);
	memcpy(&count, bytes + 8, 4);
	memcpy(&flags, bytes + 12, 4);
	/* §5.2.6.2: unknown flags, and unmap in a discard, are unsupported */
	if ((flags & ~(uint32_t)FLAG_UNMAP) != 0 || (discard && flags != 0))
		return VIRTIO_BLK_S_UNSUPP;
	if (count > (discard ? VIRTIO_BLK_DISCARD_SECTORS_MAX : VIRTIO_BLK_ZEROES_SECTORS_MAX) || sector > sectors ||
	    count > sectors - sector)
		return VIRTIO_BLK_S_IOERR;
	/* without unmap, the space stays allocated */
	request->zeroes = !discard && (flags == 0 || !blk->file.punches);
	request->ranges[request->range_count++] =
		(struct range){sector * VIRTIO_BLK_SECTOR, (uint64_t)count * VIRTIO_BLK_SECTOR};
	return VIRTIO_BLK_S_OK;
}

static uint64_t begin_ranges(struct virtio_blk *blk, struct blk_request *request)
{
	const struct virtq_chain *chain = &blk->chain;
	bool discard = request->type == VIRTIO_BLK_T_DISCARD;
	uint64_t size = chain->readable_bytes - HEADER_SIZE;
	uint64_t most = RANGE_SIZE * (discard ? (uint64_t)VIRTIO_BLK_RANGES_MAX : 1);
	uint64_t end = 0, zeroes = 0;

	if (size == 0 || size % RANGE_SIZE != 0 || size > most) {
		refuse(blk, request, VIRTIO_BLK_S_IOERR, "not whole ranges, or too many");
		return 0;
	}
	for (uint64_t at = 0; at < size; at += RANGE_SIZE) {
		uint8_t bytes[RANGE_SIZE], status;

		virtq_read(chain, HEADER_SIZE + at, bytes, sizeof(bytes));
		status = parse_range(blk, request, bytes);
		if (status != VIRTIO_BLK_S_OK) {
			refuse(blk, request, status, "a bad range");
			return 0;
		}
	}
	for (unsigned i = 0; i < request->range_count; i++) {
		end = range_end(request->ranges[i]) > end ? range_end(request->ranges[i]) : end;
		zeroes += request->zeroes ? request->ranges[i].size : 0;
	}
	if (is_cut_off(blk, end))
		fail(blk, request, "the file was cut short");
	else
		start_range(blk, request);
	return zeroes;
}

static void begin_get_id(struct virtio_blk *blk, struct blk_request *request)
{
	uint64_t room = blk->chain.writable_bytes - 1; /* the last byte is the status */

	request->written =
		(uint32_t)virtq_write(&blk->chain, 0, blk->id, room < sizeof(blk->id) ? (size_t)room : sizeof(blk->id));
	finish(blk, request, VIRTIO_BLK_S_OK);
}

static uint64_t dispatch(struct virtio_blk *blk, struct blk_request *request, uint64_t sector)
{
	uint64_t accepted = blk->device.accepted;

	switch (request->type) {
	case VIRTIO_BLK_T_OUT:
		if (blk->file.read_only) {
			refuse(blk, request, VIRTIO_BLK_S_IOERR, "the disk is read-only");
			return 0;
		}
		return begin_transfer(blk, request, sector);
	case VIRTIO_BLK_T_IN:
		return begin_transfer(blk, request, sector);
	case VIRTIO_BLK_T_FLUSH:
		start(blk, request, BLK_SYNC);
		return 0;
	case VIRTIO_BLK_T_GET_ID:
		begin_get_id(blk, request);
		return 0;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		if (blk->file.read_only) {
			refuse(blk, request, VIRTIO_BLK_S_IOERR, "the disk is read-only");
			return 0;
		}
		if ((accepted & (request->type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_FEATURE_DISCARD
								       : VIRTIO_BLK_FEATURE_WRITE_ZEROES)) == 0)
			break;
		return begin_ranges(blk, request);
	default:
		break;
	}
	refuse(blk, request, VIRTIO_BLK_S_UNSUPP, "not a type that was negotiated");
	return 0;
}

int64_t blk_request_begin(struct virtio_blk *blk, unsigned queue)
{
	const struct virtq_chain *chain = &blk->chain;
	const struct iovec *last;
	struct blk_request *request;
	uint8_t header[HEADER_SIZE];
	uint64_t sector;

	/* §2.7.5.1: no chain is longer than 2^32 bytes */
	if (chain->writable == 0 || chain->readable_bytes < HEADER_SIZE || chain->writable_bytes > UINT32_MAX)
		return -EPROTO;
	last = &chain->iov[chain->readable + chain->writable - 1];
	request = &blk->requests[blk->free[--blk->free_count]];
	*request = (struct blk_request){
		.queue = (uint16_t)queue,
		.head = chain->head,
		.segments = request->segments,
		.status = (uint8_t *)last->iov_base + last->iov_len - 1,
		.status_at = (uint32_t)(chain->writable_bytes - 1),
	};
	virtq_read(chain, 0, header, sizeof(header));
	memcpy(&request->type, header, 4);
	memcpy(&sector, header + 8, 8);
	return (int64_t)(REQUEST_COST + dispatch(blk, request, sector));
}
