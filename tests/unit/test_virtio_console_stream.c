/* SPDX-License-Identifier: Apache-2.0 */
/* The console device under load (every byte of long streams, both ways at once), and under a guest that breaks the rules. */
#include "tests/unit/unit.h"
#include "tests/unit/virtio_console_driver.h"

#include <pthread.h>
#include <signal.h>

enum { PATTERN = 65521, PATIENCE_MS = 20000 };

#define STREAM (100 * MIB)

struct load {
	struct guest guest; /* first */
	uint8_t pattern[2 * PATTERN];
	atomic_bool stop;
	const char *_Atomic fault;
	unsigned port;
};

static int set_up(void **state)
{
	struct load *load = calloc(1, sizeof(*load));
	struct prng prng = prng_new(__func__);

	assert_non_null(load);
	for (unsigned i = 0; i < PATTERN; i++)
		load->pattern[i] = load->pattern[i + PATTERN] = (uint8_t)prng_next(&prng);
	init(&load->guest, false);
	*state = load;
	return 0;
}

/* ------------------------------------------------------------------------------------------------- long streams */

static void *run_device(void *context)
{
	struct load *load = context;

	while (!atomic_load(&load->stop))
		driver_work_once(&load->guest.driver, 10);
	return NULL;
}

static void wait_for(int fd, short events)
{
	struct pollfd wait = {.fd = fd, .events = events};

	driver_require(poll(&wait, 1, PATIENCE_MS) == 1);
}

/* The host's half that writes: in pieces of any size, then the end. */
static void *write_host(void *context)
{
	struct load *load = context;
	int fd = load->port == 0 ? load->guest.host[0] : load->guest.to_guest;
	struct prng prng = {7};
	uint64_t done = 0;

	while (done < STREAM) {
		size_t size = 1 + prng_below(&prng, PATTERN);
		ssize_t put;

		size = size < STREAM - done ? size : STREAM - done;
		put = write(fd, load->pattern + done % PATTERN, size);
		if (put < 0)
			wait_for(fd, POLLOUT);
		else
			done += (uint64_t)put;
	}
	if (load->port != 0) {
		close(fd);
		load->guest.to_guest = -1;
	}
	return NULL;
}

static void *read_host(void *context)
{
	struct load *load = context;
	int fd = load->port == 0 ? load->guest.host[0] : load->guest.from_guest;
	static const char FAULT[] = "the host got a wrong byte";
	struct prng prng = {9};
	uint8_t bytes[20000];
	uint64_t done = 0;

	while (done < STREAM) {
		ssize_t got = read(fd, bytes, 1 + prng_below(&prng, sizeof(bytes)));

		if (got < 0)
			wait_for(fd, POLLIN);
		else if (got == 0)
			break;
		else if (memcmp(bytes, load->pattern + done % PATTERN, (size_t)got) != 0)
			load->fault = FAULT;
		done += got > 0 ? (uint64_t)got : 0;
	}
	if (done != STREAM)
		load->fault = "the host got too little";
	return NULL;
}

/* The guest, in this thread: sends and receives at once, sleeps when it can do neither. */
static void pump_guest(struct load *load)
{
	struct guest *guest = &load->guest;
	struct virtio_driver *driver = &guest->driver;
	unsigned in = in_queue(load->port), out = in + 1;
	struct prng prng = {11};
	uint64_t sent = 0, received = 0;
	uint8_t bytes[BUFFER];

	while (sent < STREAM || received < STREAM) {
		uint32_t size = (uint32_t)(1 + prng_below(&prng, BUFFER)), got;
		bool moved = false;

		size = size < STREAM - sent ? size : (uint32_t)(STREAM - sent);
		if (size > 0 && guest_send(guest, out, load->pattern + sent % PATTERN, size)) {
			sent += size;
			moved = true;
		}
		got = guest_receive(guest, in, bytes, BUFFER);
		if (memcmp(bytes, load->pattern + received % PATTERN, got) != 0)
			load->fault = "the guest got a wrong byte";
		received += got;
		if (moved || got > 0 || driver_enable_interrupts(driver, in) || driver_enable_interrupts(driver, out))
			continue;
		if (sent < STREAM || received < STREAM) {
			uint64_t before = driver->interrupts;

			driver_wait_interrupt(driver, PATIENCE_MS);
			driver_require(driver->interrupts > before);
		}
	}
}

static void stream(struct load *load, unsigned port, uint64_t features)
{
	struct guest *guest = &load->guest;
	pthread_t device, writer, reader;

	start(guest, features);
	load->port = port;
	assert_int_equal(pthread_create(&device, NULL, run_device, load), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_host, load), 0);
	assert_int_equal(pthread_create(&reader, NULL, read_host, load), 0);
	pump_guest(load);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	atomic_store(&load->stop, true);
	pthread_join(device, NULL);
	if (load->fault != NULL)
		fail_msg("%s", load->fault);
	assert_int_equal(counter_read(&guest->console.ports[port].in_bytes), STREAM);
	assert_int_equal(counter_read(&guest->console.ports[port].out_bytes), STREAM);
	print_message("%" PRIu64 " kicks, %" PRIu64 " interrupts\n", guest->driver.kicks, guest->driver.interrupts);
	if (port != 0)
		hear(guest, port, PORT_OPEN, 0, "");
	hear_nothing(guest);
}

static void test_socket(void **state)
{
	stream(*state, 0, DRIVER_ALL_FEATURES);
}

static void test_pipes(void **state)
{
	stream(*state, 1, DRIVER_ALL_FEATURES & ~VIRTIO_FEATURE_EVENT_IDX);
}

/* A file as input and one as output: neither can be watched. */
static void test_files(void **state)
{
	struct load *load = *state;
	struct guest *guest = &load->guest;
	const size_t size = 3 * MIB + 17;
	int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	uint8_t *copy = malloc(size);
	uint8_t bytes[BUFFER];
	struct error err;
	size_t received = 0;

	assert_true(in >= 0 && out >= 0 && copy != NULL);
	for (size_t done = 0; done < size;) {
		size_t part = size - done < PATTERN ? size - done : PATTERN;

		assert_int_equal(write(in, load->pattern, part), part);
		done += part;
	}
	assert_int_equal(lseek(in, 0, SEEK_SET), 0);
	start(guest, DRIVER_ALL_FEATURES);
	assert_int_equal(virtio_console_attach(&guest->console, 1, in, dup(out), &err), 0);
	hear(guest, 1, PORT_OPEN, 1, "");
	while (received < size) {
		uint32_t got = guest_receive(guest, 4, bytes, BUFFER);

		driver_work(&guest->driver, 0);
		received += got;
		if (got > 0)
			assert_true(guest_send(guest, 5, bytes, got));
	}
	driver_work(&guest->driver, 0);
	hear(guest, 1, PORT_OPEN, 0, "");
	assert_int_equal(pread(out, copy, size, 0), size);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(copy[i], load->pattern[i % PATTERN]);
	free(copy);
	close(out);
}

/* One huge request: it is written in turns, others come between, and a reset in its middle forgets it. */
static void test_huge_request(void **state)
{
	struct load *load = *state;
	struct guest *guest = &load->guest;
	struct virtio_driver *driver = &guest->driver;
	const uint32_t size = 8 << 20;
	uint64_t gpa = driver_alloc(driver, size, 16);
	static const int NULL_FLAGS = O_WRONLY | O_CLOEXEC;
	struct error err;
	unsigned turns = 0;

	start(guest, DRIVER_ALL_FEATURES);
	assert_int_equal(virtio_console_attach(&guest->console, 2, -1, open("/dev/null", NULL_FLAGS), &err), 0);
	driver_work(driver, 0);
	driver_add(driver, 7, (struct driver_buffer[]){{gpa, size, false}}, 1);
	driver_kick(driver, 7);
	while (driver_take(driver, 7, NULL) < 0 && driver_work_once(driver, 0))
		turns++;
	assert_int_equal(counter_read(&guest->console.ports[2].out_bytes), size);
	assert_true(turns >= size / VIRTIO_CONSOLE_TURN_MAX);
	driver_add(driver, 5, (struct driver_buffer[]){{gpa, size, false}}, 1);
	driver_kick(driver, 5);
	driver_work(driver, 0);
	assert_true(guest->console.ports[1].sending);
	driver_reset(driver);
	assert_false(guest->console.ports[1].sending || guest->console.ports[1].watched[VIRTIO_CONSOLE_OUT]);
	assert_false(driver_work_once(driver, 20));
	start(guest, DRIVER_ALL_FEATURES);
}

/* A reader that is slower than the machine's end still gets everything. */
static void *read_slowly(void *context)
{
	struct load *load = context;
	struct timespec pause = {.tv_nsec = 100 * 1000};
	uint8_t part[9999];
	size_t *done = calloc(1, sizeof(*done));
	ssize_t got;

	while ((got = read(load->guest.from_guest, part, sizeof(part))) != 0) {
		if (got > 0)
			*done += (size_t)got;
		else
			nanosleep(&pause, NULL);
	}
	return done;
}

static void test_flush(void **state)
{
	struct load *load = *state;
	struct guest *guest = &load->guest;
	struct virtio_driver *driver = &guest->driver;
	const uint32_t size = 3 << 20;
	int stop[2];
	pthread_t reader;
	void *done;

	start(guest, DRIVER_ALL_FEATURES);
	assert_true(virtio_console_is_open(&guest->console, 1));
	assert_false(virtio_console_is_open(&guest->console, 2));
	assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
	for (int i = 0; i < 2; i++)
		driver_add(driver, 5, (struct driver_buffer[]){{driver_alloc(driver, size, 16), size, false}}, 1);
	/* nobody reads: it waits until it is told to stop */
	assert_int_equal(write(stop[1], "x", 1), 1);
	virtio_console_flush(&guest->console, -1, stop[0]);
	assert_true(guest->console.ports[1].sending);
	assert_int_equal(read(stop[0], (char[1]){0}, 1), 1);
	assert_int_equal(pthread_create(&reader, NULL, read_slowly, load), 0);
	virtio_console_flush(&guest->console, -1, stop[0]);
	assert_int_equal(counter_read(&guest->console.ports[1].out_bytes), 2 * size);
	virtio_console_release(&guest->console);
	assert_int_equal(pthread_join(reader, &done), 0);
	assert_int_equal(*(size_t *)done, 2 * size);
	free(done);
	close(stop[0]);
	close(stop[1]);
}

/* Requests of several buffers, whose bounds fall anywhere in what a pipe takes and gives at a time. */
static void test_scattered(void **state)
{
	struct load *load = *state;
	struct guest *guest = &load->guest;
	struct virtio_driver *driver = &guest->driver;
	const uint32_t sizes[] = {1, 60000, 3, 40000, 50000};
	struct driver_buffer buffers[6], room[6];
	uint8_t *bytes = driver_at(driver, driver_alloc(driver, 2 * PATTERN, 16));
	uint8_t part[9999];
	size_t total = 0, done = 0;
	ssize_t got;

	start(guest, DRIVER_ALL_FEATURES);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t gpa = driver_alloc(driver, sizes[i] + 64, 16);

		memcpy(driver_at(driver, gpa), load->pattern + total % PATTERN, sizes[i]);
		buffers[i] = (struct driver_buffer){gpa, sizes[i], false};
		room[i] = (struct driver_buffer){gpa, sizes[i], true};
		total += sizes[i];
	}
	assert_true(driver_add(driver, 5, buffers, 5) >= 0);
	driver_kick(driver, 5);
	while (driver_work(driver, 0), (got = read(guest->from_guest, part, sizeof(part))) > 0) {
		assert_memory_equal(part, load->pattern + done % PATTERN, (size_t)got);
		done += (size_t)got;
	}
	assert_int_equal(done, total);
	/* and the other way round, into one chain behind what is there already */
	for (unsigned i = 0; i < QUEUE; i++)
		assert_int_equal(write(guest->to_guest, "x", 1), 1), driver_work(driver, 0);
	for (unsigned i = 0; i < QUEUE; i++)
		assert_true(driver_take(driver, 4, NULL) >= 0);
	assert_true(driver_add(driver, 4, room, 5) >= 0);
	driver_kick(driver, 4);
	assert_int_equal(write(guest->to_guest, load->pattern, 60002), 60002);
	driver_work(driver, 0);
	memcpy(bytes, driver_at(driver, room[0].gpa), 1);
	memcpy(bytes + 1, driver_at(driver, room[1].gpa), 60000);
	memcpy(bytes + 60001, driver_at(driver, room[2].gpa), 1);
	assert_memory_equal(bytes, load->pattern, 60002);
}

/* More input than a turn may move, from a file, which wakes nobody: the turns follow each other all the same. */
static void test_turns_of_input(void **state)
{
	struct load *load = *state;
	struct guest *guest = &load->guest;
	struct virtio_driver *driver = &guest->driver;
	const uint32_t size = 8 * VIRTIO_CONSOLE_TURN_MAX / 3;
	uint64_t gpa = driver_alloc(driver, size, 16);
	struct message open = {.id = 2, .event = PORT_OPEN, .value = 1};
	int file = memfd_create("in", MFD_CLOEXEC);
	struct error err;

	assert_int_equal(ftruncate(file, 4 * size), 0);
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, QUEUE));
	for (unsigned i = 0; i < 4; i++)
		driver_add(driver, 6, (struct driver_buffer[]){{gpa, size, true}}, 1);
	assert_int_equal(virtio_console_attach(&guest->console, 2, file, -1, &err), 0);
	assert_true(guest_send(guest, CTRL_OUT, &open, 8));
	assert_true(driver_work_once(driver, 0));
	assert_int_equal(counter_read(&guest->console.ports[2].in_bytes), VIRTIO_CONSOLE_TURN_MAX);
	driver_work(driver, 0);
	/* a buffer takes what a turn has left */
	assert_int_equal(counter_read(&guest->console.ports[2].in_bytes), 4 * VIRTIO_CONSOLE_TURN_MAX);
}

/* ------------------------------------------------------------------------------------------------- hostile guests */

static void expect_needs_reset(struct guest *guest)
{
	struct virtio_driver *driver = &guest->driver;

	driver_work(driver, 0);
	assert_true(driver_needs_reset(driver));
	/* the host side may be as lively as it likes: nothing spins */
	assert_true(write(guest->host[0], "x", 1) == 1 && write(guest->to_guest, "x", 1) == 1);
	driver_work(driver, 0);
	assert_false(driver_work_once(driver, 20));
	start(guest, DRIVER_ALL_FEATURES);
	driver_work(driver, 0);
}

static void test_broken_requests(void **state)
{
	struct guest *guest = &((struct load *)*state)->guest;
	struct virtio_driver *driver = &guest->driver;
	uint64_t gpa = driver_alloc(driver, 64, 16);

	for (unsigned index = 0; index < 8; index++) {
		start(guest, DRIVER_ALL_FEATURES);
		driver_publish(driver, index, 0xffff);
		driver_kick_always(driver, index);
		assert_int_equal(write(guest->host[0], "x", 1), 1);
		/* a broken entry behind good ones shows when their turn is over; port 2 (queues 6, 7) has no host and reads nothing */
		for (unsigned i = 0; i < QUEUE + 8u && index != 6 && !driver_needs_reset(driver); i++) {
			if (index == CTRL_IN)
				tell(guest, 0, DEVICE_READY, 1);
			assert_int_equal(write(guest->host[0], "x", 1), 1);
			assert_int_equal(write(guest->to_guest, "x", 1), 1);
			driver_work(driver, 0);
		}
		if (index != 6)
			expect_needs_reset(guest);
	}
	/* too short, and writable ones, where messages of the guest belong */
	driver_add(driver, CTRL_OUT, (struct driver_buffer[]){{gpa, 7, false}}, 1);
	driver_kick(driver, CTRL_OUT);
	expect_needs_reset(guest);
	driver_add(driver, CTRL_OUT, (struct driver_buffer[]){{gpa, 8, true}}, 1);
	driver_kick(driver, CTRL_OUT);
	expect_needs_reset(guest);
}

/* Receive buffers that cannot be written, on the stream and on the control queue. */
static void test_readable_receive_buffers(void **state)
{
	struct guest *guest = &((struct load *)*state)->guest;
	struct virtio_driver *driver = &guest->driver;
	uint64_t gpa = driver_alloc(driver, 64, 16);
	struct message ready = {.id = 0, .event = DEVICE_READY, .value = 1};
	struct message open = {.id = 0, .event = PORT_OPEN, .value = 1};

	for (unsigned i = 0; i < 4; i++) {
		assert_true(driver_start(driver, DRIVER_ALL_FEATURES, QUEUE));
		driver_add(driver, CTRL_IN, (struct driver_buffer[]){{gpa, i == 0 ? 7 : 64, i != 1}}, 1);
		driver_add(driver, 0, (struct driver_buffer[]){{gpa, 64, false}, {gpa, 64, true}}, 1 + i % 2);
		driver_kick(driver, CTRL_IN);
		assert_true(guest_send(guest, CTRL_OUT, i >= 2 ? &open : &ready, 8));
		assert_int_equal(write(guest->host[0], "x", 1), 1);
		expect_needs_reset(guest);
	}
}

static void test_odd_messages(void **state)
{
	struct guest *guest = &((struct load *)*state)->guest;
	struct prng prng = prng_new(__func__);
	struct message message;
	unsigned heard = 0;

	start(guest, DRIVER_ALL_FEATURES);
	for (unsigned i = 0; i < 20000; i++) {
		message.id = (uint32_t)(prng_below(&prng, 4) == 0 ? prng_next(&prng) : prng_below(&prng, 5));
		message.event = (uint16_t)(prng_below(&prng, 4) == 0 ? prng_next(&prng) : prng_below(&prng, 9));
		message.value = (uint16_t)prng_below(&prng, 3);
		assert_true(guest_send(guest, CTRL_OUT, &message, 8));
		driver_work(&guest->driver, 0);
		while (guest_receive(guest, CTRL_IN, &message, 80) > 0)
			heard++;
	}
	assert_false(driver_needs_reset(&guest->driver));
	assert_true(heard > 1000);
	start(guest, DRIVER_ALL_FEATURES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_socket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pipes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_huge_request, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flush, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_scattered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_turns_of_input, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_broken_requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_readable_receive_buffers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_odd_messages, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
