/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_TAP_CARD_H
#define SPMVM_TESTS_UNIT_TAP_CARD_H

#include "tests/unit/unit.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/net.h"
#include "tests/unit/virtio_driver.h"

/* A card on a real tap, tap0, driven by the fake driver. */
enum {
	RX = 0,
	TX = 1,
	HEADER = NET_HEADER_SIZE,
	QUEUE = 64,
	BUFFER = 4096,
	TYPE = 0x88b5 /* for experiments, IEEE 802 */
};

struct card {
	struct net net;
	struct virtio_driver driver;
	int wire; /* a packet socket on the tap: what a guest sends comes out here, and the other way */
	uint64_t rx_gpa[QUEUE];
};

static inline int open_wire(void)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons(TYPE), .sll_ifindex = (int)if_nametoindex("tap0")};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(TYPE));

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static inline void card_free(struct card *card)
{
	net_release(&card->net);
	driver_release(&card->driver);
	close(card->wire);
	free(card);
}

/* One more buffer to receive into. */
static inline void give(struct card *card)
{
	uint64_t gpa = driver_alloc(&card->driver, BUFFER, 16);
	int head = driver_add(&card->driver, RX, &(struct driver_buffer){gpa, BUFFER, true}, 1);

	assert_true(head >= 0);
	card->rx_gpa[head] = gpa;
	driver_kick(&card->driver, RX);
}

#endif
