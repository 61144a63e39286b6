/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk does when the guest breaks rules, the host's disk fails, or a reset comes in the middle. */
#include "tests/unit/blk_guest.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

static enum blk_engine engine_of(void **state)
{
	return **(const enum blk_engine *const *)state;
}

static struct blk_guest *new_guest(void **state)
{
	struct blk_guest *guest =
		blk_guest_new((struct virtio_blk_options){.engine = engine_of(state)}, (uint64_t)DISK_SECTORS * SECTOR);

	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	return guest;
}

/* Puts another descriptor behind the disk: one that fails, or never answers. */
static void replace_engine(struct blk_guest *guest, int fd, enum blk_engine engine)
{
	struct error err;

	blk_io_release(&guest->blk.io);
	assert_int_equal(
		blk_io_init(&guest->blk.io, fd, VIRTIO_BLK_REQUESTS_MAX, engine, "--blk path=x", &guest->log, &err), 0);
	guest->blk.device.watch_fds[0] = guest->blk.io.event_fd;
}

/* ---- a hostile driver */

static void test_malformed_chains(void **state)
{
	struct blk_guest *guest = new_guest(state);
	struct virtio_driver *driver = &guest->driver;
	uint64_t gpa = driver_alloc(driver, 4096, 16);
	const struct {
		struct driver_buffer buffers[3];
		unsigned count;
	} CHAINS[] = {
		{{{gpa, 16, false}}, 1}, /* no status */
		{{{gpa, 16, false}, {gpa + 64, 512, false}}, 2},
		{{{gpa, 15, false}, {gpa + 64, 1, true}}, 2}, /* a short header */
		{{{gpa, 1, true}}, 1},                        /* none */
		{{{gpa, 16, true}, {gpa + 64, 1, true}}, 2},  /* one that the device may not read */
		{{{gpa, 16, false}, {gpa + 64, 0, true}}, 2}, /* a status without room */
		{{{gpa, 16, false}, {0, 512, true}, {gpa, 1, true}}, 3},
		{{{gpa, 16, false}, {DRIVER_GPA + DRIVER_MEMORY - 511, 512, true}, {gpa, 1, true}}, 3},
		{{{gpa, 0, false}}, 1},
	};

	for (size_t i = 0; i < sizeof(CHAINS) / sizeof(CHAINS[0]); i++) {
		blk_guest_start(guest, DRIVER_ALL_FEATURES);
		driver_add(driver, 0, CHAINS[i].buffers, CHAINS[i].count);
		driver_kick_always(driver, 0);
		driver_work(driver, 0);
		if (!driver_needs_reset(driver) || driver_has_used(driver, 0))
			fail_msg("chain %zu", i);
		assert_int_equal(guest->blk.free_count, VIRTIO_BLK_REQUESTS_MAX);
		/* deaf until it is reset */
		driver_kick_always(driver, 0);
		driver_work(driver, 0);
	}
	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
	blk_guest_free(guest);
}

/* A bad chain behind good ones: those are carried out, though nobody hears of it. */
static void test_bad_behind_good(void **state)
{
	struct blk_guest *guest = new_guest(state);
	struct virtio_driver *driver = &guest->driver;

	for (unsigned i = 0; i < 10; i++)
		blk_guest_add(guest, 0, VIRTIO_BLK_T_OUT, i, SECTOR, 1);
	driver_publish(driver, 0, 9999);
	driver_kick(driver, 0);
	driver_work(driver, 20);
	assert_true(driver_needs_reset(driver));
	driver_reset(driver);
	assert_int_equal(guest->blk.free_count, VIRTIO_BLK_REQUESTS_MAX);
	assert_true(blk_guest_said(guest, "broken"));
	blk_guest_free(guest);
}

static void test_too_many_segments(void **state)
{
	struct blk_guest *guest = new_guest(state);
	struct virtio_driver *driver = &guest->driver;
	struct driver_buffer *buffers = calloc(600, sizeof(*buffers));
	uint8_t header[16] = {VIRTIO_BLK_T_IN};
	uint64_t data = driver_alloc(driver, MIB, 16), status = driver_alloc(driver, 16, 16);

	assert_non_null(buffers);
	buffers[0] = (struct driver_buffer){driver_put(driver, header, 16), 16, false};
	for (unsigned pieces = 254; pieces <= 512; pieces += 258) {
		for (unsigned i = 0; i < pieces; i++)
			buffers[1 + i] = (struct driver_buffer){data, SECTOR, true};
		buffers[1 + pieces] = (struct driver_buffer){status, 1, true};
		driver_add_indirect(driver, 0, 0, buffers, pieces + 2);
		driver_kick(driver, 0);
		blk_guest_wait_used(guest, 0);
		driver_take(driver, 0, NULL);
		assert_int_equal(*(uint8_t *)driver_at(driver, status),
				 pieces <= VIRTIO_BLK_SEGMENTS_MAX ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	}
	/* the same memory many times over: more than a driver may ask for at once, and longer than any chain may be */
	for (unsigned i = 0; i < 300; i++)
		buffers[1 + i] = (struct driver_buffer){DRIVER_GPA, (uint32_t)DRIVER_MEMORY, true};
	buffers[101] = (struct driver_buffer){status, 1, true};
	driver_add_indirect(driver, 0, 0, buffers, 102);
	driver_kick(driver, 0);
	blk_guest_wait_used(guest, 0);
	driver_take(driver, 0, NULL);
	assert_int_equal(*(uint8_t *)driver_at(driver, status), VIRTIO_BLK_S_IOERR);
	buffers[101] = (struct driver_buffer){DRIVER_GPA, (uint32_t)DRIVER_MEMORY, true};
	driver_add_indirect(driver, 0, 0, buffers, 301);
	driver_kick(driver, 0);
	driver_work(driver, 0);
	assert_true(driver_needs_reset(driver));
	free(buffers);
	blk_guest_free(guest);
}

/* One kick does a bounded amount; the rest comes without another one. */
static void test_turns_are_bounded(void **state)
{
	struct blk_guest *guest = new_guest(state);
	struct virtio_driver *driver = &guest->driver;
	unsigned answered = 0, rounds = 0;
	uint64_t data = driver_alloc(driver, 3 * MIB, 16);

	for (unsigned i = 0; i < 40; i++) {
		uint8_t header[16] = {VIRTIO_BLK_T_IN};

		driver_add(driver, 0,
			   (struct driver_buffer[]){{driver_put(driver, header, 16), 16, false},
						    {data, (uint32_t)(3 * MIB), true},
						    {driver_alloc(driver, 1, 1), 1, true}},
			   3);
	}
	driver_kick(driver, 0);
	virtio_kicked(&guest->blk.device, 0);
	assert_true(counter_read(&guest->blk.counters[BLK_KIND_READ].requests) + guest->blk.io.in_flight <=
		    VIRTIO_BLK_TURN_BYTES / (3 * MIB) + 1);
	while (answered < 40) {
		assert_true(rounds++ < 1000);
		driver_work_once(driver, 100);
		while (driver_take(driver, 0, NULL) >= 0)
			answered++;
	}
	blk_guest_free(guest);
}

/* ---- a failing disk */

static void test_file_cut_short(void **state)
{
	struct blk_guest *guest = new_guest(state);
	uint8_t bytes[8 * SECTOR] = {1};

	assert_int_equal(truncate(guest->path, 100 * SECTOR + 100), 0);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 92, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 93, bytes, sizeof(bytes)), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 100, bytes, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 5000, bytes, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_true(blk_guest_said(guest,
				   "cannot read at byte 2560000: the file ends before; the guest gets an I/O error"));
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 100, bytes, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES, &(struct blk_range){99, 2, 0}, 1),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
	/* it did not grow again */
	assert_int_equal(blk_file_size_now(&guest->blk.file), 100 * SECTOR + 100);
	/* but the owner may repair it */
	assert_int_equal(truncate(guest->path, DISK_SECTORS * SECTOR), 0);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 5000, bytes, SECTOR), VIRTIO_BLK_S_OK);
	blk_guest_free(guest);
}

/* A file that has grown: the disk has not, and what is behind its end is not the guest's. */
static void test_file_grown(void **state)
{
	struct blk_guest *guest = new_guest(state);
	uint8_t bytes[2 * SECTOR] = {1};

	assert_int_equal(truncate(guest->path, 2 * DISK_SECTORS * SECTOR), 0);
	for (uint64_t sector = DISK_SECTORS - 1; sector <= DISK_SECTORS + 1; sector++) {
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, sector, bytes, sizeof(bytes)),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, sector, bytes, sizeof(bytes)),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(
			blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES, &(struct blk_range){sector, 2, 0}, 1),
			VIRTIO_BLK_S_IOERR);
	}
	blk_guest_free(guest);
}

/* A limit that is set under the running machine: one write is cut in two at it, and its rest fails. */
static void test_file_size_limit(void **state)
{
	struct blk_guest *guest = new_guest(state);
	struct rlimit old, limit;
	uint8_t bytes[8 * SECTOR] = {1};
	uint8_t inside, across, behind;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){1000 * SECTOR, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	inside = blk_guest_do(guest, VIRTIO_BLK_T_OUT, 992, bytes, sizeof(bytes));
	across = blk_guest_do(guest, VIRTIO_BLK_T_OUT, 996, bytes, sizeof(bytes));
	behind = blk_guest_do(guest, VIRTIO_BLK_T_OUT, 2000, bytes, sizeof(bytes));
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(inside, VIRTIO_BLK_S_OK);
	assert_int_equal(across, VIRTIO_BLK_S_IOERR);
	assert_int_equal(behind, VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 2000, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
	assert_int_equal(counter_read(&guest->blk.counters[BLK_KIND_WRITE].requests), 4);
	assert_int_equal(counter_read(&guest->blk.counters[BLK_KIND_WRITE].errors), 2);
	/* two whole requests, and the four sectors before the limit */
	assert_int_equal(counter_read(&guest->blk.counters[BLK_KIND_WRITE].bytes), 2 * sizeof(bytes) + 4 * SECTOR);
	blk_guest_free(guest);
}

static void test_disk_full(void **state)
{
	struct blk_guest *guest = new_guest(state);
	uint8_t bytes[2 * SECTOR] = {1};
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	replace_engine(guest, fd, engine_of(state));
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, sizeof(bytes)), VIRTIO_BLK_S_IOERR);
	assert_true(
		blk_guest_said(guest, "cannot write at byte 0: No space left on device; the guest gets an I/O error"));
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 0, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
	/* fallocate(2) says ENODEV for a character device: an error like any other */
	assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES, &(struct blk_range){0, 8, 0}, 1),
			 VIRTIO_BLK_S_IOERR);
	/* a thousand failures do not make a thousand lines */
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, sizeof(bytes)), VIRTIO_BLK_S_IOERR);
	assert_true(lseek(guest->log_fd, 0, SEEK_END) < 20000);
	blk_guest_free(guest);
	close(fd);
}

/* ---- steps that do not end: a pipe is a disk that answers when we want it to (io_uring only: preadv(2) does not read pipes) */

struct pipe_guest {
	struct blk_guest *guest;
	int pipe[2];
};

static struct pipe_guest new_pipe_guest(void **state)
{
	struct pipe_guest result = {.guest = new_guest(state)};

	assert_int_equal(pipe2(result.pipe, O_CLOEXEC), 0);
	replace_engine(result.guest, result.pipe[0], BLK_ENGINE_AUTO);
	if (result.guest->blk.io.ring == NULL)
		skip();
	return result;
}

static void free_pipe_guest(struct pipe_guest *pipe_guest)
{
	blk_guest_free(pipe_guest->guest);
	close(pipe_guest->pipe[0]);
	close(pipe_guest->pipe[1]);
}

/* Short reads, at any byte, until the request is full. */
static void test_short_reads(void **state)
{
	struct pipe_guest p = new_pipe_guest(state);
	struct virtio_driver *driver = &p.guest->driver;
	uint8_t bytes[8 * SECTOR];
	struct prng prng = prng_new(__func__);
	struct blk_sent sent;
	uint32_t written = 0;

	blk_fill(bytes, sizeof(bytes), &prng);
	sent = blk_guest_add(p.guest, 0, VIRTIO_BLK_T_IN, 0, SECTOR, 8);
	driver_kick(driver, 0);
	for (size_t at = 0; at < sizeof(bytes);) {
		size_t part = 1 + prng_below(&prng, 700);

		part = part < sizeof(bytes) - at ? part : sizeof(bytes) - at;
		driver_work(driver, 0);
		assert_false(driver_has_used(driver, 0));
		assert_int_equal(write(p.pipe[1], bytes + at, part), part);
		at += part;
	}
	blk_guest_wait_used(p.guest, 0);
	assert_int_equal(driver_take(driver, 0, &written), sent.head);
	assert_int_equal(written, sizeof(bytes) + 1);
	assert_memory_equal(driver_at(driver, sent.data), bytes, sizeof(bytes));
	free_pipe_guest(&p);
}

/* The disk's other end goes away in the middle: what was read counts, the status does not lie in it. */
static void test_end_in_the_middle(void **state)
{
	struct pipe_guest p = new_pipe_guest(state);
	struct virtio_driver *driver = &p.guest->driver;
	uint8_t bytes[700] = {1};
	struct blk_sent sent;
	uint32_t written = 0;

	sent = blk_guest_add(p.guest, 0, VIRTIO_BLK_T_IN, 0, SECTOR, 2);
	driver_kick(driver, 0);
	driver_work(driver, 0);
	assert_int_equal(write(p.pipe[1], bytes, sizeof(bytes)), sizeof(bytes));
	close(p.pipe[1]);
	p.pipe[1] = -1;
	blk_guest_wait_used(p.guest, 0);
	driver_take(driver, 0, &written);
	assert_int_equal(written, sizeof(bytes));
	assert_int_equal(blk_guest_status(p.guest, &sent), VIRTIO_BLK_S_IOERR);
	free_pipe_guest(&p);
}

static void test_reset_in_flight(void **state)
{
	struct pipe_guest p = new_pipe_guest(state);
	struct virtio_driver *driver = &p.guest->driver;
	struct blk_sent sent[100];
	uint8_t bytes[4096];

	memset(bytes, 0x55, sizeof(bytes));
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 100; i++)
			sent[i] = blk_guest_add(p.guest, 0, VIRTIO_BLK_T_IN, 0, SECTOR, 1);
		driver_kick(driver, 0);
		driver_work(driver, 0);
		assert_int_equal(p.guest->blk.io.in_flight, 100);
		driver_reset(driver);
		assert_int_equal(p.guest->blk.io.in_flight, 0);
		assert_int_equal(p.guest->blk.free_count, VIRTIO_BLK_REQUESTS_MAX);
		/* nobody is there to take what comes now */
		assert_int_equal(write(p.pipe[1], bytes, sizeof(bytes)), sizeof(bytes));
		driver_work(driver, 20);
		for (unsigned i = 0; i < 100; i++) {
			const uint8_t *data = driver_at(driver, sent[i].data);

			assert_int_equal(blk_guest_status(p.guest, &sent[i]), NO_STATUS);
			for (unsigned at = 0; at < SECTOR; at++)
				assert_int_equal(data[at], 0);
		}
		assert_int_equal(read(p.pipe[0], bytes, sizeof(bytes)), sizeof(bytes));
		blk_guest_start(p.guest, DRIVER_ALL_FEATURES);
	}
	/* and it works again */
	sent[0] = blk_guest_add(p.guest, 0, VIRTIO_BLK_T_IN, 0, SECTOR, 1);
	assert_int_equal(write(p.pipe[1], bytes, SECTOR), SECTOR);
	assert_int_equal(blk_guest_finish(p.guest, &sent[0], NULL), VIRTIO_BLK_S_OK);
	free_pipe_guest(&p);
}

/* Released with requests in flight, as when the user ends the machine. */
static void test_release_in_flight(void **state)
{
	struct pipe_guest p = new_pipe_guest(state);

	for (unsigned i = 0; i < 200; i++)
		blk_guest_add(p.guest, 0, VIRTIO_BLK_T_IN, 0, SECTOR, 1);
	driver_kick(&p.guest->driver, 0);
	driver_work(&p.guest->driver, 0);
	free_pipe_guest(&p);
}

/* The guest resets on a vcpu's thread while the thread that submitted serves kicks, or waits for the lock. */
struct main_loop {
	const struct virtio_driver *driver;
	atomic_bool stop;
};

static void *run_main_loop(void *context)
{
	struct main_loop *loop = context;

	while (!atomic_load(&loop->stop)) {
		driver_work_once(loop->driver, 1);
		virtio_kick_again(loop->driver->device, 0);
	}
	return NULL;
}

static void test_reset_from_another_thread(void **state)
{
	struct pipe_guest p = new_pipe_guest(state);
	struct virtio_driver *driver = &p.guest->driver;
	struct main_loop loop = {.driver = driver};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run_main_loop, &loop), 0);
	for (unsigned round = 0; round < 50; round++) {
		driver->next = DRIVER_GPA;
		blk_guest_start(p.guest, DRIVER_ALL_FEATURES);
		for (unsigned i = 0; i < 50; i++)
			blk_guest_add(p.guest, 0, VIRTIO_BLK_T_IN, 0, SECTOR, 1);
		driver_kick(driver, 0);
		usleep(round * 40);
		driver_reset(driver);
		memset(driver_at(driver, DRIVER_GPA), 0, MIB);
	}
	atomic_store(&loop.stop, true);
	pthread_join(thread, NULL);
	free_pipe_guest(&p);
}

/* Writes of a real file in flight at random moments of a reset. */
static void test_resets_under_load(void **state)
{
	struct blk_guest *guest = new_guest(state);
	struct virtio_driver *driver = &guest->driver;
	struct prng prng = prng_new(__func__);

	for (unsigned round = 0; round < 100; round++) {
		uint64_t rounds = prng_below(&prng, 5);

		driver->next = DRIVER_GPA;
		blk_guest_start(guest, DRIVER_ALL_FEATURES);
		for (unsigned i = 0; i < 64; i++)
			blk_guest_add(guest, 0, prng_below(&prng, 2) == 0 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
				      prng_below(&prng, 1000), SECTOR, 1 + (unsigned)prng_below(&prng, 20));
		driver_kick(driver, 0);
		for (uint64_t i = 0; i < rounds; i++)
			driver_work_once(driver, 0);
		driver_reset(driver);
		assert_int_equal(guest->blk.io.in_flight, 0);
	}
	blk_guest_free(guest);
}

/* An io_uring that has died: the device waits for a reset, and is a disk that fails then: the sandbox has left no other way. */
static void test_broken_io_uring(void **state)
{
	struct blk_guest *guest = new_guest(state);
	struct virtio_driver *driver = &guest->driver;
	uint8_t bytes[SECTOR];
	int full = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (guest->blk.io.ring == NULL)
		skip();
	/* io_uring_enter(2) on what is no io_uring: EOPNOTSUPP */
	for (int fd = 3; fd < 64; fd++) {
		char link[64], target[64] = "";

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		if (readlink(link, target, sizeof(target) - 1) > 0 && strstr(target, "io_uring") != NULL)
			assert_int_equal(dup2(full, fd), fd);
	}
	for (unsigned i = 0; i < 20; i++)
		blk_guest_add(guest, 0, VIRTIO_BLK_T_IN, 0, SECTOR, 1);
	driver_kick(driver, 0);
	driver_work(driver, 0);
	assert_true(driver_needs_reset(driver));
	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	assert_null(guest->blk.io.ring);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 0, bytes, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_true(blk_guest_said(guest, "io_uring has failed"));
	close(full);
	blk_guest_free(guest);
}

#define WITH(test, engine)                                                                                             \
	{                                                                                                              \
#test " (" #engine ")", (test), NULL, NULL, (void *)(uintptr_t) & (engine)                             \
	}
#define BOTH(test) WITH(test, uring), WITH(test, system_calls)

int main(void)
{
	static const enum blk_engine uring = BLK_ENGINE_AUTO, system_calls = BLK_ENGINE_SYNC;
	const struct CMUnitTest tests[] = {
		BOTH(test_malformed_chains),         BOTH(test_bad_behind_good),
		BOTH(test_too_many_segments),        BOTH(test_turns_are_bounded),
		BOTH(test_file_cut_short),           BOTH(test_file_grown),
		BOTH(test_file_size_limit),          BOTH(test_disk_full),
		BOTH(test_resets_under_load),        WITH(test_short_reads, uring),
		WITH(test_end_in_the_middle, uring), WITH(test_reset_in_flight, uring),
		WITH(test_release_in_flight, uring), WITH(test_reset_from_another_thread, uring),
		WITH(test_broken_io_uring, uring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
