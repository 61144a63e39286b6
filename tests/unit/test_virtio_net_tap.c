/* SPDX-License-Identifier: Apache-2.0 */
/* The card on a real tap without vhost-net, in a network namespace of its own. Needs root and /dev/net/tun; skipped, and said so, without. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/counted.h"
#include "tests/unit/tap_card.h"

#define ALL_OF_TAP UINT64_C(0x1ffab)

static const struct net_memory NO_MEMORY;

static int enter_namespace(void **state)
{
	(void)state;
	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) < 0 || unshare(CLONE_NEWNET) < 0)
		return 0;
	/* quiet: no IPv6 of the host's own on the wire */
	if (system("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip tuntap add dev tap0 mode tap && ip link set tap0 mtu 9000 up") !=
	    0)
		return 0;
	*state = *state == NULL ? (void *)(uintptr_t)1 : *state;
	return 0;
}

#define NEEDS_TAP(state)                                                                                               \
	do {                                                                                                           \
		if (*(state) == NULL) {                                                                                \
			print_message("SKIPPED: no root, /dev/net/tun or ip\n");                                       \
			skip();                                                                                        \
		}                                                                                                      \
	} while (0)

static struct net_options tap_options(const char *name)
{
	return (struct net_options){.option = "--net tap=tap0", .kind = NET_TAP, .tap = name, .vhost = NET_VHOST_OFF};
}

static struct card *card_new(uint64_t features)
{
	struct net_options options = tap_options("tap0");
	struct card *card = calloc(1, sizeof(*card));
	struct error err = {0};

	assert_non_null(card);
	if (net_init(&card->net, &options, &NO_MEMORY, NULL, &err) < 0)
		fail_msg("%s", err.text);
	card->wire = open_wire();
	driver_init(&card->driver, &card->net.device);
	assert_true(driver_start(&card->driver, features, QUEUE));
	return card;
}

/* Ethernet with our type; the rest by chance. */
static void fill(struct card *card, uint8_t *frame, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		frame[i] = (uint8_t)(seed + i * 13 + (i >> 8));
	memset(frame, 0xff, 6);
	memcpy(frame + 6, card->net.mac, 6);
	frame[12] = TYPE >> 8;
	frame[13] = TYPE & 0xff;
}

static void transmit(struct card *card, const uint8_t *frame, size_t size, const struct net_header *header)
{
	uint64_t gpa = driver_alloc(&card->driver, HEADER + size, 16);
	/* split in an odd place: the kernel gathers it */
	const struct driver_buffer buffers[] = {
		{gpa, HEADER, false}, {gpa + HEADER, 9, false}, {gpa + HEADER + 9, (uint32_t)size - 9, false}};

	memcpy(driver_at(&card->driver, gpa), header, HEADER);
	memcpy(driver_at(&card->driver, gpa + HEADER), frame, size);
	assert_true(driver_add(&card->driver, TX, buffers, 3) >= 0);
	driver_kick(&card->driver, TX);
	driver_work(&card->driver, 0);
	assert_true(driver_take(&card->driver, TX, NULL) >= 0);
}

static size_t take(struct card *card, uint8_t *frame)
{
	size_t done = 0;
	unsigned left = 1;

	driver_work(&card->driver, 20);
	for (bool first = true; left > 0; first = false, left--) {
		uint32_t written, skip = first ? HEADER : 0;
		int head = driver_take(&card->driver, RX, &written);
		const uint8_t *at;

		if (head < 0) {
			assert_true(first);
			return 0;
		}
		at = driver_at(&card->driver, card->rx_gpa[head]);
		if (first)
			memcpy(&left, at + 10, 2);
		memcpy(frame + done, at + skip, written - skip);
		done += written - skip;
	}
	return done;
}

static void test_offers(void **state)
{
	struct card *card;
	uint8_t config[12];

	NEEDS_TAP(state);
	card = card_new(DRIVER_ALL_FEATURES);
	assert_int_equal(driver_offered(&card->driver) & 0x1ffff, ALL_OF_TAP);
	driver_read_config(&card->driver, 0, config, sizeof(config));
	assert_memory_equal(config, card->net.mac, 6);
	assert_int_equal(config[0] & 3, 2);
	assert_int_equal(config[10] | config[11] << 8, 9000);
	card_free(card);
}

static void both_ways(uint64_t features)
{
	static const size_t sizes[] = {60, 1000, 1514, 4000, 9014};
	struct card *card = card_new(features);
	static uint8_t frame[16384], got[16384];
	struct net_header plain = {0};

	for (unsigned i = 0; i < QUEUE; i++)
		give(card);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		bool fits = (features & NET_FEATURE_MRG_RXBUF) != 0 || sizes[i] + HEADER <= BUFFER;

		fill(card, frame, sizes[i], (unsigned)i);
		transmit(card, frame, sizes[i], &plain);
		assert_int_equal(recv(card->wire, got, sizeof(got), 0), sizes[i]);
		assert_memory_equal(got, frame, sizes[i]);
		assert_int_equal(send(card->wire, frame, sizes[i], 0), sizes[i]);
		assert_int_equal(take(card, got), fits ? sizes[i] : 0);
		if (fits)
			assert_memory_equal(got, frame, sizes[i]);
	}
	card_free(card);
}

static void test_both_ways(void **state)
{
	NEEDS_TAP(state);
	both_ways(DRIVER_ALL_FEATURES);
	both_ways(DRIVER_ALL_FEATURES & ~NET_FEATURE_MRG_RXBUF);
	both_ways(VIRTIO_FEATURE_VERSION_1);
}

/* Frames that the kernel refuses are dropped, and the ring goes on. */
static void test_hostile_headers(void **state)
{
	static const struct net_header headers[] = {
		{.flags = 1, .checksum_start = 0xffff, .checksum_offset = 0xffff},
		{.gso_type = 1, .gso_size = 0, .header_length = 0xffff},
		{.gso_type = 0xff, .gso_size = 1, .header_length = 1},
	};
	struct net_header plain = {0};
	static uint8_t frame[256], got[1024];
	struct card *card;

	NEEDS_TAP(state);
	card = card_new(DRIVER_ALL_FEATURES);
	fill(card, frame, sizeof(frame), 1);
	for (size_t i = 0; i < 3; i++)
		transmit(card, frame, sizeof(frame), &headers[i]);
	transmit(card, frame, sizeof(frame), &plain);
	assert_int_equal(counted(&card->net.device, "dropped", "from_guest"), 3);
	assert_int_equal(recv(card->wire, got, sizeof(got), 0), sizeof(frame));
	assert_false(driver_needs_reset(&card->driver));
	card_free(card);
}

/* More than the guest has room for waits in the tap's own queue; the loop rests. */
static void test_starved(void **state)
{
	static uint8_t frame[1000], got[16384];
	struct card *card;

	NEEDS_TAP(state);
	card = card_new(DRIVER_ALL_FEATURES);
	for (unsigned i = 0; i < 100; i++) {
		fill(card, frame, sizeof(frame), i);
		assert_int_equal(send(card->wire, frame, sizeof(frame), 0), sizeof(frame));
	}
	driver_work(&card->driver, 10);
	for (unsigned i = 0; i < 100; i++) {
		give(card);
		assert_int_equal(take(card, got), sizeof(frame));
		fill(card, frame, sizeof(frame), i);
		assert_memory_equal(got, frame, sizeof(frame));
	}
	card_free(card);
}

static void expect_error(const char *name, int code, const char *text)
{
	struct net_options options = tap_options(name);
	struct error err = {0};
	struct net net;

	assert_int_equal(net_init(&net, &options, &NO_MEMORY, NULL, &err), code);
	print_message("%s\n", err.text);
	assert_non_null(strstr(err.text, text));
	net_release(&net);
}

static void test_errors(void **state)
{
	struct net_options options = tap_options("tap0");
	struct error err;
	struct card *card;
	struct net net;
	int status, code;
	pid_t pid;

	NEEDS_TAP(state);
	expect_error("tap7", -ENODEV, "ip tuntap add dev tap7 mode tap");
	expect_error("lo", -EINVAL, "lo is not a tap");
	card = card_new(DRIVER_ALL_FEATURES);
	expect_error("tap0", -EBUSY, "in use by another process");
	card_free(card);
	if (access("/dev/vhost-net", F_OK) < 0) {
		options.vhost = NET_VHOST_ON;
		assert_int_equal(net_init(&net, &options, &NO_MEMORY, NULL, &err), -ENOENT);
		print_message("%s\n", err.text);
		assert_non_null(strstr(err.text, "modprobe vhost_net"));
	}
	/* a user who does not own it */
	pid = fork();
	if (pid == 0) {
		options.vhost = NET_VHOST_OFF;
		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(3);
		/* Debian lets everybody open /dev/net/tun, others do not */
		code = net_init(&net, &options, &NO_MEMORY, NULL, &err);
		if (code != -EACCES && code != -EPERM)
			_exit(4);
		if (strstr(err.text, code == -EPERM ? "belongs to another user" : "no permission for /dev/net/tun") ==
		    NULL)
			_exit(5);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The administrator deletes the tap: the cable is pulled, the machine goes on. */
static void test_tap_disappears(void **state)
{
	struct net_header plain = {0};
	static uint8_t frame[100];
	struct card *card;
	uint8_t status;

	NEEDS_TAP(state);
	card = card_new(DRIVER_ALL_FEATURES);
	give(card);
	driver_work(&card->driver, 10);
	assert_int_equal(system("ip link del tap0"), 0);
	driver_work(&card->driver, 20);
	driver_read_config(&card->driver, 6, &status, 1);
	assert_int_equal(status, 0);
	fill(card, frame, sizeof(frame), 0);
	transmit(card, frame, sizeof(frame), &plain);
	assert_false(driver_needs_reset(&card->driver));
	card_free(card);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offers),  cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_starved), cmocka_unit_test(test_hostile_headers),
		cmocka_unit_test(test_errors),  cmocka_unit_test(test_tap_disappears),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
