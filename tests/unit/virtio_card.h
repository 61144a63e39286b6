/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_VIRTIO_CARD_H
#define SPMVM_TESTS_UNIT_VIRTIO_CARD_H

/* A network card on a stream socket whose other end (the peer) is the test, with a fake driver on its rings. */
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/net.h"
#include "tests/unit/virtio_driver.h"

enum { RX = 0, TX = 1, HEADER = NET_HEADER_SIZE, QUEUE = 64, BIG = 65549 };

struct card {
	struct net net;
	struct virtio_driver driver;
	int peer;
	uint64_t rx_gpa[VIRTQ_SIZE_MAX]; /* by head */
	uint32_t rx_size[VIRTQ_SIZE_MAX];
};

static inline struct card *card_new(uint64_t features)
{
	static const struct net_options options = {
		.option = "--net test", .kind = NET_USER, .has_mac = true, .mac = {0x52, 0x54, 0, 1, 2, 3}};
	struct card *card = calloc(1, sizeof(*card));
	int pair[2];
	struct error err;

	assert_non_null(card);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	card->peer = pair[1];
	assert_int_equal(net_init_stream(&card->net, &options, pair[0], NULL, &err), 0);
	driver_init(&card->driver, &card->net.device);
	assert_true(driver_start(&card->driver, features, QUEUE));
	return card;
}

static inline void card_free(struct card *card)
{
	net_release(&card->net);
	net_release(&card->net);
	driver_release(&card->driver);
	if (card->peer >= 0)
		close(card->peer);
	free(card);
}

static inline void fill(uint8_t *frame, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		frame[i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

static inline void give(struct card *card, uint32_t size)
{
	uint64_t gpa = driver_alloc(&card->driver, size, 16);
	int head = driver_add(&card->driver, RX, &(struct driver_buffer){gpa, size, true}, 1);

	assert_true(head >= 0);
	card->rx_gpa[head] = gpa;
	card->rx_size[head] = size;
	driver_kick(&card->driver, RX);
}

/* Blocks until all is in the socket; the card is served in between. */
static inline void peer_write(struct card *card, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	while (size > 0) {
		ssize_t sent = send(card->peer, at, size, MSG_NOSIGNAL);

		if (sent > 0) {
			at += sent;
			size -= (size_t)sent;
		} else {
			assert_int_equal(errno, EAGAIN);
			driver_work(&card->driver, 0);
		}
	}
}

static inline void peer_send(struct card *card, const uint8_t *frame, size_t size)
{
	uint8_t prefix[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};

	peer_write(card, prefix, 4);
	peer_write(card, frame, size);
}

static inline size_t peer_read(struct card *card, uint8_t *bytes, size_t size)
{
	size_t done = 0;

	for (unsigned idle = 0; done < size && idle < 100;) {
		ssize_t got = recv(card->peer, bytes + done, size - done, 0);

		if (got > 0) {
			done += (size_t)got;
			idle = 0;
		} else {
			idle++;
			driver_work(&card->driver, 0);
		}
	}
	return done;
}

/* The frame that the card sends next, or 0 when it sends none. */
static inline size_t peer_receive(struct card *card, uint8_t *frame)
{
	uint8_t prefix[4];
	size_t size;

	if (peer_read(card, prefix, 4) != 4)
		return 0;
	size = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];
	assert_true(size <= NET_STREAM_FRAME_MAX);
	assert_int_equal(peer_read(card, frame, size), size);
	return size;
}

/* Takes a frame that came over one or several buffers; its size, or 0. */
static inline size_t take(struct card *card, uint8_t *frame, struct net_header *header)
{
	size_t done = 0;
	unsigned left = 1;

	for (bool first = true; left > 0; first = false, left--) {
		uint32_t written, skip = first ? HEADER : 0;
		int head = driver_take(&card->driver, RX, &written);
		const uint8_t *at;

		if (head < 0) {
			/* a driver that has seen the first must find all */
			assert_true(first);
			return 0;
		}
		assert_true(written >= skip && written <= card->rx_size[head]);
		at = driver_at(&card->driver, card->rx_gpa[head]);
		if (first) {
			memcpy(header, at, HEADER);
			left = header->buffer_count;
			assert_true(left >= 1);
		}
		memcpy(frame + done, at + skip, written - skip);
		done += written - skip;
	}
	return done;
}

static inline int transmit(struct card *card, const struct net_header *header, const uint8_t *frame, size_t size)
{
	uint64_t gpa = driver_alloc(&card->driver, HEADER + size, 16);
	const struct driver_buffer buffers[] = {{gpa, HEADER, false}, {gpa + HEADER, (uint32_t)size, false}};
	int head;

	memcpy(driver_at(&card->driver, gpa), header, HEADER);
	memcpy(driver_at(&card->driver, gpa + HEADER), frame, size);
	head = driver_add(&card->driver, TX, buffers, 2);
	driver_kick(&card->driver, TX);
	return head;
}

static inline void reclaim(struct card *card)
{
	uint32_t written;

	while (driver_take(&card->driver, TX, &written) >= 0)
		assert_int_equal(written, 0);
}

static const struct net_header PLAIN = {0};

#endif
