/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_NET_FRAMES_H
#define SPMVM_DEVICES_VIRTIO_NET_FRAMES_H

#include "devices/virtio/queue.h"

/*
 * Frames in and out of the rings of a network card (virtio 1.2 §5.1.6). The caller holds the device's lock, and tells the driver.
 */
enum {
	NET_HEADER_SIZE = 12,  /* struct virtio_net_hdr with num_buffers, which VERSION_1 always has */
	NET_FRAME_MAX = 65550, /* 64 KiB of IP with an Ethernet header */
};

/* The header in front of each frame (§5.1.6), in the order of its bytes; x86 is little-endian, as virtio is. */
struct net_header {
	uint8_t flags, gso_type;
	uint16_t header_length, gso_size;
	uint16_t checksum_start, checksum_offset;
	uint16_t buffer_count;
};
enum { NET_NEEDS_CHECKSUM = 1, NET_DATA_VALID = 2 };

enum net_delivery {
	NET_DELIVERED,
	NET_DROPPED, /* the driver's buffers are too small for such a frame, all of them together */
	NET_NO_ROOM, /* it has not given enough of them yet; nothing was taken */
};

/*
 * Puts a frame into the receive queue, over several of its buffers when mergeable (VIRTIO_NET_F_MRG_RXBUF; §5.1.6.4). header->buffer_count is ours. chain is
 * scratch. An enum net_delivery, or -EPROTO when the guest broke a rule.
 */
int net_deliver(struct virtq *queue, struct virtq_chain *chain, const struct net_header *header, const uint8_t *frame,
		size_t size, bool mergeable);

/*
 * Checks what the driver wants to send: -EPROTO for a chain that no driver may make (a header that is cut, buffers to write to), -EMSGSIZE for a frame that
 * is too short or too long to be one. Else *header is its header and *size the frame's own size, which starts at NET_HEADER_SIZE of the chain.
 */
int net_check(const struct virtq_chain *chain, struct net_header *header, size_t *size);

/*
 * Does what the header asks for in place of hardware: the checksum (§5.1.6.2.1). -EINVAL when it asks for something else, or for a checksum beside the
 * frame.
 */
int net_finish(const struct net_header *header, uint8_t *frame, size_t size);

#endif
