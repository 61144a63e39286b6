/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_mem.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/parse.h"
#include "vmm/base/range.h"

/* §5.15.3 */
#define FEATURE_ACPI_PXM               (UINT64_C(1) << 0)
#define FEATURE_UNPLUGGED_INACCESSIBLE (UINT64_C(1) << 1)

enum { REQUESTS_AT_ONCE = 64, RESPONSE_SIZE = 10 };

_Static_assert(sizeof(struct virtio_mem_config) == 56 && sizeof(struct virtio_mem_req) == 24 &&
		       sizeof(struct virtio_mem_resp) == RESPONSE_SIZE,
	       "as in §5.15.4 and §5.15.6");

/* Blocks first to first + count - 1. */
struct blocks {
	uint64_t first, count;
};

static bool is_plugged(const struct virtio_mem *mem, uint64_t block)
{
	return (mem->plugged[block / 64] >> (block % 64) & 1) != 0;
}

static uint64_t count_plugged(const struct virtio_mem *mem, struct blocks blocks)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < blocks.count; i++)
		count += is_plugged(mem, blocks.first + i);
	return count;
}

static void set_plugged(struct virtio_mem *mem, struct blocks blocks, bool plugged)
{
	uint64_t before = count_plugged(mem, blocks), after = plugged ? blocks.count : 0;

	for (uint64_t i = blocks.first; i < blocks.first + blocks.count; i++) {
		uint64_t bit = UINT64_C(1) << (i % 64);

		mem->plugged[i / 64] = plugged ? mem->plugged[i / 64] | bit : mem->plugged[i / 64] & ~bit;
	}
	counter_set(&mem->plugged_bytes,
		    virtio_mem_plugged(mem) + after * mem->options.block_size - before * mem->options.block_size);
}

/* The border: the blocks that a request speaks of, or false unless they are whole blocks, at least one, of the region. */
static bool blocks_from(const struct virtio_mem *mem, uint64_t address, uint16_t count, struct blocks *blocks)
{
	uint64_t offset = address - mem->options.gpa;

	if (address < mem->options.gpa || offset % mem->options.block_size != 0 || count == 0)
		return false;
	*blocks = (struct blocks){offset / mem->options.block_size, count};
	return blocks->first < mem->block_count && count <= mem->block_count - blocks->first;
}

static int discard(struct virtio_mem *mem, struct blocks blocks)
{
	uint64_t size = mem->options.block_size;
	int code = mem->options.discard(mem->options.context, blocks.first * size, blocks.count * size);

	if (code < 0 && mem->device.log != NULL)
		log_limited(mem->device.log, &mem->device.log_limit, LOG_WARN,
			    "%s: cannot give back %" PRIu64 " MiB: %s", mem->options.option, blocks.count * size / MIB,
			    strerror(-code));
	return code;
}

/* ---- the requests (§5.15.6.2): each returns the type of its response */

static uint16_t plug(struct virtio_mem *mem, struct blocks blocks)
{
	uint64_t bytes = blocks.count * mem->options.block_size, requested = counter_read(&mem->requested_bytes);

	if (count_plugged(mem, blocks) != 0)
		return VIRTIO_MEM_RESP_ERROR;
	if (bytes > requested || virtio_mem_plugged(mem) > requested - bytes)
		return VIRTIO_MEM_RESP_NACK;
	set_plugged(mem, blocks, true);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t unplug(struct virtio_mem *mem, struct blocks blocks)
{
	if (count_plugged(mem, blocks) != blocks.count)
		return VIRTIO_MEM_RESP_ERROR;
	if (discard(mem, blocks) < 0)
		return VIRTIO_MEM_RESP_BUSY;
	set_plugged(mem, blocks, false);
	return VIRTIO_MEM_RESP_ACK;
}

/* The whole region is given back, also what was touched without having been plugged. */
static uint16_t unplug_all(struct virtio_mem *mem)
{
	struct blocks all = {0, mem->block_count};

	if (discard(mem, all) < 0)
		return VIRTIO_MEM_RESP_BUSY;
	set_plugged(mem, all, false);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t state(const struct virtio_mem *mem, struct blocks blocks)
{
	uint64_t count = count_plugged(mem, blocks);

	if (count == 0)
		return VIRTIO_MEM_STATE_UNPLUGGED;
	return count == blocks.count ? VIRTIO_MEM_STATE_PLUGGED : VIRTIO_MEM_STATE_MIXED;
}

static struct virtio_mem_resp respond(struct virtio_mem *mem, const struct virtio_mem_req *request)
{
	struct virtio_mem_resp response = {.type = VIRTIO_MEM_RESP_ERROR};
	struct blocks blocks;

	if (request->type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
		response.type = unplug_all(mem);
		return response;
	}
	/* plug, unplug and state requests look the same */
	if (!blocks_from(mem, request->u.plug.addr, request->u.plug.nb_blocks, &blocks))
		return response;
	if (request->type == VIRTIO_MEM_REQ_PLUG) {
		response.type = plug(mem, blocks);
	} else if (request->type == VIRTIO_MEM_REQ_UNPLUG) {
		response.type = unplug(mem, blocks);
	} else if (request->type == VIRTIO_MEM_REQ_STATE) {
		response.type = VIRTIO_MEM_RESP_ACK;
		response.u.state.state = state(mem, blocks);
	}
	return response;
}

/* 1 when a request was served, 0 when there is none, -errno when the driver broke a rule. */
static int serve_one(struct virtio_mem *mem)
{
	struct virtq *queue = &mem->device.queues[0];
	struct virtio_mem_resp response;
	struct virtio_mem_req request;
	struct virtq_chain chain;
	int code = virtq_pop(queue, &chain);

	if (code <= 0)
		return code;
	if (virtq_read(&chain, 0, &request, sizeof(request)) != sizeof(request) || chain.writable_bytes < RESPONSE_SIZE)
		return -EPROTO;
	response = respond(mem, &request);
	counter_add(&mem->requests, 1);
	counter_add(&mem->refused, response.type != VIRTIO_MEM_RESP_ACK);
	virtq_push(queue, chain.head, (uint32_t)virtq_write(&chain, 0, &response, RESPONSE_SIZE));
	return 1;
}

static void kick(struct virtio_device *device, unsigned index)
{
	struct virtio_mem *mem = (struct virtio_mem *)device;
	int served, code;

	for (served = 0; served < REQUESTS_AT_ONCE; served++) {
		code = serve_one(mem);
		if (code < 0) {
			virtio_needs_reset(device, "the driver has sent a request that is none");
			return;
		}
		if (code == 0 && !virtq_enable_kicks(&device->queues[index]))
			break;
	}
	virtio_interrupt(device, index);
	if (served == REQUESTS_AT_ONCE)
		virtio_kick_again(device, index);
}

/* §5.15.4. Nothing here changes under the driver's eyes but the sizes, and those are read under the lock. */
static void read_config(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size)
{
	const struct virtio_mem *mem = (const struct virtio_mem *)device;
	const struct virtio_mem_config config = {
		.block_size = mem->options.block_size,
		.node_id = mem->options.node,
		.addr = mem->options.gpa,
		.region_size = mem->options.size,
		.usable_region_size = mem->options.size,
		.plugged_size = virtio_mem_plugged(mem),
		.requested_size = counter_read(&mem->requested_bytes),
	};

	memcpy(bytes, (const uint8_t *)&config + offset, size);
}

static const struct counter_field FIELDS[] = {
	{"plugged", offsetof(struct virtio_mem, plugged_bytes), COUNTER_GAUGE, UNIT_BYTES,
	 "Memory that the guest has plugged"},
	{"requested", offsetof(struct virtio_mem, requested_bytes), COUNTER_GAUGE, UNIT_BYTES,
	 "Memory that the guest is asked to have plugged"},
	{"requests", offsetof(struct virtio_mem, requests), COUNTER_TOTAL, UNIT_NONE, "Requests of the driver's"},
	{"refused", offsetof(struct virtio_mem, refused), COUNTER_TOTAL, UNIT_NONE,
	 "Requests of the driver's that were not granted"},
};
static const struct counter_table COUNTERS = {NULL, FIELDS, sizeof(FIELDS) / sizeof(FIELDS[0])};

static void counters(const struct virtio_device *device, const struct counter_sink *sink)
{
	counter_show(sink, &COUNTERS, device, NULL);
}

/* No reset: what is plugged stays so (§5.15.6.2 knows no such event); a driver that starts anew unplugs all. */
static const struct virtio_class MEM_CLASS = {
	.name = "mem",
	.id = VIRTIO_ID_MEM,
	.config_size = sizeof(struct virtio_mem_config),
	.wide_config = true, /* the sizes */
	.read_config = read_config,
	.kick = kick,
	.counters = counters,
};

/* ---- the main thread's side */

static int check_requested(const struct virtio_mem *mem, uint64_t bytes, struct error *err)
{
	if (bytes > mem->options.size)
		return error_set(
			err, EXIT_STATUS_CONFIG, ERANGE,
			"%s: %s of memory are requested and the region has %s; ask for less or start with more",
			mem->options.option, size_text(bytes).text, size_text(mem->options.size).text);
	if (bytes % mem->options.block_size != 0)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "%s: the requested size %s is no multiple of %s; use one", mem->options.option,
				 size_text(bytes).text, size_text(mem->options.block_size).text);
	return 0;
}

static int check_options(const struct virtio_mem *mem, struct error *err)
{
	const struct virtio_mem_options *options = &mem->options;
	uint64_t block = options->block_size;

	if (block < VIRTIO_MEM_BLOCK_SIZE || (block & (block - 1)) != 0)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL, "%s: blocks of %s; use a power of two from 2M on",
				 options->option, size_text(block).text);
	if (options->size == 0 || options->gpa % block != 0 || options->size % block != 0 ||
	    !range_is_valid((struct range){options->gpa, options->size}))
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "%s: %s at 0x%" PRIx64 " are not whole blocks of %s; use a multiple", options->option,
				 size_text(options->size).text, options->gpa, size_text(block).text);
	return check_requested(mem, options->requested, err);
}

int virtio_mem_init(struct virtio_mem *mem, const struct virtio_mem_options *options, struct error *err)
{
	int code;

	memset(mem, 0, sizeof(*mem));
	mem->options = *options;
	if (mem->options.block_size == 0)
		mem->options.block_size = VIRTIO_MEM_BLOCK_SIZE;
	code = check_options(mem, err);
	if (code < 0)
		return code;
	counter_set(&mem->requested_bytes, options->requested);
	mem->block_count = options->size / mem->options.block_size;
	mem->plugged = calloc((mem->block_count + 63) / 64, sizeof(*mem->plugged));
	code = mem->plugged == NULL
		       ? -ENOMEM
		       : virtio_init(&mem->device, &MEM_CLASS, 1, FEATURE_ACPI_PXM | FEATURE_UNPLUGGED_INACCESSIBLE);
	if (code < 0) {
		virtio_mem_release(mem);
		return error_set(err, EXIT_STATUS_HOST, -code, "%s: %s", options->option, strerror(-code));
	}
	mem->device.option = options->option;
	mem->device.log = options->log;
	return 0;
}

void virtio_mem_release(struct virtio_mem *mem)
{
	if (mem == NULL)
		return;
	virtio_release(&mem->device);
	free(mem->plugged);
	memset(mem, 0, sizeof(*mem));
}

int virtio_mem_set_requested(struct virtio_mem *mem, uint64_t bytes, struct error *err)
{
	int code = check_requested(mem, bytes, err);

	if (code < 0)
		return code;
	pthread_mutex_lock(&mem->device.lock);
	if (counter_read(&mem->requested_bytes) != bytes) {
		counter_set(&mem->requested_bytes, bytes);
		virtio_config_changed(&mem->device);
	}
	pthread_mutex_unlock(&mem->device.lock);
	return 0;
}

uint64_t virtio_mem_plugged(const struct virtio_mem *mem)
{
	return counter_read(&mem->plugged_bytes);
}
