/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/net_frames.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

enum { ETHERNET_HEADER = 14 };

_Static_assert(sizeof(struct net_header) == NET_HEADER_SIZE, "as in the ring");

/* ---- to the driver */

/* The buffers that one frame is spread over. */
struct spread {
	unsigned count;
	struct virtq_used chains[VIRTQ_SIZE_MAX];
	uint8_t *buffer_count[2]; /* where its two bytes are in the first one */
};

/* The writable byte at offset of a chain, which has more than that. */
static uint8_t *byte_at(const struct virtq_chain *chain, size_t offset)
{
	const struct iovec *iov = chain->iov + chain->readable;

	for (; offset >= iov->iov_len; iov++)
		offset -= iov->iov_len;
	return (uint8_t *)iov->iov_base + offset;
}

static void put_back(struct virtq *queue, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		virtq_unpop(queue);
}

/* The next buffer of the driver's for a frame: 1, 0 when there is none, -EPROTO when it is not one to receive into. */
static int next_buffer(struct virtq *queue, struct virtq_chain *chain, bool first)
{
	int code = virtq_pop(queue, chain);

	if (code == 1 && (chain->readable > 0 || (first && chain->writable_bytes < NET_HEADER_SIZE)))
		return -EPROTO;
	return code;
}

int net_deliver(struct virtq *queue, struct virtq_chain *chain, const struct net_header *header, const uint8_t *frame,
		size_t size, bool mergeable)
{
	struct spread spread = {.count = 0};
	size_t done = 0;

	do {
		size_t offset = spread.count == 0 ? NET_HEADER_SIZE : 0, part;
		int code = next_buffer(queue, chain, spread.count == 0);

		if (code < 0)
			return code;
		if (code == 0) {
			put_back(queue, spread.count);
			/* the whole ring is not enough: no use in waiting for more */
			return spread.count == queue->size ? NET_DROPPED : NET_NO_ROOM;
		}
		if (!mergeable && chain->writable_bytes < NET_HEADER_SIZE + size) {
			put_back(queue, 1);
			return NET_DROPPED;
		}
		if (spread.count == 0) {
			virtq_write(chain, 0, header, NET_HEADER_SIZE);
			for (unsigned i = 0; i < 2; i++)
				spread.buffer_count[i] = byte_at(chain, offsetof(struct net_header, buffer_count) + i);
		}
		part = virtq_write(chain, offset, frame + done, size - done);
		done += part;
		spread.chains[spread.count++] = (struct virtq_used){chain->head, (uint32_t)(offset + part)};
	} while (done < size);
	*spread.buffer_count[0] = (uint8_t)spread.count;
	*spread.buffer_count[1] = (uint8_t)(spread.count >> 8);
	/*
	 * All at once: a driver that polls takes buffer_count entries as soon as it sees the first, and gives the frame up when one is missing (Linux:
	 * receive_mergeable())
	 */
	virtq_push_many(queue, spread.chains, spread.count);
	return NET_DELIVERED;
}

/* ---- from the driver */

int net_check(const struct virtq_chain *chain, struct net_header *header, size_t *size)
{
	if (chain->writable > 0 || virtq_read(chain, 0, header, NET_HEADER_SIZE) != NET_HEADER_SIZE)
		return -EPROTO;
	if (chain->readable_bytes - NET_HEADER_SIZE < ETHERNET_HEADER ||
	    chain->readable_bytes - NET_HEADER_SIZE > NET_FRAME_MAX)
		return -EMSGSIZE;
	*size = (size_t)(chain->readable_bytes - NET_HEADER_SIZE);
	return 0;
}

/* The Internet checksum (RFC 1071): the complement of the one's complement sum of 16-bit words, in the order of the bytes. */
static uint16_t checksum(const uint8_t *bytes, size_t size)
{
	uint64_t sum = 0;
	uint32_t word;

	/* sums of wider words fold to the same (RFC 1071 §2, "deferred carries"); 64 bits hold 2^32 of them */
	for (; size >= 4; size -= 4, bytes += 4) {
		memcpy(&word, bytes, 4);
		sum += word;
	}
	if (size > 0) {
		word = 0;
		memcpy(&word, bytes, size);
		sum += word;
	}
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)~sum;
}

int net_finish(const struct net_header *header, uint8_t *frame, size_t size)
{
	size_t at = (size_t)header->checksum_start + header->checksum_offset;
	uint16_t sum;

	if (header->gso_type != 0)
		return -EINVAL;
	if ((header->flags & NET_NEEDS_CHECKSUM) == 0)
		return 0;
	if (at + sizeof(sum) > size)
		return -EINVAL;
	/* the field holds the sum of the pseudo header by now, so it is summed with the rest */
	sum = checksum(frame + header->checksum_start, size - header->checksum_start);
	/* zero means "none" in UDP (RFC 768), and the other zero is right for all */
	if (sum == 0)
		sum = UINT16_MAX;
	memcpy(frame + at, &sum, sizeof(sum));
	return 0;
}
