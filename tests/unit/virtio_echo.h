/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_VIRTIO_ECHO_H
#define SPMVM_TESTS_UNIT_VIRTIO_ECHO_H

/* A virtio device for tests of the core: it copies a chain's readable bytes into its writable ones, ECHO_TURN chains a turn. */
#include <string.h>

#include "devices/virtio/virtio.h"

enum { ECHO_TURN = 16, ECHO_CONFIG = 13, ECHO_QUEUES = 3, ECHO_ID = 63 };

#define ECHO_FEATURE (UINT64_C(1) << 5)

struct echo {
	struct virtio_device device;
	unsigned kicks, activations, resets, chains;
	int activate_code;
	uint8_t config[ECHO_CONFIG];
	struct virtq_chain chain;
};

static inline void echo_read_config(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size)
{
	memcpy(bytes, ((struct echo *)device)->config + offset, size);
}

static inline void echo_write_config(struct virtio_device *device, size_t offset, const uint8_t *bytes, size_t size)
{
	memcpy(((struct echo *)device)->config + offset, bytes, size);
}

static inline int echo_activate(struct virtio_device *device)
{
	((struct echo *)device)->activations++;
	return ((struct echo *)device)->activate_code;
}

static inline void echo_reset(struct virtio_device *device)
{
	((struct echo *)device)->resets++;
}

/* The bytes that were written. */
static inline uint32_t echo_copy(const struct virtq_chain *chain)
{
	uint8_t bytes[256];
	size_t done = 0, got;

	do {
		got = virtq_read(chain, done, bytes, sizeof(bytes));
		got = virtq_write(chain, done, bytes, got);
		done += got;
	} while (got == sizeof(bytes));
	return (uint32_t)done;
}

static inline void echo_kick(struct virtio_device *device, unsigned index)
{
	struct echo *echo = (struct echo *)device;
	struct virtq *queue = &device->queues[index];
	int code;

	echo->kicks++;
	virtq_disable_kicks(queue);
	for (unsigned turn = 0; turn < ECHO_TURN; turn++) {
		code = virtq_pop(queue, &echo->chain);
		if (code < 0) {
			virtio_needs_reset(device, "a broken chain");
			return;
		}
		if (code == 0 && !virtq_enable_kicks(queue)) {
			virtio_interrupt(device, index);
			return;
		}
		if (code == 0)
			continue;
		echo->chains++;
		virtq_push(queue, echo->chain.head, echo_copy(&echo->chain));
	}
	virtio_interrupt(device, index);
	virtio_kick_again(device, index);
}

static inline int echo_init(struct echo *echo)
{
	static const struct virtio_class CLASS = {
		.name = "echo",
		.id = ECHO_ID,
		.config_size = ECHO_CONFIG,
		.read_config = echo_read_config,
		.write_config = echo_write_config,
		.activate = echo_activate,
		.reset = echo_reset,
		.kick = echo_kick,
	};

	*echo = (struct echo){0};
	for (unsigned i = 0; i < ECHO_CONFIG; i++)
		echo->config[i] = (uint8_t)(0xa0 + i);
	return virtio_init(&echo->device, &CLASS, ECHO_QUEUES, ECHO_FEATURE);
}

#endif
