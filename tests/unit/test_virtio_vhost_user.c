/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "devices/virtio/vhost_user.h"
#include "tests/unit/vhost_user_back_end.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "vmm/base/io.h"

enum { TIMEOUT = 300, PATIENCE = 20000 };

static void *run(void *context)
{
	struct back_end *b = context;

	while (back_end_answer(b))
		;
	shutdown(b->fd, SHUT_RDWR);
	return NULL;
}

/* ---- the front end's side */

static void no_config(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size)
{
	(void)device;
	(void)offset;
	(void)bytes;
	(void)size;
}

struct test_device {
	struct virtio_device device;
	struct vhost_user vu;
};

static int activate(struct virtio_device *device)
{
	return vhost_user_start(&((struct test_device *)device)->vu, device);
}

static void reset(struct virtio_device *device)
{
	vhost_user_stop(&((struct test_device *)device)->vu);
}

static void readable(struct virtio_device *device, int fd)
{
	vhost_user_readable(&((struct test_device *)device)->vu, device, fd);
}

static const struct virtio_class CLASS = {.name = "test",
					  .id = 26,
					  .config_size = 4,
					  .read_config = no_config,
					  .activate = activate,
					  .reset = reset,
					  .stop = reset,
					  .readable = readable};

struct fixture {
	struct test_device test;
	struct virtio_driver driver;
	struct back_end back;
	pthread_t thread;
	struct log log;
	int logged[2]; /* a pipe with what was logged */
	int open_fds;
	unsigned timeout_ms;
	bool running;
	struct error err;
};

static int open_count(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->open_fds = open_count();
	f->timeout_ms = PATIENCE; /* the machine may be busy; where time matters, a test says so */
	assert_int_equal(pipe2(f->logged, O_CLOEXEC | O_NONBLOCK), 0);
	f->log = (struct log){.level = LOG_DEBUG, .fd = f->logged[1]};
	f->back = (struct back_end){
		.fd = -1,
		.features = RING_FEATURES | PROTOCOL,
		.protocol = EVERYTHING,
		.queues = 2,
		.slots = 32,
		.trickle_us = TIMEOUT * 1000 / 5,
	};
	back_end_init(&f->back);
	assert_int_equal(virtio_init(&f->test.device, &CLASS, 2, 0), 0);
	driver_init(&f->driver, &f->test.device);
	f->test.device.option = "--share /srv,tag=srv";
	f->test.device.log = &f->log;
	*state = f;
	return 0;
}

/* Ends the back end; what it was told may be looked at afterwards. */
static void join(struct fixture *f)
{
	if (!f->running)
		return;
	shutdown(f->back.fd, SHUT_RDWR);
	pthread_join(f->thread, NULL);
	f->running = false;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_release(&f->test.device);
	vhost_user_release(&f->test.vu);
	vhost_user_release(&f->test.vu);
	join(f);
	back_end_release(&f->back);
	driver_release(&f->driver);
	close(f->logged[0]);
	close(f->logged[1]);
	assert_int_equal(open_count(), f->open_fds); /* descriptors that came uninvited were dropped, too */
	free(f);
	return 0;
}

static int init(struct fixture *f)
{
	const struct vhost_user_options options = {.option = "--share /srv,tag=srv",
						   .peer = "virtiofsd",
						   .log = &f->log,
						   .queue_count = 2,
						   .timeout_ms = f->timeout_ms};
	int pair[2], code;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	f->back.fd = pair[1];
	assert_int_equal(pthread_create(&f->thread, NULL, run, &f->back), 0);
	f->running = true;
	code = vhost_user_init(&f->test.vu, &options, pair[0], &f->err);
	if (code == 0) {
		f->test.device.offered &= f->test.vu.features;
		vhost_user_watch(&f->test.vu, &f->test.device);
	}
	return code;
}

/* The driver's memory, cut into regions. */
static size_t cut(const struct fixture *f, struct vhost_user_region *regions, size_t count)
{
	static const char *const IDS[] = {"ram0", "hbm0", "hbm1", "hbm2", "hbm3",
					  "hbm4", "hbm5", "hbm6", "hbm7", "hbm8"};
	uint64_t size = align_down(DRIVER_MEMORY / count, 4096);

	for (size_t i = 0; i < count; i++)
		regions[i] = (struct vhost_user_region){.gpa = DRIVER_GPA + i * size,
							.size = size,
							.fd = f->driver.memfd,
							.offset = i * size,
							.hva = f->driver.mem.runs[0].hva + i * size,
							.id = IDS[i % 10]};
	return count;
}

static void log_text(struct fixture *f, char *text, size_t size)
{
	ssize_t got = read(f->logged[0], text, size - 1);

	text[got > 0 ? got : 0] = '\0';
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- a good back end */

static void negotiates_what_both_know(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(init(f), 0);
	join(f);
	assert_int_equal(f->back.accepted_protocol, MQ | REPLY_ACK | CONFIG | MEM_SLOTS);
	assert_int_equal(f->back.owner, 1);
	assert_int_equal(f->test.vu.slots, 32);
	assert_true((f->test.vu.features & RING_FEATURES) == RING_FEATURES);
}

static void does_without_protocol_features(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[2];
	uint8_t byte;

	f->back.features = RING_FEATURES;
	assert_int_equal(init(f), 0);
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 2), &f->err), 0);
	assert_int_equal(vhost_user_get_config(&f->test.vu, 0, &byte, 1, &f->err), -ENOTSUP);
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
	join(f);
	assert_int_equal(f->back.seen[GET_PROTOCOL_FEATURES], 0);
	assert_int_equal(f->back.seen[SET_VRING_ENABLE], 0);
	assert_int_equal(f->back.seen[SET_MEM_TABLE], 1);
	assert_int_equal(f->back.accepted, RING_FEATURES);
	assert_true(f->back.rings[0].running && f->back.rings[1].running);
}

/* The whole way, with each of several sets of protocol features: the rings are where the driver put them, the descriptors are the device's. */
static void starts_stops_and_starts_again(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[1];
	const uint64_t one = 1;
	uint64_t count;

	f->back.slow = true;
	assert_int_equal(init(f), 0);
	f->back.slow = false;
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 1), &f->err), 0);
	for (int round = 0; round < 3; round++) {
		assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 32));
		for (unsigned i = 0; i < 2; i++) {
			const struct driver_queue *queue = &f->driver.queues[i];
			const struct ring *ring = &f->back.rings[i];

			assert_true(ring->running);
			assert_int_equal(ring->enabled, 1);
			assert_int_equal(ring->number, 32);
			assert_int_equal(ring->base, 0);
			assert_ptr_equal(ring->descriptors, driver_at(&f->driver, queue->descriptors));
			assert_ptr_equal(ring->used, driver_at(&f->driver, queue->used));
			assert_ptr_equal(ring->available, driver_at(&f->driver, queue->available));
			driver_kick_always(&f->driver, i);
			assert_int_equal(read(ring->kick, &count, sizeof(count)), sizeof(count));
			assert_int_equal(write(ring->call, &one, sizeof(one)), sizeof(one));
			assert_true(driver_wait_interrupt(&f->driver, 1000) == 0); /* no always_used here */
		}
		driver_reset(&f->driver);
		assert_false(f->back.rings[0].running || f->back.rings[1].running);
		assert_int_equal(f->test.vu.started, 0);
	}
	assert_int_equal(f->back.accepted, RING_FEATURES | PROTOCOL);
	assert_int_equal(f->back.seen[GET_VRING_BASE], 6);
	driver_reset(&f->driver); /* nothing to stop */
	assert_int_equal(f->back.seen[GET_VRING_BASE], 6);
}

static void starts_only_rings_that_are_ready(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[1];

	assert_int_equal(init(f), 0);
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 1), &f->err), 0);
	assert_true(driver_probe(&f->driver, DRIVER_ALL_FEATURES));
	driver_setup_queue(&f->driver, 1, 8);
	driver_add_status(&f->driver, VIRTIO_STATUS_DRIVER_OK);
	assert_false(f->back.rings[0].running);
	assert_true(f->back.rings[1].running);
	driver_reset(&f->driver);
	assert_int_equal(f->back.seen[GET_VRING_BASE], 1);
}

static void reads_the_configuration(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[256] = {0};

	assert_int_equal(init(f), 0);
	assert_int_equal(vhost_user_get_config(&f->test.vu, 4, bytes, 8, &f->err), 0);
	assert_int_equal(bytes[7], 0x5a);
	assert_int_equal(bytes[8], 0);
	assert_int_equal(vhost_user_get_config(&f->test.vu, 0, bytes, 256, &f->err), 0);
	assert_int_equal(bytes[255], 0x5a);
}

/* ---- memory */

static void gives_one_region_for_each_descriptor(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[5];

	for (int slots = 0; slots < 2; slots++) {
		f->back.protocol = slots ? EVERYTHING : REPLY_ACK;
		assert_int_equal(init(f), 0);
		assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 5), &f->err), 0);
		assert_int_equal(f->back.seen[SET_MEM_TABLE], slots ? 0 : 1);
		assert_int_equal(f->back.seen[ADD_MEM_REG], slots ? 5 : 0);
		assert_int_equal(f->back.region_count, 5);
		assert_int_equal(f->test.vu.region_count, 5);
		for (size_t i = 0; i < 5; i++) {
			uint64_t mark = 0x1234567 + i;
			uint64_t found;

			assert_int_equal(f->back.regions[i].gpa, regions[i].gpa);
			assert_int_equal(f->back.regions[i].size, regions[i].size);
			assert_ptr_equal(f->back.regions[i].user, regions[i].hva);
			assert_int_equal(f->back.regions[i].offset, regions[i].offset);
			memcpy(regions[i].hva, &mark, sizeof(mark));
			assert_int_equal(
				io_pread_all(f->back.region_fds[i], &found, sizeof(found), f->back.regions[i].offset),
				0);
			assert_int_equal(found, mark);
		}
		if (slots == 1)
			break;
		join(f);
		for (size_t i = 0; i < f->back.region_count; i++)
			close(f->back.region_fds[i]);
		f->back.region_count = 0;
		memset(f->back.seen, 0, sizeof(f->back.seen));
		vhost_user_release(&f->test.vu);
		io_close(&f->back.fd);
	}
}

static void names_what_does_not_fit(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[10];
	char text[400];

	f->back.protocol = REPLY_ACK;
	assert_int_equal(init(f), 0);
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 10), &f->err), 0);
	assert_int_equal(f->test.vu.region_count, 8);
	assert_int_equal(f->back.region_count, 8);
	log_text(f, text, sizeof(text));
	assert_string_equal(text,
			    "spmvm: warning: --share /srv,tag=srv: virtiofsd takes 8 memory regions; I/O with this "
			    "device does not reach hbm7, hbm8\n");
}

static void names_all_of_many(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[400];
	static char text[65536];
	char ids[400][16];
	size_t lines = 0;

	f->back.slots = 3;
	assert_int_equal(init(f), 0);
	cut(f, regions, 400);
	for (int i = 0; i < 400; i++) {
		snprintf(ids[i], sizeof(ids[i]), "region-%03d", i);
		regions[i].id = ids[i];
	}
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, 400, &f->err), 0);
	assert_int_equal(f->test.vu.region_count, 3);
	log_text(f, text, sizeof(text));
	for (int i = 0; i < 400; i++)
		assert_true((strstr(text, ids[i]) != NULL) == (i >= 3));
	for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
		lines++;
	assert_in_range(lines, 7, 12);
}

static void a_back_end_without_room_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[1];

	f->back.slots = 0;
	assert_int_equal(init(f), 0);
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 1), &f->err), -EPROTO);
	assert_string_equal(f->err.text, "--share /srv,tag=srv: virtiofsd takes no memory region at all");
}

/* Rings in memory that the back end does not have, or across the border of two regions, never get to it. */
static void a_ring_out_of_reach_does_not_start(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[2];
	struct driver_queue *queue = &f->driver.queues[0];
	uint64_t border;

	f->back.slots = 1;
	assert_int_equal(init(f), 0);
	cut(f, regions, 2);
	border = regions[1].gpa;
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, 2, &f->err), 0);
	for (int i = 0; i < 6; i++) {
		assert_true(driver_probe(&f->driver, DRIVER_ALL_FEATURES));
		driver_make_queue(&f->driver, 0, 16);
		if (i % 3 == 0)
			queue->descriptors = i < 3 ? border - 16 * 15 : border;
		else if (i % 3 == 1)
			queue->available = i < 3 ? border - 36 : border + 64;
		else
			queue->used = i < 3 ? border - 132 : border + 128;
		assert_true(driver_announce_queue(&f->driver, 0));
		driver_add_status(&f->driver, VIRTIO_STATUS_DRIVER_OK);
		assert_true(driver_needs_reset(&f->driver));
		assert_int_equal(f->back.seen[SET_VRING_KICK], 0);
	}
	assert_false(f->test.vu.dead);
	/* up to the last byte is fine */
	assert_true(driver_probe(&f->driver, DRIVER_ALL_FEATURES));
	driver_make_queue(&f->driver, 0, 16);
	queue->used = border - 136;
	assert_true(driver_announce_queue(&f->driver, 0));
	driver_add_status(&f->driver, VIRTIO_STATUS_DRIVER_OK);
	assert_false(driver_needs_reset(&f->driver));
	assert_true(f->back.rings[0].running);
}

/* ---- a bad back end */

static void too_few_queues_or_an_old_device_is_an_error(void **state)
{
	struct fixture *f = *state;

	f->back.queues = 1;
	assert_int_equal(init(f), -ENOTSUP);
	assert_string_equal(f->err.text, "--share /srv,tag=srv: virtiofsd serves 1 queues, and the device has 2");
	assert_int_equal(f->err.status, EXIT_STATUS_HOST);
	join(f);
	io_close(&f->back.fd);
	f->back.queues = 2;
	f->back.features = PROTOCOL;
	assert_int_equal(init(f), -ENOTSUP);
}

/* Runs through everything with one lie at one request; where it fails, it does so in time, and all later calls fail at once. */
static void try_lie(struct fixture *f, uint32_t request, enum lie lie)
{
	struct vhost_user_region regions[2];
	uint8_t config[8];
	double start = seconds();
	int code;

	f->back.lie = lie;
	f->back.lie_at = request;
	if (lie == STALL || lie == TRICKLE)
		f->timeout_ms = TIMEOUT;
	code = init(f);
	if (code == 0)
		code = vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 2), &f->err);
	if (code == 0)
		code = vhost_user_get_config(&f->test.vu, 0, config, sizeof(config), &f->err);
	if (code == 0 && !driver_start(&f->driver, DRIVER_ALL_FEATURES, 16)) {
		assert_true(driver_needs_reset(&f->driver));
		code = -1;
	}
	driver_reset(&f->driver);
	assert_true(code < 0 || f->test.vu.dead);
	if (f->test.vu.options.option != NULL) {
		assert_true(f->test.vu.dead);
		assert_int_equal(vhost_user_get_config(&f->test.vu, 0, config, 8, &f->err), -ENOTCONN);
		/* the main loop hears of it, once */
		driver_work(&f->driver, 0);
		assert_true(driver_needs_reset(&f->driver));
		assert_int_equal(f->test.device.watch_fds[0], -1);
		driver_reset(&f->driver);
	}
	assert_true(seconds() - start < PATIENCE / 1000.0 / 2);
}

static void no_lie_gets_through(void **state)
{
	static const uint32_t REPLIES[] = {GET_FEATURES,   GET_PROTOCOL_FEATURES, GET_QUEUE_NUM,    GET_MAX_MEM_SLOTS,
					   SET_OWNER,      ADD_MEM_REG,           GET_CONFIG,       SET_FEATURES,
					   SET_VRING_NUM,  SET_VRING_ADDR,        SET_VRING_BASE,   SET_VRING_KICK,
					   SET_VRING_CALL, SET_VRING_ERR,         SET_VRING_ENABLE, GET_VRING_BASE};
	void *own;

	(void)state;
	for (size_t i = 0; i < sizeof(REPLIES) / sizeof(REPLIES[0]); i++) {
		for (int lie = OTHER_REQUEST; lie < LIES; lie++) {
			/* those that take the whole time-out: at a few requests only */
			if ((lie == STALL || lie == TRICKLE) && i % 5 != 0)
				continue;
			set_up(&own);
			try_lie(own, REPLIES[i], (enum lie)lie);
			tear_down(&own);
		}
	}
}

/* Without acknowledgements a back end can only die. */
static void one_that_dies_without_acknowledging_is_found_out(void **state)
{
	static const uint32_t REQUESTS_[] = {SET_OWNER,      SET_MEM_TABLE,  SET_FEATURES,   SET_VRING_NUM,
					     SET_VRING_ADDR, SET_VRING_BASE, SET_VRING_KICK, SET_VRING_ENABLE};
	struct vhost_user_region regions[2];
	void *own;

	(void)state;
	for (size_t i = 0; i < sizeof(REQUESTS_) / sizeof(REQUESTS_[0]); i++) {
		struct fixture *f;
		int code;

		set_up(&own);
		f = own;
		f->back.protocol = 0;
		f->back.lie = CLOSE;
		f->back.lie_at = REQUESTS_[i];
		code = init(f);
		if (code == 0)
			code = vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 2), &f->err);
		if (code == 0)
			assert_false(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
		else
			assert_int_equal(code, -ENOTCONN);
		driver_reset(&f->driver);
		tear_down(&own);
	}
}

static void says_what_went_wrong(void **state)
{
	struct fixture *f = *state;

	f->timeout_ms = TIMEOUT;
	f->back.lie = STALL;
	f->back.lie_at = GET_PROTOCOL_FEATURES;
	assert_int_equal(init(f), -ETIMEDOUT);
	assert_string_equal(f->err.text,
			    "--share /srv,tag=srv: virtiofsd gives no answer to GET_PROTOCOL_FEATURES within "
			    "300 ms");
	join(f);
	io_close(&f->back.fd);
	f->timeout_ms = PATIENCE;
	f->back.lie = HUGE;
	assert_int_equal(init(f), -EPROTO);
	assert_string_equal(f->err.text,
			    "--share /srv,tag=srv: virtiofsd answers GET_PROTOCOL_FEATURES wrongly: request "
			    "15, flags 0x5, size 4294967295 instead of 15, 0x5, 8");
	join(f);
	io_close(&f->back.fd);
	f->back.lie = CLOSE;
	assert_int_equal(init(f), -ENOTCONN);
	assert_string_equal(f->err.text, "--share /srv,tag=srv: virtiofsd has closed the connection (at "
					 "GET_PROTOCOL_FEATURES)");
}

static void a_refusal_fails_and_leaves_the_connection(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[1];

	f->back.refuse = SET_VRING_KICK;
	assert_int_equal(init(f), 0);
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 1), &f->err), 0);
	assert_false(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
	assert_true(driver_needs_reset(&f->driver));
	assert_int_equal(f->back.seen[GET_VRING_BASE], 1); /* the one that had started is stopped */
	assert_false(f->test.vu.dead);
	f->back.refuse = 0;
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
}

static void refused_memory_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[1];

	f->back.refuse = ADD_MEM_REG;
	assert_int_equal(init(f), 0);
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 1), &f->err), -EREMOTEIO);
	assert_string_equal(f->err.text, "--share /srv,tag=srv: virtiofsd refuses ADD_MEM_REG (status 1)");
}

static void a_wrong_ring_or_place_at_the_stop_is_the_end(void **state)
{
	static const uint64_t ANSWERS[] = {UINT64_C(1) << 32, 0x10000, UINT32_MAX};
	struct vhost_user_region regions[1];
	void *own;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct fixture *f;

		set_up(&own);
		f = own;
		f->back.base_answer = ANSWERS[i];
		assert_int_equal(init(f), 0);
		assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 1), &f->err), 0);
		assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
		driver_reset(&f->driver);
		assert_true(f->test.vu.dead);
		tear_down(&own);
	}
}

static void descriptors_that_come_along_are_dropped(void **state)
{
	struct fixture *f = *state;
	int before;

	f->back.send_fds = true;
	before = open_count();
	assert_int_equal(init(f), 0);
	assert_int_equal(open_count(), before + 3); /* the socket's two ends and the error eventfd */
}

static void start(struct fixture *f, struct vhost_user_region *regions)
{
	assert_int_equal(init(f), 0);
	assert_int_equal(vhost_user_set_memory(&f->test.vu, regions, cut(f, regions, 1), &f->err), 0);
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
	driver_work(&f->driver, 0);
	assert_false(driver_needs_reset(&f->driver));
}

static void a_death_makes_the_device_need_a_reset(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[1];
	char text[400];

	start(f, regions);
	join(f);
	driver_work(&f->driver, 100);
	assert_true(driver_needs_reset(&f->driver));
	assert_int_equal(driver_wait_interrupt(&f->driver, 1000) & 2, 2);
	log_text(f, text, sizeof(text));
	assert_string_equal(text,
			    "spmvm: warning: --share /srv,tag=srv: virtiofsd has closed the connection; the device "
			    "waits for a reset\n");
	/* the guest tries again, and again */
	for (int i = 0; i < 20; i++) {
		assert_false(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
		driver_work(&f->driver, 0);
	}
}

static void words_out_of_turn_are_the_end(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[1];
	char text[400];

	start(f, regions);
	assert_int_equal(send(f->back.fd, "x", 1, MSG_NOSIGNAL), 1);
	driver_work(&f->driver, 100);
	assert_true(driver_needs_reset(&f->driver));
	assert_true(f->test.vu.dead);
	log_text(f, text, sizeof(text));
	assert_non_null(strstr(text, "virtiofsd says what it was not asked for"));
}

static void a_broken_ring_needs_a_reset_only(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_region regions[1];
	const uint64_t one = 1;

	start(f, regions);
	assert_int_equal(write(f->back.rings[1].err, &one, sizeof(one)), sizeof(one));
	driver_work(&f->driver, 100);
	assert_true(driver_needs_reset(&f->driver));
	assert_false(f->test.vu.dead);
	/* both rings were taken back before the driver does anything */
	for (unsigned i = 0; i < 2; i++)
		assert_false(f->back.rings[i].running);
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
	/* late news of a ring that has stopped are none, whether the rings run again meanwhile or not */
	assert_int_equal(write(f->back.rings[1].err, &one, sizeof(one)), sizeof(one));
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
	driver_work(&f->driver, 100);
	assert_false(driver_needs_reset(&f->driver));
	driver_reset(&f->driver);
	assert_int_equal(write(f->back.rings[1].err, &one, sizeof(one)), sizeof(one));
	driver_work(&f->driver, 100);
	assert_false(driver_needs_reset(&f->driver));
}

/* A front end cannot even send: the socket's buffer is full, and nobody reads. */
static void one_that_does_not_read_is_timed_out(void **state)
{
	struct fixture *f = *state;
	const struct vhost_user_options options = {
		.option = "--share", .peer = "x", .log = &f->log, .queue_count = 2, .timeout_ms = 50};
	char block[4096] = {0};
	double start_time;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	while (send(pair[0], block, sizeof(block), MSG_NOSIGNAL) > 0)
		;
	while (send(pair[0], block, 1, MSG_NOSIGNAL) > 0)
		;
	start_time = seconds();
	assert_int_equal(vhost_user_init(&f->test.vu, &options, pair[0], &f->err), -ETIMEDOUT);
	assert_true(seconds() - start_time < 10);
	close(pair[1]);
}

/* ---- connecting */

static void connects_to_a_path(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char folder[] = "/tmp/spmvm-test-XXXXXX", path[64], longer[200];
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = -1;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/socket", folder);
	assert_int_equal(vhost_user_connect(path, "--share", &fd, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, "/socket: No such file or directory; start the back end"));
	memcpy(address.sun_path, path, strlen(path) + 1);
	assert_int_equal(bind(listening, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(vhost_user_connect(path, "--share", &fd, &f->err), -ECONNREFUSED);
	assert_int_equal(listen(listening, 0), 0);
	assert_int_equal(vhost_user_connect(path, "--share", &fd, &f->err), 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	close(fd);
	assert_int_equal(vhost_user_connect(longer, "--share", &fd, &f->err), -ENAMETOOLONG);
	close(listening);
	unlink(path);
	rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(negotiates_what_both_know),
		TEST(does_without_protocol_features),
		TEST(starts_stops_and_starts_again),
		TEST(starts_only_rings_that_are_ready),
		TEST(reads_the_configuration),
		TEST(gives_one_region_for_each_descriptor),
		TEST(names_what_does_not_fit),
		TEST(names_all_of_many),
		TEST(a_back_end_without_room_is_an_error),
		TEST(a_ring_out_of_reach_does_not_start),
		TEST(too_few_queues_or_an_old_device_is_an_error),
		cmocka_unit_test(no_lie_gets_through),
		cmocka_unit_test(one_that_dies_without_acknowledging_is_found_out),
		TEST(says_what_went_wrong),
		TEST(a_refusal_fails_and_leaves_the_connection),
		TEST(refused_memory_is_an_error),
		cmocka_unit_test(a_wrong_ring_or_place_at_the_stop_is_the_end),
		TEST(descriptors_that_come_along_are_dropped),
		TEST(a_death_makes_the_device_need_a_reset),
		TEST(words_out_of_turn_are_the_end),
		TEST(a_broken_ring_needs_a_reset_only),
		TEST(one_that_does_not_read_is_timed_out),
		TEST(connects_to_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
