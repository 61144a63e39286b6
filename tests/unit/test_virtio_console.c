/* SPDX-License-Identifier: Apache-2.0 */
/* devices/virtio/console.c and console_port.c under a driver that does what Linux's virtio_console does, and when the device cannot be made. */
#include "tests/unit/counted.h"
#include "tests/unit/unit.h"
#include "tests/unit/virtio_console_driver.h"

#include <signal.h>
#include <sys/resource.h>

static int set_up(void **state)
{
	*state = calloc(1, sizeof(struct guest));
	assert_non_null(*state);
	init(*state, false);
	return 0;
}

static int set_up_open_after_eof(void **state)
{
	*state = calloc(1, sizeof(struct guest));
	assert_non_null(*state);
	init(*state, true);
	return 0;
}

/* ------------------------------------------------------------------------------------------------- by the book */

static void test_handshake(void **state)
{
	struct guest *guest = *state;
	uint8_t config[8];

	assert_int_equal(driver_read(&guest->driver, DRIVER_REG_DEVICE_ID), 3);
	driver_read_config(&guest->driver, 0, config, sizeof(config));
	assert_memory_equal(config, "\0\0\0\0\3\0\0\0", 8);
	for (unsigned i = 0; i < 3; i++)
		start(guest, DRIVER_ALL_FEATURES);
	start(guest, VIRTIO_FEATURE_VERSION_1 | 2);
	/* a port that the driver cannot make */
	tell(guest, 1, PORT_READY, 0);
	hear_nothing(guest);
	assert_true(driver_wait_interrupt(&guest->driver, 0) > 0);
}

static void test_messages_wait_for_buffers(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, QUEUE));
	for (unsigned i = 0; i < 3; i++)
		tell(guest, 0, DEVICE_READY, 1);
	tell(guest, 1, PORT_READY, 1);
	refill(guest, CTRL_IN);
	hear(guest, 0, PORT_ADD, 1, "");
	hear(guest, 1, PORT_NAME, 1, "pipes");
	hear(guest, 1, PORT_OPEN, 1, "");
	hear(guest, 2, PORT_ADD, 1, "");
	hear_nothing(guest);
}

static void test_bytes(void **state)
{
	struct guest *guest = *state;
	uint8_t bytes[BUFFER];

	start(guest, DRIVER_ALL_FEATURES);
	assert_int_equal(write(guest->host[0], "question", 8), 8);
	assert_int_equal(write(guest->to_guest, "in", 2), 2);
	driver_work(&guest->driver, 0);
	assert_int_equal(guest_receive(guest, 0, bytes, BUFFER), 8);
	assert_memory_equal(bytes, "question", 8);
	assert_int_equal(guest_receive(guest, 4, bytes, BUFFER), 2);
	assert_true(guest_send(guest, 1, "answer", 6));
	assert_true(guest_send(guest, 5, "out", 3));
	driver_work(&guest->driver, 0);
	assert_int_equal(read(guest->host[0], bytes, BUFFER), 6);
	assert_memory_equal(bytes, "answer", 6);
	assert_int_equal(read(guest->from_guest, bytes, BUFFER), 3);
	assert_int_equal(driver_take(&guest->driver, 1, NULL), 0);
	/* a port without a host drops what it gets */
	assert_true(guest_send(guest, 7, "lost", 4));
	driver_work(&guest->driver, 0);
	assert_int_equal(driver_take(&guest->driver, 7, NULL), 0);
}

/* A port that no process of the guest's has open gets nothing: Linux would throw it away. */
static void test_closed_in_the_guest(void **state)
{
	struct guest *guest = *state;
	uint8_t bytes[BUFFER];

	start(guest, DRIVER_ALL_FEATURES);
	tell(guest, 0, PORT_OPEN, 0);
	assert_int_equal(write(guest->host[0], "wait", 4), 4);
	driver_kick_always(&guest->driver, 0);
	driver_work(&guest->driver, 0);
	assert_int_equal(guest_receive(guest, 0, bytes, BUFFER), 0);
	tell(guest, 0, PORT_OPEN, 1);
	assert_int_equal(guest_receive(guest, 0, bytes, BUFFER), 4);
}

/* Byte n of a stream is n mod 251. Writes on from *sent until the descriptor has no room. */
static void fill(int fd, size_t *sent)
{
	uint8_t bytes[1024];
	ssize_t put;

	do {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)((*sent + i) % 251);
		put = write(fd, bytes, sizeof(bytes));
		*sent += put > 0 ? (size_t)put : 0;
	} while (put > 0);
}

static void check(const uint8_t *bytes, size_t size, size_t *received)
{
	for (size_t i = 0; i < size; i++)
		assert_int_equal(bytes[i], (*received + i) % 251);
	*received += size;
}

/* A guest that does not read stops the host, and costs nothing while it stands. */
static void test_guest_does_not_read(void **state)
{
	struct guest *guest = *state;
	uint8_t bytes[BUFFER];
	size_t sent = 0, received = 0;
	uint32_t size;

	start(guest, DRIVER_ALL_FEATURES);
	fill(guest->to_guest, &sent);
	driver_work(&guest->driver, 0);
	fill(guest->to_guest, &sent);
	driver_work(&guest->driver, 0);
	assert_false(driver_work_once(&guest->driver, 50));
	assert_false(guest->console.ports[1].watched[VIRTIO_CONSOLE_IN]);
	do {
		size = guest_receive(guest, 4, bytes, BUFFER);
		check(bytes, size, &received);
		driver_work(&guest->driver, 0);
	} while (size > 0);
	assert_int_equal(received, sent);
}

static void test_host_does_not_read(void **state)
{
	struct guest *guest = *state;
	uint8_t bytes[BUFFER];
	size_t sent = 0, received = 0;
	ssize_t got;

	start(guest, DRIVER_ALL_FEATURES);
	for (;;) {
		for (size_t i = 0; i < 3000; i++)
			bytes[i] = (uint8_t)((sent + i) % 251);
		if (!guest_send(guest, 5, bytes, 3000))
			break;
		sent += 3000;
		driver_work(&guest->driver, 0);
	}
	assert_true(sent > 65536);
	assert_false(driver_work_once(&guest->driver, 50));
	assert_true(guest->console.ports[1].watched[VIRTIO_CONSOLE_OUT]);
	while (driver_work(&guest->driver, 0), (got = read(guest->from_guest, bytes, 777)) > 0) {
		check(bytes, (size_t)got, &received);
	}
	assert_int_equal(received, sent);
	assert_false(guest->console.ports[1].watched[VIRTIO_CONSOLE_OUT]);
	assert_int_equal(counter_read(&guest->console.ports[1].out_bytes), sent);
	assert_int_equal(counted(&guest->console.device, "out", guest->console.ports[1].name), sent);
	assert_int_equal(counted(&guest->console.device, "in", guest->console.ports[1].name), 0);
}

/* ------------------------------------------------------------------------------------------------- ends */

static void test_end_of_file(void **state)
{
	struct guest *guest = *state;
	uint8_t bytes[BUFFER];

	start(guest, DRIVER_ALL_FEATURES);
	assert_int_equal(write(guest->to_guest, "last", 4), 4);
	close(guest->to_guest);
	guest->to_guest = -1;
	/* the bytes are there when the guest hears of the end */
	hear(guest, 1, PORT_OPEN, 0, "");
	assert_int_equal(guest_receive(guest, 4, bytes, BUFFER), 4);
	assert_int_equal(guest_receive(guest, 4, bytes, BUFFER), 0);
	/* what it had sent still comes out */
	assert_true(guest_send(guest, 5, "rest", 4));
	driver_work(&guest->driver, 0);
	assert_int_equal(read(guest->from_guest, bytes, BUFFER), 4);
	hear_nothing(guest);
	/* and so it stays in the guest's next life */
	start(guest, DRIVER_ALL_FEATURES);
}

static void test_open_after_eof(void **state)
{
	struct guest *guest = *state;
	uint8_t bytes[BUFFER];

	start(guest, DRIVER_ALL_FEATURES);
	assert_int_equal(write(guest->host[0], "request", 7), 7);
	assert_int_equal(shutdown(guest->host[0], SHUT_WR), 0);
	hear_nothing(guest);
	assert_int_equal(guest_receive(guest, 0, bytes, BUFFER), 7);
	assert_true(guest_send(guest, 1, "response", 8));
	driver_work(&guest->driver, 0);
	assert_int_equal(read(guest->host[0], bytes, BUFFER), 8);
	close(guest->host[0]);
	guest->host[0] = -1;
	hear_nothing(guest);
	assert_true(guest_send(guest, 1, "nobody", 6));
	hear(guest, 0, PORT_OPEN, 0, "");
}

static void test_reader_goes_away(void **state)
{
	struct guest *guest = *state;

	start(guest, DRIVER_ALL_FEATURES);
	while (guest_send(guest, 5, guest, BUFFER))
		driver_work(&guest->driver, 0);
	close(guest->from_guest);
	guest->from_guest = -1;
	hear(guest, 1, PORT_OPEN, 0, "");
	for (unsigned i = 0; i < 100; i++) {
		assert_true(guest_send(guest, 5, "drop", 4));
		driver_work(&guest->driver, 0);
	}
	assert_false(driver_work_once(&guest->driver, 20));
	assert_int_equal(write(guest->to_guest, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
}

static void test_attach(void **state)
{
	struct guest *guest = *state;
	uint8_t bytes[BUFFER];
	struct error err;
	int pair[2];

	start(guest, DRIVER_ALL_FEATURES);
	tell(guest, 2, PORT_OPEN, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(virtio_console_attach(&guest->console, 2, pair[1], pair[1], &err), 0);
		hear(guest, 2, PORT_OPEN, 1, "");
		assert_int_equal(write(pair[0], "client", 6), 6);
		driver_work(&guest->driver, 0);
		assert_int_equal(guest_receive(guest, 6, bytes, BUFFER), 6);
		assert_true(guest_send(guest, 7, "server", 6));
		driver_work(&guest->driver, 0);
		assert_int_equal(read(pair[0], bytes, BUFFER), 6);
		close(pair[0]);
		hear(guest, 2, PORT_OPEN, 0, "");
	}
}

/* A driver without MULTIPORT has port 0, open from the start, and no control queues. */
static void test_single_port(void **state)
{
	struct guest *guest = *state;
	uint8_t bytes[BUFFER];

	assert_true(driver_start(&guest->driver, DRIVER_ALL_FEATURES & ~UINT64_C(2), QUEUE));
	refill(guest, 0);
	assert_int_equal(write(guest->host[0], "abc", 3), 3);
	driver_work(&guest->driver, 0);
	assert_int_equal(guest_receive(guest, 0, bytes, BUFFER), 3);
	assert_true(guest_send(guest, 1, "defg", 4));
	driver_work(&guest->driver, 0);
	assert_int_equal(read(guest->host[0], bytes, BUFFER), 4);
}

/* ------------------------------------------------------------------------------------------------- making it */

static void refused(const struct virtio_console_port_options *ports, unsigned count, enum exit_status status,
		    const char *text)
{
	const struct virtio_console_options options = {"--port", ports, count};
	struct virtio_console *console = calloc(1, sizeof(*console));
	struct error err = {0};

	assert_non_null(console);
	assert_true(virtio_console_init(console, &options, NULL, &err) < 0);
	assert_int_equal(err.status, status);
	if (strstr(err.text, text) == NULL)
		fail_msg("'%s' does not say '%s'", err.text, text);
	virtio_console_release(console);
	free(console);
}

static void test_options(void **state)
{
	struct virtio_console_port_options many[8];
	char names[8][4], long_name[VIRTIO_CONSOLE_NAME_MAX + 2];
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC), out = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	memset(long_name, 'n', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	for (unsigned i = 0; i < 8; i++) {
		snprintf(names[i], sizeof(names[i]), "p%u", i);
		many[i] = (struct virtio_console_port_options){.name = names[i], .in_fd = -1, .out_fd = -1};
	}
	refused(many, 0, EXIT_STATUS_USAGE, "0 ports; the device has 1 to 7");
	refused(many, 8, EXIT_STATUS_USAGE, "8 ports; the device has 1 to 7");
	many[1].name = "p0";
	refused(many, 2, EXIT_STATUS_USAGE, "two ports have the name 'p0'");
	many[1].name = "";
	refused(many, 2, EXIT_STATUS_USAGE, "has 0 bytes; give it 1 to 63");
	many[1].name = long_name;
	refused(many, 2, EXIT_STATUS_USAGE, "has 64 bytes");
	many[1].name = "a/b";
	refused(many, 2, EXIT_STATUS_USAGE, "bad character (column 2)");
	many[1].name = "p1";
	many[1].in_fd = out;
	refused(many, 2, EXIT_STATUS_USAGE, "is not open for reading");
	many[1].in_fd = -1;
	many[1].out_fd = in;
	refused(many, 2, EXIT_STATUS_USAGE, "is not open for writing");
	many[0].in_fd = in;
	refused(many, 2, EXIT_STATUS_USAGE, "ports p0 and p1 share descriptor");
	many[1].out_fd = 987654;
	refused(many, 2, EXIT_STATUS_HOST, "port p1: descriptor 987654: Bad file descriptor");
	/* all of them are still the caller's */
	assert_int_equal(close(in), 0);
	assert_int_equal(close(out), 0);
}

/* Whichever descriptor cannot be had: one line, nothing left open, and the caller's own untouched. */
static void test_no_descriptors(void **state)
{
	struct rlimit old, tight;
	int pairs[2][2];

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);

	const struct virtio_console_port_options ports[] = {{.name = "a", .in_fd = pairs[0][0], .out_fd = pairs[0][0]},
							    {.name = "b", .in_fd = pairs[1][0], .out_fd = pairs[1][0]}};

	tight = old;
	/* 6 kicks, an epoll, 2 duplicates */
	for (rlim_t room = 0; room < 9; room++) {
		tight.rlim_cur = (rlim_t)pairs[1][1] + 1 + room;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
		refused(ports, 2, EXIT_STATUS_HOST, "Too many open files");
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(close(pairs[i / 2][i % 2]), 0);
	virtio_console_release(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_handshake, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_messages_wait_for_buffers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_closed_in_the_guest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_guest_does_not_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_host_does_not_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end_of_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_open_after_eof, set_up_open_after_eof, tear_down),
		cmocka_unit_test_setup_teardown(test_reader_goes_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_attach, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_single_port, set_up, tear_down),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_no_descriptors),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
