/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the two sides wake each other (virtio 1.2 §2.7.7, §2.7.10): the arithmetic of event indices, and a driver and a device in two threads that
 * sleep whenever the rules allow it. A kick or an interrupt that gets lost leaves both asleep, and the test ends by its patience.
 */
#include "tests/unit/unit.h"
#include "tests/unit/virtio_driver.h"
#include "tests/unit/virtio_echo.h"

#include <pthread.h>
#include <sched.h>

enum { SIZE = 16, EXCHANGES = 60000, PATIENCE_MS = 20000 };

struct guest {
	struct echo echo;
	struct virtio_driver driver;
	uint64_t page;
	atomic_bool stop;
};

static int set_up(void **state)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	assert_non_null(guest);
	assert_int_equal(echo_init(&guest->echo), 0);
	driver_init(&guest->driver, &guest->echo.device);
	guest->page = driver_alloc(&guest->driver, 64 * SIZE, 4096);
	*state = guest;
	return 0;
}

static int tear_down(void **state)
{
	struct guest *guest = *state;

	virtio_release(&guest->echo.device);
	driver_release(&guest->driver);
	free(guest);
	return 0;
}

/* ------------------------------------------------------------------------------------------------- arithmetic */

/* For every event index near idx, also across the wrap: an interrupt exactly when the entry event is among those just pushed. */
static void test_event_idx(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	struct virtq *queue = &guest->echo.device.queues[0];
	struct virtq_chain *chain = &guest->echo.chain;
	uint64_t event_at;

	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	event_at = driver->queues[0].available + 4 + 2 * SIZE;
	for (unsigned round = 0; round < 60000; round++) {
		unsigned batch = 1 + round % 5;
		uint16_t old = queue->next_used, event = (uint16_t)(old + round % 13 - 4);

		for (unsigned i = 0; i < batch; i++) {
			assert_true(driver_add(driver, 0, (struct driver_buffer[]){{guest->page, 1, true}}, 1) >= 0);
			assert_int_equal(virtq_pop(queue, chain), 1);
			virtq_push(queue, chain->head, 0);
		}
		driver_store(driver, event_at, event);
		assert_int_equal(virtq_needs_interrupt(queue), (uint16_t)(event - old) < batch);
		assert_false(virtq_needs_interrupt(queue));
		while (driver_take(driver, 0, NULL) >= 0)
			;
	}
}

static void test_no_interrupt_flag(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	assert_true(driver_start(driver, VIRTIO_FEATURE_VERSION_1, SIZE));
	for (unsigned round = 0; round < 6; round++) {
		if (round % 2 == 1)
			driver_disable_interrupts(driver, 0);
		else
			driver_enable_interrupts(driver, 0);
		driver_add(driver, 0, (struct driver_buffer[]){{guest->page, 1, true}}, 1);
		assert_true(driver_kick(driver, 0));
		driver_work(driver, 0);
		assert_int_equal(driver_take(driver, 0, NULL), 0);
		assert_int_equal(driver_wait_interrupt(driver, 0), round % 2 == 0);
	}
}

/* While the device works it is not kicked; when it rests the first buffer is one kick. */
static void test_kicks(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	struct virtq *queue = &guest->echo.device.queues[0];
	static const uint64_t FEATURES[] = {VIRTIO_FEATURE_VERSION_1,
					    VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_EVENT_IDX};
	const struct driver_buffer one = {guest->page, 1, true};

	for (unsigned i = 0; i < 2; i++) {
		assert_true(driver_start(driver, FEATURES[i], SIZE));
		driver_add(driver, 0, &one, 1);
		assert_true(driver_kick(driver, 0));
		virtq_disable_kicks(queue);
		driver_add(driver, 0, &one, 1);
		assert_false(driver_kick(driver, 0));
		/* something came in between, so the device looks again */
		assert_true(virtq_enable_kicks(queue));
		assert_int_equal(virtq_pop(queue, &guest->echo.chain), 1);
		assert_int_equal(virtq_pop(queue, &guest->echo.chain), 1);
		assert_int_equal(virtq_pop(queue, &guest->echo.chain), 0);
		assert_false(virtq_enable_kicks(queue));
		driver_add(driver, 0, &one, 1);
		assert_true(driver_kick(driver, 0));
	}
	/* what an earlier life left in the used ring does not silence the driver */
	assert_true(driver_probe(driver, VIRTIO_FEATURE_VERSION_1));
	driver_make_queue(driver, 0, SIZE);
	driver_store(driver, driver->queues[0].used, 1);
	assert_true(driver_announce_queue(driver, 0));
	driver_add_status(driver, VIRTIO_STATUS_DRIVER_OK);
	driver_add(driver, 0, &one, 1);
	assert_true(driver_kick(driver, 0));
}

/* ------------------------------------------------------------------------------------------------- at the same instant */

enum { ROUNDS = 60000, SKEWS = 128 };

/* Two processors, each of which writes and then looks at what the other writes: without a fence both may miss it. */
struct race {
	struct guest *guest;
	bool interrupts; /* the device pushes and the driver goes to sleep; else the other way round */
	atomic_uint round, done;
	bool device_looks; /* the device's half: it has seen, or tells the driver */
};

static void skew(unsigned loops)
{
	for (volatile unsigned i = 0; i < loops; i++)
		;
}

/* Mostly without the kernel, so that both go on within a few cycles. */
static void wait_until(const atomic_uint *value, unsigned wanted)
{
	for (unsigned spins = 0; atomic_load(value) != wanted; spins++) {
		if (spins % 4096 == 4095)
			sched_yield();
	}
}

static void *race_device(void *context)
{
	struct race *race = context;
	struct virtq *queue = &race->guest->echo.device.queues[0];

	for (unsigned round = 1; round <= ROUNDS; round++) {
		wait_until(&race->round, round);
		skew(round % SKEWS);
		if (race->interrupts) {
			virtq_push(queue, race->guest->echo.chain.head, 0);
			race->device_looks = virtq_needs_interrupt(queue);
		} else {
			race->device_looks = virtq_enable_kicks(queue);
		}
		atomic_store(&race->done, round);
	}
	return NULL;
}

/* Each round starts with an idle queue and ends with one; in its middle the two halves run at once. */
static void run_race(struct guest *guest, uint64_t features, bool interrupts)
{
	struct virtio_driver *driver = &guest->driver;
	struct virtq *queue = &guest->echo.device.queues[0];
	struct race race = {.guest = guest, .interrupts = interrupts};
	const struct driver_buffer one = {guest->page, 1, true};
	unsigned lost = 0;
	pthread_t device;

	assert_true(driver_start(driver, features, SIZE));
	assert_int_equal(pthread_create(&device, NULL, race_device, &race), 0);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		bool driver_looks;

		virtq_disable_kicks(queue);
		driver_disable_interrupts(driver, 0);
		if (interrupts) {
			driver_require(driver_add(driver, 0, &one, 1) >= 0);
			driver_require(virtq_pop(queue, &guest->echo.chain) == 1);
		}
		atomic_store(&race.round, round);
		skew(round / SKEWS % SKEWS);
		if (interrupts) {
			driver_looks = driver_enable_interrupts(driver, 0);
		} else {
			driver_add(driver, 0, &one, 1);
			driver_looks = driver_kick(driver, 0);
		}
		wait_until(&race.done, round);
		lost += !driver_looks && !race.device_looks;
		if (!interrupts) {
			driver_require(virtq_pop(queue, &guest->echo.chain) == 1);
			virtq_push(queue, guest->echo.chain.head, 0);
		}
		driver_require(driver_take(driver, 0, NULL) >= 0);
	}
	pthread_join(device, NULL);
	assert_int_equal(lost, 0);
}

static void test_race_for_kicks(void **state)
{
	run_race(*state, DRIVER_ALL_FEATURES, false);
	run_race(*state, VIRTIO_FEATURE_VERSION_1, false);
}

static void test_race_for_interrupts(void **state)
{
	run_race(*state, DRIVER_ALL_FEATURES, true);
	run_race(*state, VIRTIO_FEATURE_VERSION_1, true);
}

/* ------------------------------------------------------------------------------------------------- two threads */

static void *run_device(void *context)
{
	struct guest *guest = context;

	while (!atomic_load(&guest->stop))
		driver_work_once(&guest->driver, 10);
	return NULL;
}

/* Slot n has its bytes at page + 64 n: 8 to be read, 8 to be written. */
static void send(struct guest *guest, unsigned index, uint64_t number, uint64_t gpa)
{
	struct driver_buffer buffers[] = {{gpa, 8, false}, {gpa + 8, 8, true}};
	uint64_t answer = 0;

	memcpy(driver_at(&guest->driver, gpa), &number, 8);
	memcpy(driver_at(&guest->driver, gpa + 8), &answer, 8);
	driver_require(driver_add_indirect(&guest->driver, index, gpa + 32, buffers, 2) >= 0);
}

static uint64_t receive(struct guest *guest, unsigned index, uint64_t gpa)
{
	uint32_t written;
	uint64_t answer;

	driver_require(driver_take(&guest->driver, index, &written) >= 0 && written == 8);
	memcpy(&answer, driver_at(&guest->driver, gpa + 8), 8);
	return answer;
}

/* The device answers in order, so a slot is free when its number has come back. Bursts of any size; sleeps when there is nothing to do. */
static void exchange_many(struct guest *guest, uint64_t features, unsigned burst_max)
{
	struct virtio_driver *driver = &guest->driver;
	struct prng prng = prng_new(__func__);
	uint64_t sent = 0, received = 0;
	pthread_t device;

	assert_true(driver_start(driver, features, SIZE));
	atomic_store(&guest->stop, false);
	assert_int_equal(pthread_create(&device, NULL, run_device, guest), 0);
	while (received < EXCHANGES) {
		uint64_t burst = 1 + prng_below(&prng, burst_max);

		for (; burst > 0 && sent < EXCHANGES && sent - received < SIZE; burst--, sent++)
			send(guest, 0, sent, guest->page + 64 * (sent % SIZE));
		driver_kick(driver, 0);
		driver_disable_interrupts(driver, 0);
		do {
			for (; driver_has_used(driver, 0); received++)
				assert_int_equal(receive(guest, 0, guest->page + 64 * (received % SIZE)), received);
		} while (driver_enable_interrupts(driver, 0));
		/* now and then goes on with requests in flight, else sleeps until the device interrupts */
		if (sent > received && prng_below(&prng, 4) != 0) {
			uint64_t before = driver->interrupts;

			driver_wait_interrupt(driver, PATIENCE_MS);
			assert_true(driver->interrupts > before);
		}
	}
	atomic_store(&guest->stop, true);
	pthread_join(device, NULL);
	print_message("%u exchanges, %" PRIu64 " kicks, %" PRIu64 " interrupts, %u turns\n", EXCHANGES, driver->kicks,
		      driver->interrupts, guest->echo.kicks);
	assert_true(driver->kicks <= EXCHANGES && driver->interrupts <= EXCHANGES);
}

static void test_two_threads_event_idx(void **state)
{
	exchange_many(*state, DRIVER_ALL_FEATURES, SIZE);
}

static void test_two_threads_flags(void **state)
{
	exchange_many(*state, VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_INDIRECT_DESC, SIZE);
}

static void test_two_threads_one_by_one(void **state)
{
	exchange_many(*state, DRIVER_ALL_FEATURES, 1);
}

/* Resets from the vcpu's side while the device is at work: it must never touch a ring of an earlier life. */
static void test_resets_while_it_works(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint64_t rings = driver->next;
	pthread_t device;

	atomic_store(&guest->stop, false);
	assert_int_equal(pthread_create(&device, NULL, run_device, guest), 0);
	for (unsigned round = 0; round < 3000; round++) {
		driver->next = rings;
		memset(driver_at(driver, rings), 0, 4096);
		assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
		for (unsigned i = 0; i < SIZE; i++)
			send(guest, i % ECHO_QUEUES, i, guest->page + 64 * i);
		for (unsigned i = 0; i < ECHO_QUEUES; i++)
			driver_kick(driver, i);
		for (unsigned spin = 0; spin < round % 64; spin++)
			(void)driver_read(driver, DRIVER_REG_STATUS);
		driver_write(driver, DRIVER_REG_STATUS, 0);
		memset(driver_at(driver, rings), 0x5a, 4096);
		for (unsigned spin = 0; spin < 16; spin++)
			assert_int_equal(*(volatile uint8_t *)driver_at(driver, rings + spin * 64), 0x5a);
		assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), 0);
	}
	atomic_store(&guest->stop, true);
	pthread_join(device, NULL);
}

/* ------------------------------------------------------------------------------------------------- several at once */

struct watcher {
	struct guest *guest;
	atomic_bool stop;
	unsigned odd; /* how often half a pair was seen */
};

static void *watch_used(void *context)
{
	struct watcher *watcher = context;
	const struct virtio_driver *driver = &watcher->guest->driver;

	while (!atomic_load(&watcher->stop))
		watcher->odd += driver_load(driver, driver->queues[0].used + 2) % 2;
	return NULL;
}

/* A driver on another processor never sees a part of what is pushed together. */
static void test_pushed_together(void **state)
{
	struct watcher watcher = {.guest = *state};
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	struct virtq *queue = &guest->echo.device.queues[0];
	const struct driver_buffer buffer = {driver_alloc(driver, 64, 16), 64, true};
	pthread_t thread;

	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	assert_int_equal(pthread_create(&thread, NULL, watch_used, &watcher), 0);
	for (unsigned i = 0; i < 20000; i++) {
		struct virtq_used pair[2];
		uint32_t written;

		for (unsigned n = 0; n < 2; n++) {
			assert_int_not_equal(driver_add(driver, 0, &buffer, 1), -1);
			assert_int_equal(virtq_pop(queue, &guest->echo.chain), 1);
			pair[n] = (struct virtq_used){guest->echo.chain.head, i + n};
		}
		virtq_push_many(queue, pair, 2);
		for (unsigned n = 0; n < 2; n++) {
			assert_int_equal(driver_take(driver, 0, &written), pair[n].head);
			assert_int_equal(written, i + n);
		}
		assert_int_equal(driver_take(driver, 0, NULL), -1);
	}
	atomic_store(&watcher.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(watcher.odd, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_event_idx, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_interrupt_flag, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kicks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_race_for_kicks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_race_for_interrupts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_threads_event_idx, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_threads_flags, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_threads_one_by_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_resets_while_it_works, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pushed_together, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
