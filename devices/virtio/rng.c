/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/rng.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { REQUESTS = 0 };

/* Fills the chain from its start, up to the bound; how much that was, or -errno when there was none at all. */
static int fill(const struct virtq_chain *chain)
{
	size_t done = 0;

	for (unsigned i = 0; i < chain->writable && done < VIRTIO_RNG_REQUEST_MAX; i++) {
		const struct iovec *buffer = &chain->iov[chain->readable + i];
		size_t room = VIRTIO_RNG_REQUEST_MAX - done;
		size_t size = buffer->iov_len < room ? buffer->iov_len : room;
		ssize_t got = getrandom(buffer->iov_base, size, GRND_NONBLOCK);

		if (got < 0 && done == 0)
			return -errno;
		if (got < 0)
			break;
		done += (size_t)got;
		/* more than 256 bytes may be cut short by a signal */
		if ((size_t)got < size)
			break;
	}
	return (int)done;
}

static void kick(struct virtio_device *device, unsigned index)
{
	struct virtio_rng *rng = (struct virtio_rng *)device;
	struct virtq *queue = &device->queues[index];
	struct virtq_chain chain;
	int code = 0;

	virtq_disable_kicks(queue);
	/* A request counts for at least 64 bytes: the calls cost too. */
	for (int turn = 0; turn<VIRTIO_RNG_TURN_MAX; turn += code> 64 ? code : 64) {
		code = virtq_pop(queue, &chain);
		if (code == 0 && !virtq_enable_kicks(queue)) {
			virtio_interrupt(device, index);
			return;
		}
		if (code == 0)
			continue;
		/* §5.4.6.1: the driver places no readable buffers here; and a byte or more must fit */
		if (code < 0 || chain.readable > 0 || chain.writable == 0) {
			virtio_needs_reset(device, "a broken request for random bytes");
			return;
		}
		code = fill(&chain);
		if (code == -EINTR) {
			virtq_unpop(queue);
			continue;
		}
		if (code < 0) {
			virtio_needs_reset(device, "the host gives no random bytes");
			return;
		}
		virtq_push(queue, chain.head, (uint32_t)code);
		counter_add(&rng->requests, 1);
		counter_add(&rng->bytes, (uint64_t)code);
	}
	virtio_interrupt(device, index);
	virtio_kick_again(device, index);
}

static const struct counter_field FIELDS[] = {
	{"requests", offsetof(struct virtio_rng, requests), COUNTER_TOTAL, UNIT_NONE, "Requests that were served"},
	{"given", offsetof(struct virtio_rng, bytes), COUNTER_TOTAL, UNIT_BYTES, "Random bytes that the guest got"},
};
static const struct counter_table COUNTERS = {NULL, FIELDS, sizeof(FIELDS) / sizeof(FIELDS[0])};

static void counters(const struct virtio_device *device, const struct counter_sink *sink)
{
	counter_show(sink, &COUNTERS, device, NULL);
}

static const struct virtio_class CLASS = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.kick = kick,
	.counters = counters,
};

int virtio_rng_init(struct virtio_rng *rng, const char *option, const struct log *log, struct error *err)
{
	uint8_t byte;
	int code;

	*rng = (struct virtio_rng){0};
	/* From the first byte that it gives, the pool never blocks again (getrandom(2)). */
	if (getrandom(&byte, 1, GRND_NONBLOCK) != 1)
		return error_set(
			err, EXIT_STATUS_HOST, EAGAIN,
			"%s: the host's random pool is not ready: %s; wait until it is, or leave the device out",
			option, strerror(errno));
	code = virtio_init(&rng->device, &CLASS, 1, 0);
	if (code < 0)
		return error_set(err, EXIT_STATUS_HOST, -code, "%s: cannot make its event descriptors: %s", option,
				 strerror(-code));
	rng->device.option = option;
	rng->device.log = log;
	return 0;
}

void virtio_rng_release(struct virtio_rng *rng)
{
	if (rng != NULL)
		virtio_release(&rng->device);
}
