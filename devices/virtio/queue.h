/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_QUEUE_H
#define SPMVM_DEVICES_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/memory/guest_mem.h"

/*
 * A split virtqueue as the device sees it (virtio 1.2 §2.7), the one place where descriptors of a guest are read. Each descriptor is copied once and
 * then checked, so the guest cannot change it in between; a chain is bounded by the queue and by VIRTQ_SEGMENTS_MAX. Whatever a guest may not do makes the
 * queue broken: it yields nothing more until it is reset, and the transport sets DEVICE_NEEDS_RESET. The caller holds the device's lock.
 */
enum {
	VIRTQ_SIZE_MAX = 256, /* descriptors that we offer in a queue */
	VIRTQ_SEGMENTS_MAX =
		1024 /* buffers in one chain, indirect ones included: more than any driver of Linux's makes */
};

struct virtq {
	/* set by the transport */
	uint16_t size;                         /* 0 until the driver has chosen: a power of two up to VIRTQ_SIZE_MAX */
	uint64_t descriptors, available, used; /* guest-physical addresses */
	bool ready;
	/* from virtq_start() on */
	const struct guest_mem *mem;
	const uint8_t *descriptor_table; /* where the three areas are in this process */
	uint8_t *available_ring, *used_ring;
	bool event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
	bool broken;
	uint16_t next_available;         /* the next entry of the available ring to look at */
	uint16_t next_used;              /* the next entry of the used ring to fill */
	uint16_t signalled;              /* next_used when the driver was last interrupted */
	bool pushed;                     /* something since then */
	uint16_t seen;                   /* the driver's idx when it was last read */
	bool unpopped;                   /* virtq_unpop() since a chain was last popped */
	bool in_flight[VIRTQ_SIZE_MAX];  /* heads that were popped and not pushed yet */
	uint16_t popped[VIRTQ_SIZE_MAX]; /* the head at each place of the available ring, for virtq_unpop() */
};

/*
 * One request: buffers that the device reads, then buffers that it writes, as host memory. iov[0 .. readable - 1] are read, the rest is
 * written. No buffer is empty.
 */
struct virtq_chain {
	uint16_t head; /* for virtq_push() */
	unsigned readable, writable;
	uint64_t readable_bytes, writable_bytes;
	struct iovec iov[VIRTQ_SEGMENTS_MAX];
};

/*
 * Checks alignment and bounds of the three areas and starts at the ring's beginning (§2.7.4 to §2.7.8). -EINVAL when they do not lie in guest memory or
 * are misaligned: the queue is broken then.
 */
int virtq_start(struct virtq *queue, const struct guest_mem *mem, bool event_idx);

/* Back to the state after a device reset; keeps nothing. */
void virtq_reset(struct virtq *queue);

/*
 * Takes the next available chain. 1 with *chain filled, 0 when there is none or the queue was not started, -EPROTO when the guest broke a rule
 * (queue->broken is set). No two chains in flight have the same head, so there are at most queue->size of them and a device may keep them in an array by
 * head. A hostile guest may still share the other descriptors and buffers among them; that harms only itself.
 */
int virtq_pop(struct virtq *queue, struct virtq_chain *chain);

/*
 * Puts the chain popped last back, as if it had not been taken (for a device that cannot serve it now); again for the one before it, as
 * long as none of them was pushed. virtq_enable_kicks() then asks for what comes behind everything that has been seen.
 */
void virtq_unpop(struct virtq *queue);

/* A chain on its way back to the driver: written is how many bytes the device has put into its writable buffers. */
struct virtq_used {
	uint16_t head;
	uint32_t written;
};

/* Returns a chain to the driver. Any order. */
void virtq_push(struct virtq *queue, uint16_t head, uint32_t written);

/*
 * Returns several chains that the driver sees all at once or not at all: the ring's idx moves once, behind the last.
 */
void virtq_push_many(struct virtq *queue, const struct virtq_used *chains, unsigned count);

/* Whether the driver wants an interrupt for what was pushed since this was asked last (§2.7.7, §2.7.10). Ask once after a batch. */
bool virtq_needs_interrupt(struct virtq *queue);

/*
 * Kicks off: tells the driver not to notify while the device polls the ring anyway. Kicks on: asks for notification again and says whether something
 * became available in between, in which case the caller looks again (§2.7.10). A device that has emptied its queue and does not switch kicks on is not
 * kicked again when EVENT_IDX was negotiated. One that stops before its queue is empty does not ask: see virtio_kick_again().
 */
void virtq_disable_kicks(struct virtq *queue);
bool virtq_enable_kicks(struct virtq *queue);

/* ---- for devices: copying between a chain and memory of ours */

/* Copies up to size bytes out of the readable part from its byte offset on; returns how many there were. */
size_t virtq_read(const struct virtq_chain *chain, size_t offset, void *bytes, size_t size);

/* Copies up to size bytes into the writable part from its byte offset on; returns how many fitted. */
size_t virtq_write(const struct virtq_chain *chain, size_t offset, const void *bytes, size_t size);

#endif
