/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_RNG_H
#define SPMVM_DEVICES_VIRTIO_RNG_H

#include "devices/virtio/virtio.h"
#include "vmm/base/error.h"

/*
 * An entropy device (virtio 1.2 §5.4): one queue of buffers that are filled from the host's random pool by getrandom(), which does not block
 * once the pool is ready. No registers, no features, nothing kept: what the guest gets is never in our memory.
 *
 * A request gets at most VIRTIO_RNG_REQUEST_MAX bytes (§5.4.6.2 allows fewer than asked for) and a turn of the main loop makes at most
 * VIRTIO_RNG_TURN_MAX, so a guest that asks without end delays others by a fraction of a millisecond at a time.
 */
enum { VIRTIO_RNG_REQUEST_MAX = 4096, VIRTIO_RNG_TURN_MAX = 65536 };

struct virtio_rng {
	struct virtio_device device; /* first */
	struct counter requests, bytes;
};

/* option: "--rng", for messages; borrowed, as log is (may be NULL). The host's pool not ready, or no descriptors: EXIT_STATUS_HOST. */
int virtio_rng_init(struct virtio_rng *rng, const char *option, const struct log *log, struct error *err);

/* Takes NULL, a zeroed one and one that was released. */
void virtio_rng_release(struct virtio_rng *rng);

#endif
