/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/blk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/blk_request.h"

/* §5.2.4, struct virtio_blk_config up to the fields of secure erase, which is not offered. */
enum {
	CONFIG_CAPACITY = 0,
	CONFIG_SIZE_MAX = 8,
	CONFIG_SEG_MAX = 12,
	CONFIG_BLK_SIZE = 20,
	CONFIG_PHYSICAL_BLOCK_EXP = 24,
	CONFIG_MIN_IO_SIZE = 26,
	CONFIG_OPT_IO_SIZE = 28,
	CONFIG_WRITEBACK = 32,
	CONFIG_NUM_QUEUES = 34,
	CONFIG_MAX_DISCARD_SECTORS = 36,
	CONFIG_MAX_DISCARD_SEG = 40,
	CONFIG_DISCARD_SECTOR_ALIGNMENT = 44,
	CONFIG_MAX_WRITE_ZEROES_SECTORS = 48,
	CONFIG_MAX_WRITE_ZEROES_SEG = 52,
	CONFIG_WRITE_ZEROES_MAY_UNMAP = 56,
	CONFIG_SIZE = 60,
};

static struct virtio_blk *from_device(struct virtio_device *device)
{
	return (struct virtio_blk *)(void *)device; /* the first member */
}

/* ---- configuration */

static void put_u16(uint8_t *at, uint64_t value)
{
	uint16_t field = value < UINT16_MAX ? (uint16_t)value : UINT16_MAX;

	memcpy(at, &field, sizeof(field));
}

static void put_u32(uint8_t *at, uint64_t value)
{
	uint32_t field = value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;

	memcpy(at, &field, sizeof(field));
}

static void read_config(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size)
{
	const struct virtio_blk *blk = from_device(device);
	const struct blk_file *file = &blk->file;
	uint64_t capacity = file->size / VIRTIO_BLK_SECTOR;
	uint8_t config[CONFIG_SIZE] = {0};

	memcpy(&config[CONFIG_CAPACITY], &capacity, sizeof(capacity));
	put_u32(&config[CONFIG_SIZE_MAX], VIRTIO_BLK_SEGMENT_SIZE_MAX);
	put_u32(&config[CONFIG_SEG_MAX], VIRTIO_BLK_SEGMENTS_MAX);
	put_u32(&config[CONFIG_BLK_SIZE], file->logical);
	config[CONFIG_PHYSICAL_BLOCK_EXP] = (uint8_t)__builtin_ctz(file->physical / file->logical);
	put_u16(&config[CONFIG_MIN_IO_SIZE], file->io_min / file->logical);
	put_u32(&config[CONFIG_OPT_IO_SIZE], file->io_best / file->logical);
	config[CONFIG_WRITEBACK] = blk_writes_back(blk);
	put_u16(&config[CONFIG_NUM_QUEUES], device->queue_count);
	put_u32(&config[CONFIG_MAX_DISCARD_SECTORS], VIRTIO_BLK_DISCARD_SECTORS_MAX);
	put_u32(&config[CONFIG_MAX_DISCARD_SEG], VIRTIO_BLK_RANGES_MAX);
	put_u32(&config[CONFIG_DISCARD_SECTOR_ALIGNMENT], file->physical / VIRTIO_BLK_SECTOR);
	put_u32(&config[CONFIG_MAX_WRITE_ZEROES_SECTORS], VIRTIO_BLK_ZEROES_SECTORS_MAX);
	put_u32(&config[CONFIG_MAX_WRITE_ZEROES_SEG], 1);
	config[CONFIG_WRITE_ZEROES_MAY_UNMAP] = file->punches;
	memcpy(bytes, &config[offset], size);
}

/* Only writeback can be written, and only when that was negotiated. Anything but 0 is 1. */
static void write_config(struct virtio_device *device, size_t offset, const uint8_t *bytes, size_t size)
{
	struct virtio_blk *blk = from_device(device);

	if ((device->accepted & VIRTIO_BLK_FEATURE_CONFIG_WCE) != 0 && offset <= CONFIG_WRITEBACK &&
	    CONFIG_WRITEBACK - offset < size)
		blk->write_through_chosen = bytes[CONFIG_WRITEBACK - offset] == 0;
}

static uint64_t features(const struct virtio_blk *blk)
{
	uint64_t offered = VIRTIO_BLK_FEATURE_SIZE_MAX | VIRTIO_BLK_FEATURE_SEG_MAX | VIRTIO_BLK_FEATURE_BLK_SIZE |
			   VIRTIO_BLK_FEATURE_TOPOLOGY | VIRTIO_BLK_FEATURE_FLUSH;

	if (blk->device.queue_count > 1)
		offered |= VIRTIO_BLK_FEATURE_MQ;
	if (blk->file.read_only)
		return offered | VIRTIO_BLK_FEATURE_RO;
	offered |= VIRTIO_BLK_FEATURE_CONFIG_WCE | VIRTIO_BLK_FEATURE_WRITE_ZEROES;
	if (blk->file.punches)
		offered |= VIRTIO_BLK_FEATURE_DISCARD;
	return offered;
}

/* ---- requests */

static void free_all_requests(struct virtio_blk *blk)
{
	blk->free_count = 0;
	/* the lowest on top: the ones that were used before are in the processor's cache */
	for (unsigned i = VIRTIO_BLK_REQUESTS_MAX; i-- > 0;)
		blk->free[blk->free_count++] = (uint16_t)i;
}

/* Takes what is in a queue, as much as a turn allows. */
static void take(struct virtio_blk *blk, unsigned index)
{
	struct virtq *queue = &blk->device.queues[index];
	int64_t bytes = 0;

	blk->size_known = false;
	virtq_disable_kicks(queue);
	for (unsigned taken = 0; taken < VIRTIO_BLK_TURN_REQUESTS && bytes < VIRTIO_BLK_TURN_BYTES; taken++) {
		int64_t code;

		if (blk->free_count == 0) {
			blk->stalled |= UINT32_C(1) << index;
			return;
		}
		code = virtq_pop(queue, &blk->chain);
		if (code == 0 && !virtq_enable_kicks(queue))
			return;
		if (code == 0)
			continue;
		if (code > 0)
			code = blk_request_begin(blk, index);
		if (code < 0) {
			virtio_needs_reset(&blk->device, "a broken ring or request");
			return;
		}
		bytes += code;
	}
	virtio_kick_again(&blk->device, index);
}

/* Gives the kernel what was started, deals with what has ended, and tells the driver. */
static void settle(struct virtio_blk *blk)
{
	struct virtio_device *device = &blk->device;
	struct blk_result result;
	bool more;

	do {
		if (blk_io_submit(&blk->io) < 0) {
			virtio_needs_reset(device, "the host's io_uring has failed");
			break;
		}
		more = false;
		while (blk_io_next(&blk->io, &result)) {
			blk_request_step_done(blk, result.tag, result.value);
			more = true;
		}
	} while (more);
	for (unsigned i = 0; i < device->queue_count; i++) {
		if ((blk->pushed >> i & 1) != 0)
			virtio_interrupt(device, i);
		if ((blk->stalled >> i & 1) != 0 && blk->free_count > 0) {
			blk->stalled &= ~(UINT32_C(1) << i);
			virtio_kick_again(device, i);
		}
	}
	blk->pushed = 0;
}

static void kick(struct virtio_device *device, unsigned queue)
{
	struct virtio_blk *blk = from_device(device);

	take(blk, queue);
	settle(blk);
}

static void readable(struct virtio_device *device, int fd)
{
	struct virtio_blk *blk = from_device(device);

	(void)fd;
	blk_io_acknowledge(&blk->io);
	pthread_mutex_lock(&device->lock);
	settle(blk);
	pthread_mutex_unlock(&device->lock);
}

static void reset(struct virtio_device *device)
{
	struct virtio_blk *blk = from_device(device);

	if (blk->io.depth > 0)
		blk_io_cancel(&blk->io);
	if (blk->free != NULL)
		free_all_requests(blk);
	blk->stalled = 0;
	blk->pushed = 0;
	blk->write_through_chosen = false;
}

/* ---- life */

static const struct counter_field FIELDS[] = {
	{"requests", offsetof(struct blk_counters, requests), COUNTER_TOTAL, UNIT_NONE, "Requests that have ended"},
	{"transferred", offsetof(struct blk_counters, bytes), COUNTER_TOTAL, UNIT_BYTES,
	 "Bytes read, written, zeroed or given back"},
	{"errors", offsetof(struct blk_counters, errors), COUNTER_TOTAL, UNIT_NONE,
	 "Requests at which the disk failed"},
	{"refused", offsetof(struct blk_counters, refused), COUNTER_TOTAL, UNIT_NONE,
	 "Requests for what the guest may not do"},
};
static const struct counter_table COUNTERS = {"operation", FIELDS, sizeof(FIELDS) / sizeof(FIELDS[0])};

static void counters(const struct virtio_device *device, const struct counter_sink *sink)
{
	static const char *const KINDS[] = {"read", "write", "flush", "discard", "write_zeroes", "other"};
	const struct virtio_blk *blk = (const struct virtio_blk *)device;

	for (int i = 0; i < BLK_KINDS; i++)
		counter_show(sink, &COUNTERS, &blk->counters[i], KINDS[i]);
}

static const struct virtio_class CLASS = {
	.name = "blk",
	.id = VIRTIO_ID_BLOCK,
	.config_size = CONFIG_SIZE,
	.read_config = read_config,
	.write_config = write_config,
	.reset = reset,
	.kick = kick,
	.readable = readable,
	.counters = counters,
};

/* §5.2.6: an ASCII string of up to 20 bytes; without spaces and the like, it is a name that udev uses as it is. */
static int set_id(struct virtio_blk *blk, const char *id, const char *option, struct error *err)
{
	size_t length = id != NULL ? strlen(id) : 0;

	if (length > VIRTIO_BLK_ID_SIZE)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "%s: id=%s has %zu characters; at most %d fit", option,
				 id, length, VIRTIO_BLK_ID_SIZE);
	for (size_t i = 0; i < length; i++) {
		if (id[i] <= ' ' || id[i] > '~' || id[i] == '/')
			return error_set(err, EXIT_STATUS_USAGE, EINVAL,
					 "%s: id=%s: character %zu is not a visible ASCII character, or is '/'", option,
					 id, i + 1);
		blk->id[i] = id[i];
	}
	return 0;
}

static int allocate(struct virtio_blk *blk, const char *option, struct error *err)
{
	/* pages that no request has used yet cost nothing */
	blk->requests = calloc(VIRTIO_BLK_REQUESTS_MAX, sizeof(*blk->requests));
	blk->segments = calloc((size_t)VIRTIO_BLK_REQUESTS_MAX * VIRTIO_BLK_SEGMENTS_MAX, sizeof(*blk->segments));
	blk->free = calloc(VIRTIO_BLK_REQUESTS_MAX, sizeof(*blk->free));
	blk->zero_buffer = calloc(1, VIRTIO_BLK_ZERO_BUFFER);
	if (blk->requests == NULL || blk->segments == NULL || blk->free == NULL || blk->zero_buffer == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "%s: out of memory", option);
	for (unsigned i = 0; i < VIRTIO_BLK_REQUESTS_MAX; i++)
		blk->requests[i].segments = &blk->segments[(size_t)i * VIRTIO_BLK_SEGMENTS_MAX];
	for (unsigned i = 0; i < VIRTIO_BLK_ZERO_SEGMENTS; i++)
		blk->zeroes[i] = (struct iovec){blk->zero_buffer, VIRTIO_BLK_ZERO_BUFFER};
	free_all_requests(blk);
	return 0;
}

int virtio_blk_init(struct virtio_blk *blk, const struct virtio_blk_options *options, const char *option,
		    const struct log *log, struct error *err)
{
	unsigned queues = options->queues == 0 ? 1 : options->queues;
	int code;

	*blk = (struct virtio_blk){.file.fd = -1, .io = {.fd = -1, .event_fd = -1}};
	if (queues > VIRTIO_QUEUES_MAX)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "%s: queues=%u: use 1 to %d", option, queues,
				 VIRTIO_QUEUES_MAX);
	code = virtio_init(&blk->device, &CLASS, queues, 0);
	if (code < 0)
		return error_set(err, EXIT_STATUS_HOST, -code, "%s: cannot make its event descriptors: %s", option,
				 strerror(-code));
	blk->device.option = option;
	blk->device.log = log;
	blk->step_max = options->step_max == 0 ? VIRTIO_BLK_STEP_MAX : options->step_max;
	assert(blk->step_max <= VIRTIO_BLK_STEP_MAX);
	code = set_id(blk, options->id, option, err);
	if (code == 0)
		code = blk_file_open(&blk->file, options->path, options->read_only, option, log, err);
	if (code == 0)
		code = allocate(blk, option, err);
	if (code == 0)
		code = blk_io_init(&blk->io, blk->file.fd, VIRTIO_BLK_REQUESTS_MAX, options->engine, option, log, err);
	if (code < 0)
		goto fail;
	blk->device.offered |= features(blk);
	blk->device.watch_fds[0] = blk->io.event_fd;
	return 0;
fail:
	virtio_blk_release(blk);
	return code;
}

void virtio_blk_release(struct virtio_blk *blk)
{
	if (blk == NULL || blk->device.class == NULL)
		return;
	virtio_release(&blk->device); /* resets: nothing is in flight after it */
	blk->device.watch_fds[0] = -1;
	blk_io_release(&blk->io);
	blk_file_close(&blk->file);
	free(blk->requests);
	free(blk->segments);
	free(blk->free);
	free(blk->zero_buffer);
	*blk = (struct virtio_blk){0};
}
