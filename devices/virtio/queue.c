/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* §2.7.5 */
enum {
	DESCRIPTOR_SIZE = 16,
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
};

/* Offsets in the available (§2.7.6) and used (§2.7.8) rings. Both start with flags and idx, 16 bits each. */
enum {
	RING_FLAGS = 0,
	RING_IDX = 2,
	RING_ENTRIES = 4,
	AVAILABLE_ENTRY_SIZE = 2,
	USED_ENTRY_SIZE = 8,
	AVAILABLE_NO_INTERRUPT = 1,
	USED_NO_NOTIFY = 1,
};

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

/* The guest writes these fields while we read them: each is read or written exactly once, as a whole. x86 is little-endian, as virtio is. */
static uint16_t load_u16(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static void store_u16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELEASE);
}

static struct descriptor load_descriptor(const uint8_t *at)
{
	struct descriptor descriptor;
	uint8_t copy[DESCRIPTOR_SIZE];

	memcpy(copy, at, sizeof(copy));
	/* the compiler must not go back to the guest's bytes after they were checked */
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(&descriptor.address, copy, 8);
	memcpy(&descriptor.length, copy + 8, 4);
	memcpy(&descriptor.flags, copy + 12, 2);
	memcpy(&descriptor.next, copy + 14, 2);
	return descriptor;
}

/* Whether the driver made it ready and DRIVER_OK has started it: before that a device may well ask, when its host side wakes first. */
static bool runs(const struct virtq *queue)
{
	return queue->ready && !queue->broken && queue->used_ring != NULL;
}

static int give_up(struct virtq *queue)
{
	queue->broken = true;
	return -EPROTO;
}

int virtq_start(struct virtq *queue, const struct guest_mem *mem, bool event_idx)
{
	uint64_t size = queue->size;
	/* each ring is followed by the other side's event index, which is there whether it was negotiated or not (§2.7.6, §2.7.8) */
	uint64_t available_size = RING_ENTRIES + AVAILABLE_ENTRY_SIZE * size + 2;
	uint64_t used_size = RING_ENTRIES + USED_ENTRY_SIZE * size + 2;

	queue->mem = mem;
	queue->event_idx = event_idx;
	queue->broken = true;
	queue->next_available = 0;
	queue->next_used = 0;
	queue->signalled = 0;
	queue->pushed = false;
	queue->seen = 0;
	queue->unpopped = false;
	memset(queue->in_flight, 0, sizeof(queue->in_flight));
	if (size == 0 || size > VIRTQ_SIZE_MAX || (size & (size - 1)) != 0)
		return -EINVAL;
	if (queue->descriptors % 16 != 0 || queue->available % 2 != 0 || queue->used % 4 != 0)
		return -EINVAL;
	queue->descriptor_table = guest_mem_at(mem, queue->descriptors, DESCRIPTOR_SIZE * size);
	queue->available_ring = guest_mem_at(mem, queue->available, available_size);
	queue->used_ring = guest_mem_at(mem, queue->used, used_size);
	if (queue->descriptor_table == NULL || queue->available_ring == NULL || queue->used_ring == NULL)
		return -EINVAL;
	queue->broken = false;
	/* whatever the driver has left in our half of the ring, it is to kick us at its first buffer */
	virtq_enable_kicks(queue);
	return 0;
}

void virtq_reset(struct virtq *queue)
{
	*queue = (struct virtq){0};
}

/* Adds one descriptor's buffer to the chain. Readable buffers come before writable ones (§2.7.4.2). */
static int add_buffer(const struct virtq *queue, struct virtq_chain *chain, const struct descriptor *descriptor)
{
	bool write = (descriptor->flags & DESC_WRITE) != 0;
	unsigned count = chain->readable + chain->writable;
	void *at;

	if (!write && chain->writable > 0)
		return -EPROTO;
	if (descriptor->length == 0)
		return 0;
	if (count == VIRTQ_SEGMENTS_MAX)
		return -EPROTO;
	at = guest_mem_at(queue->mem, descriptor->address, descriptor->length);
	if (at == NULL)
		return -EPROTO;
	chain->iov[count] = (struct iovec){at, descriptor->length};
	if (write) {
		chain->writable++;
		chain->writable_bytes += descriptor->length;
	} else {
		chain->readable++;
		chain->readable_bytes += descriptor->length;
	}
	return 0;
}

/*
 * Follows next through a table of count descriptors from index on. A chain cannot be longer than its table without a loop, and that bounds the
 * walk; so does VIRTQ_SEGMENTS_MAX, because an indirect table of empty buffers may fill the guest's memory (§2.7.5.3.1 allows
 * no more than the queue's size, and no indirect table in an indirect table).
 */
static int walk(const struct virtq *queue, const uint8_t *table, uint32_t count, uint16_t index, bool indirect_allowed,
		struct virtq_chain *chain)
{
	for (uint32_t steps = 0; steps < count && steps < VIRTQ_SEGMENTS_MAX; steps++) {
		struct descriptor descriptor;
		int code;

		if (index >= count)
			return -EPROTO;
		descriptor = load_descriptor(table + (size_t)index * DESCRIPTOR_SIZE);
		if ((descriptor.flags & DESC_INDIRECT) != 0) {
			const uint8_t *inner;

			/* INDIRECT and NEXT exclude each other; the table is whole descriptors (§2.7.5.3.1) */
			if (!indirect_allowed || (descriptor.flags & DESC_NEXT) != 0 || descriptor.length == 0 ||
			    descriptor.length % DESCRIPTOR_SIZE != 0)
				return -EPROTO;
			inner = guest_mem_at(queue->mem, descriptor.address, descriptor.length);
			if (inner == NULL)
				return -EPROTO;
			return walk(queue, inner, descriptor.length / DESCRIPTOR_SIZE, 0, false, chain);
		}
		code = add_buffer(queue, chain, &descriptor);
		if (code < 0)
			return code;
		if ((descriptor.flags & DESC_NEXT) == 0)
			return 0;
		index = descriptor.next;
	}
	return -EPROTO;
}

int virtq_pop(struct virtq *queue, struct virtq_chain *chain)
{
	uint16_t index, place;

	if (!runs(queue))
		return queue->broken ? -EPROTO : 0;
	index = load_u16(queue->available_ring + RING_IDX);
	queue->seen = index;
	if (index == queue->next_available)
		return 0;
	/* more entries than the ring has cannot be available */
	if ((uint16_t)(index - queue->next_available) > queue->size)
		return give_up(queue);
	place = queue->next_available % queue->size;
	chain->head = load_u16(queue->available_ring + RING_ENTRIES + (size_t)place * AVAILABLE_ENTRY_SIZE);
	/* a chain belongs to us until it is in the used ring (§2.7.13.1) */
	if (chain->head >= queue->size || queue->in_flight[chain->head])
		return give_up(queue);
	chain->readable = 0;
	chain->writable = 0;
	chain->readable_bytes = 0;
	chain->writable_bytes = 0;
	if (walk(queue, queue->descriptor_table, queue->size, chain->head, true, chain) < 0)
		return give_up(queue);
	queue->in_flight[chain->head] = true;
	queue->popped[place] = chain->head;
	queue->unpopped = false;
	queue->next_available++;
	return 1;
}

void virtq_unpop(struct virtq *queue)
{
	if (!runs(queue))
		return;
	queue->next_available--;
	queue->in_flight[queue->popped[queue->next_available % queue->size]] = false;
	queue->unpopped = true;
}

void virtq_push_many(struct virtq *queue, const struct virtq_used *chains, unsigned count)
{
	if (!runs(queue) || count == 0)
		return;
	for (unsigned i = 0; i < count; i++) {
		uint16_t head = chains[i].head;
		uint32_t id = head;
		uint8_t *entry =
			queue->used_ring + RING_ENTRIES + (size_t)(queue->next_used % queue->size) * USED_ENTRY_SIZE;

		assert(head < queue->size && queue->in_flight[head]);
		queue->in_flight[head] = false;
		memcpy(entry, &id, 4);
		memcpy(entry + 4, &chains[i].written, 4);
		queue->next_used++;
	}
	queue->pushed = true;
	store_u16(queue->used_ring + RING_IDX, queue->next_used);
}

void virtq_push(struct virtq *queue, uint16_t head, uint32_t written)
{
	const struct virtq_used chain = {head, written};

	virtq_push_many(queue, &chain, 1);
}

bool virtq_needs_interrupt(struct virtq *queue)
{
	uint16_t event, previous = queue->signalled;

	if (!runs(queue) || !queue->pushed)
		return false;
	queue->pushed = false;
	queue->signalled = queue->next_used;
	/* the new idx must be visible before the driver's wish is read, or both sides could wait for each other (§2.7.7.2) */
	atomic_thread_fence(memory_order_seq_cst);
	if (!queue->event_idx)
		return (load_u16(queue->available_ring + RING_FLAGS) & AVAILABLE_NO_INTERRUPT) == 0;
	/* §2.7.7.2: only when the entry that the driver waits for is among those pushed since it was asked last */
	event = load_u16(queue->available_ring + RING_ENTRIES + (size_t)queue->size * AVAILABLE_ENTRY_SIZE);
	return (uint16_t)(queue->next_used - event - 1) < (uint16_t)(queue->next_used - previous);
}

void virtq_disable_kicks(struct virtq *queue)
{
	/* with event indices, not moving the event forward is enough (§2.7.10.1) */
	if (runs(queue) && !queue->event_idx)
		store_u16(queue->used_ring + RING_FLAGS, USED_NO_NOTIFY);
}

bool virtq_enable_kicks(struct virtq *queue)
{
	uint16_t known = queue->unpopped ? queue->seen : queue->next_available;

	if (!runs(queue))
		return false;
	if (queue->event_idx)
		store_u16(queue->used_ring + RING_ENTRIES + (size_t)queue->size * USED_ENTRY_SIZE, known);
	else
		store_u16(queue->used_ring + RING_FLAGS, 0);
	/* our wish must be visible before the driver's idx is read, or a buffer that comes now would wake nobody (§2.7.10.1) */
	atomic_thread_fence(memory_order_seq_cst);
	return load_u16(queue->available_ring + RING_IDX) != known;
}

/* Copies between bytes and count buffers, skipping offset bytes of them first. */
static size_t copy(const struct iovec *iov, unsigned count, size_t offset, uint8_t *bytes, size_t size, bool to_guest)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < size; i++) {
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - offset < size - done ? iov[i].iov_len - offset : size - done;
		if (to_guest)
			memcpy((uint8_t *)iov[i].iov_base + offset, bytes + done, part);
		else
			memcpy(bytes + done, (const uint8_t *)iov[i].iov_base + offset, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t virtq_read(const struct virtq_chain *chain, size_t offset, void *bytes, size_t size)
{
	return copy(chain->iov, chain->readable, offset, bytes, size, false);
}

size_t virtq_write(const struct virtq_chain *chain, size_t offset, const void *bytes, size_t size)
{
	union {
		const void *in;
		void *out;
	} source = {.in = bytes}; /* copy() only reads it when it writes to the guest */

	return copy(chain->iov + chain->readable, chain->writable, offset, source.out, size, true);
}
