/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net and vhost-vsock of the host's own kernel, driven by the fake driver: frames and packets pass without this process. Needs root, /dev/net/tun, ip,
 * /dev/vhost-net and /dev/vhost-vsock; skipped, and said so, without.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/vsock.h"
#include "tests/unit/tap_card.h"

enum { VSOCK_HEADER = 44 };

static bool skips(const char *path)
{
	if (geteuid() == 0 && access(path, R_OK | W_OK) == 0)
		return false;
	print_message("SKIPPED: no root or no %s\n", path);
	return true;
}

/* Memory first: the kernel is told of it when the card begins. */
static struct card *card_new(uint64_t features)
{
	static const struct net_options options = {
		.option = "--net tap=tap0", .kind = NET_TAP, .tap = "tap0", .vhost = NET_VHOST_ON};
	struct card *card = calloc(1, sizeof(*card));
	struct net_memory memory = {0};
	struct error err = {0};

	assert_non_null(card);
	memory.guest = &card->driver.mem;
	driver_init(&card->driver, &card->net.device);
	if (net_init(&card->net, &options, &memory, NULL, &err) < 0 ||
	    card->net.device.class->begin(&card->net.device, &err) < 0)
		fail_msg("%s", err.text);
	card->net.device.irq.eventfd = card->driver.irq;
	card->wire = open_wire();
	assert_true(driver_start(&card->driver, features, QUEUE));
	return card;
}

/* The next used chain of a queue, within 2 s, after an interrupt if need be. */
static int wait_used(struct virtio_driver *driver, unsigned queue, uint32_t *written)
{
	for (unsigned round = 0; round < 200; round++) {
		int head = driver_take(driver, queue, written);

		if (head >= 0)
			return head;
		if (!driver_enable_interrupts(driver, queue))
			driver_wait_interrupt(driver, 10);
	}
	return -1;
}

static size_t take(struct card *card, uint8_t *frame)
{
	size_t done = 0;
	unsigned left = 1;

	for (bool first = true; left > 0; first = false, left--) {
		uint32_t written, skip = first ? HEADER : 0;
		int head = wait_used(&card->driver, RX, &written);
		const uint8_t *at;

		if (head < 0)
			return 0;
		at = driver_at(&card->driver, card->rx_gpa[head]);
		if (first)
			memcpy(&left, at + 10, 2);
		memcpy(frame + done, at + skip, written - skip);
		done += written - skip;
	}
	return done;
}

static void fill(const struct card *card, uint8_t *frame, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		frame[i] = (uint8_t)(seed + i * 13 + (i >> 8));
	memset(frame, 0xff, 6);
	memcpy(frame + 6, card->net.mac, 6);
	frame[12] = TYPE >> 8;
	frame[13] = TYPE & 0xff;
}

static void exchange(struct card *card, size_t size, unsigned seed)
{
	uint64_t gpa = driver_alloc(&card->driver, HEADER + size, 16);
	const struct driver_buffer buffers[] = {{gpa, HEADER, false}, {gpa + HEADER, (uint32_t)size, false}};
	struct pollfd wait = {.fd = card->wire, .events = POLLIN};
	static uint8_t frame[16384], got[16384];
	size_t done;

	fill(card, frame, size, seed);
	memcpy(driver_at(&card->driver, gpa + HEADER), frame, size);
	assert_true(driver_add(&card->driver, TX, buffers, 2) >= 0);
	driver_kick(&card->driver, TX);
	assert_int_equal(poll(&wait, 1, 2000), 1);
	assert_int_equal(recv(card->wire, got, sizeof(got), 0), size);
	assert_memory_equal(got, frame, size);
	assert_true(wait_used(&card->driver, TX, NULL) >= 0);
	frame[20] ^= 0xff;
	assert_int_equal(send(card->wire, frame, size, 0), size);
	/* 14 bytes are what was under way at the reset before: the tap has kept it */
	do {
		done = take(card, got);
	} while (done == 14);
	assert_int_equal(done, size);
	assert_memory_equal(got, frame, size);
}

static void test_net(void **state)
{
	static const uint64_t features[] = {DRIVER_ALL_FEATURES, DRIVER_ALL_FEATURES & ~VIRTIO_FEATURE_EVENT_IDX};
	static const size_t sizes[] = {60, 1514, 9014};

	(void)state;
	if (skips("/dev/vhost-net"))
		skip();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; "
				"ip tuntap add dev tap0 mode tap && ip link set tap0 mtu 9000 up"),
			 0);
	for (size_t round = 0; round < 2; round++) {
		struct card *card = card_new(features[round]);

		assert_int_equal(card->net.back_end, NET_VHOST_TAP);
		for (unsigned again = 0; again < 3; again++) {
			for (unsigned i = 0; i < QUEUE; i++)
				give(card);
			for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
				exchange(card, sizes[i], (unsigned)(i + again));
			/* a reset with a frame on the way */
			assert_int_equal(send(card->wire, "0123456789ab\x88\xb5", 14, 0), 14);
			driver_reset(&card->driver);
			assert_true(driver_start(&card->driver, features[round], QUEUE));
		}
		card_free(card);
	}
}

/* After the reset, the host may send what it likes: guest memory stays as it is. */
static void test_net_is_still_after_reset(void **state)
{
	struct card *card;
	static uint8_t frame[1000];
	uint8_t *memory, *copy;

	(void)state;
	if (skips("/dev/vhost-net"))
		skip();
	card = card_new(DRIVER_ALL_FEATURES);
	for (unsigned i = 0; i < QUEUE; i++)
		give(card);
	driver_reset(&card->driver);
	memory = driver_at(&card->driver, DRIVER_GPA);
	copy = malloc(DRIVER_MEMORY);
	memcpy(copy, memory, DRIVER_MEMORY);
	fill(card, frame, sizeof(frame), 1);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(send(card->wire, frame, sizeof(frame), 0), sizeof(frame));
	usleep(50000);
	assert_memory_equal(copy, memory, DRIVER_MEMORY);
	free(copy);
	card_free(card);
}

/* A ring that the kernel cannot follow: it tells, the device waits for a reset, and works after it. */
static void test_net_broken_ring(void **state)
{
	struct card *card;

	(void)state;
	if (skips("/dev/vhost-net"))
		skip();
	card = card_new(DRIVER_ALL_FEATURES);
	driver_set_descriptor(&card->driver, TX, 0, UINT64_MAX - 100, 64, 0, 0);
	driver_publish(&card->driver, TX, 0);
	driver_kick_always(&card->driver, TX);
	for (unsigned i = 0; i < 100 && !driver_needs_reset(&card->driver); i++)
		driver_work_once(&card->driver, 20);
	assert_true(driver_needs_reset(&card->driver));
	assert_true(driver_start(&card->driver, DRIVER_ALL_FEATURES, QUEUE));
	for (unsigned i = 0; i < QUEUE; i++)
		give(card);
	exchange(card, 500, 1);
	card_free(card);
}

/* §5.10.6: a request to connect to a port of the host's where nobody listens is answered with a reset. */
static void test_vsock(void **state)
{
	static const struct vsock_options options = {.option = "--vsock cid=4242", .cid = 4242};
	struct virtio_driver driver;
	struct vsock vsock, second;
	struct error err = {0};
	uint8_t header[VSOCK_HEADER] = {0};
	uint64_t rx, tx, cid = 4242, host = 2;
	uint32_t port = 1000, peer_port = 54321, written;
	uint16_t stream = 1, request = 1, answer;

	(void)state;
	if (skips("/dev/vhost-vsock"))
		skip();
	driver_init(&driver, &vsock.device);
	if (vsock_init(&vsock, &options, &driver.mem, NULL, &err) < 0 ||
	    vsock.device.class->begin(&vsock.device, &err) < 0)
		fail_msg("%s", err.text);
	vsock.device.irq.eventfd = driver.irq;
	assert_int_equal(vsock_init(&second, &options, &driver.mem, NULL, &err), -EADDRINUSE);
	print_message("%s\n", err.text);
	for (unsigned round = 0; round < 3; round++) {
		assert_true(driver_start(&driver, DRIVER_ALL_FEATURES, QUEUE));
		rx = driver_alloc(&driver, 4096, 16);
		assert_true(driver_add(&driver, RX, &(struct driver_buffer){rx, 4096, true}, 1) >= 0);
		driver_kick(&driver, RX);
		memcpy(header, &cid, 8);
		memcpy(header + 8, &host, 8);
		memcpy(header + 16, &port, 4);
		memcpy(header + 20, &peer_port, 4);
		memcpy(header + 28, &stream, 2);
		memcpy(header + 30, &request, 2);
		tx = driver_put(&driver, header, sizeof(header));
		assert_true(driver_add(&driver, TX, &(struct driver_buffer){tx, VSOCK_HEADER, false}, 1) >= 0);
		driver_kick(&driver, TX);
		assert_true(wait_used(&driver, RX, &written) >= 0);
		assert_int_equal(written, VSOCK_HEADER);
		memcpy(&answer, (uint8_t *)driver_at(&driver, rx) + 30, 2);
		assert_int_equal(answer, 3);
	}
	vsock_release(&vsock);
	assert_int_equal(vsock_init(&second, &options, &driver.mem, NULL, &err), 0);
	vsock_release(&second);
	driver_release(&driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_net),
		cmocka_unit_test(test_net_is_still_after_reset),
		cmocka_unit_test(test_net_broken_ring),
		cmocka_unit_test(test_vsock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
