/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices with everybody at them at once: a vcpu that drives them and resets them, another that reads and writes
 * whatever register there is, the main loop that serves their kicks, and somebody who looks at their counters. For
 * ThreadSanitizer above all.
 */
#include <sched.h>
#include <sys/eventfd.h>

#include "tests/unit/blk_guest.h"
#include "tests/unit/counted.h"

#include "devices/virtio/console.h"

enum { ROUNDS = 500, AT_ONCE = 8, SIZE = 512, CONFIG_AT = 0x100, CONFIG_ROOM = 64, CONFIG_WRITEBACK = 32 };

struct arena {
	struct virtio_driver *driver;
	uint64_t pages[VIRTIO_MMIO_PAGE / 8]; /* what the guest reads without an exit */
	atomic_bool stop;
	pthread_t main_loop, other_vcpu, observer;
	atomic_uint looks, registers;
};

static void *run_main_loop(void *context)
{
	struct arena *arena = context;

	while (!atomic_load(&arena->stop))
		driver_work_once(arena->driver, 1);
	return NULL;
}

/* Registers that a driver may write at any time without a change for itself, and every one that can be read. */
static void *run_other_vcpu(void *context)
{
	struct arena *arena = context;
	struct virtio_device *device = arena->driver->device;
	struct prng prng = prng_new(__func__);

	for (; !atomic_load(&arena->stop); arena->registers++) {
		uint64_t offset = prng_below(&prng, CONFIG_AT + CONFIG_ROOM);

		(void)VIRTIO_MMIO_OPS.read(device, offset & ~UINT64_C(3), 4);
		(void)VIRTIO_MMIO_OPS.read(device, offset, 1u << prng_below(&prng, 4));
		VIRTIO_MMIO_OPS.write(device, DRIVER_REG_INTERRUPT_ACK, 4, prng_below(&prng, 4));
		VIRTIO_MMIO_OPS.write(device, CONFIG_AT + CONFIG_WRITEBACK, 1, prng_below(&prng, 2));
		/* as the guest reads its page */
		(void)__atomic_load_n((uint32_t *)(void *)arena->pages + (offset & 0xff), __ATOMIC_ACQUIRE);
	}
	return NULL;
}

static void *run_observer(void *context)
{
	struct arena *arena = context;
	const struct virtio_device *device = arena->driver->device;
	uint64_t kicks = 0, resets = 0;

	for (; !atomic_load(&arena->stop); arena->looks++) {
		uint64_t now = counted(device, "kicks", NULL);

		driver_require(now >= kicks);
		kicks = now;
		now = counted(device, "resets", NULL);
		driver_require(now >= resets);
		resets = now;
		sched_yield();
	}
	return NULL;
}

static void arena_start(struct arena *arena, struct virtio_driver *driver)
{
	memset(arena, 0, sizeof(*arena));
	arena->driver = driver;
	driver->device->registers = (uint8_t *)arena->pages;
	assert_int_equal(pthread_create(&arena->main_loop, NULL, run_main_loop, arena), 0);
	assert_int_equal(pthread_create(&arena->other_vcpu, NULL, run_other_vcpu, arena), 0);
	assert_int_equal(pthread_create(&arena->observer, NULL, run_observer, arena), 0);
	while (atomic_load(&arena->looks) == 0 || atomic_load(&arena->registers) == 0)
		sched_yield();
}

/* The driver gives up whatever is in flight; what was its memory is somebody else's then. */
static void give_up(struct virtio_driver *driver, uint64_t rings)
{
	driver_write(driver, DRIVER_REG_STATUS, 0);
	driver->next = rings;
	memset(driver_at(driver, rings), 0, 65536);
}

static void arena_end(struct arena *arena)
{
	atomic_store(&arena->stop, true);
	pthread_join(arena->main_loop, NULL);
	pthread_join(arena->other_vcpu, NULL);
	pthread_join(arena->observer, NULL);
	arena->driver->device->registers = NULL;
	print_message("%u rounds of registers, %u looks at the counters\n", atomic_load(&arena->registers),
		      atomic_load(&arena->looks));
	assert_int_equal(counted(arena->driver->device, "resets", NULL), 2 * ROUNDS);
	assert_int_equal(counted(arena->driver->device, "needs_resets", NULL), 0);
}

/* Until count chains of the queue are back. The main loop's thread is who serves them. */
static void take_back(struct virtio_driver *driver, unsigned queue, unsigned count)
{
	for (unsigned spin = 0; count > 0; spin++) {
		assert_true(spin < 10 * 1000 * 1000);
		if (driver_take(driver, queue, NULL) >= 0)
			count--;
		else
			sched_yield();
	}
}

static void a_disk(const struct virtio_blk_options *options)
{
	struct blk_guest *guest = blk_guest_new(*options, (uint64_t)DISK_SECTORS * SECTOR);
	struct virtio_driver *driver = &guest->driver;
	static struct arena arena;
	uint64_t rings = driver->next, taken = 0, served;

	arena_start(&arena, driver);
	for (unsigned round = 0; round < ROUNDS; round++) {
		give_up(driver, rings);
		blk_guest_start(guest, DRIVER_ALL_FEATURES);
		for (unsigned i = 0; i < AT_ONCE; i++)
			blk_guest_add(guest, 0, i % 2 == 0 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 8 * i, SIZE, 1);
		driver_kick(driver, 0);
		/* every other time the next round's reset finds them in flight */
		if (round % 2 == 0)
			continue;
		take_back(driver, 0, AT_ONCE);
		taken += AT_ONCE;
	}
	arena_end(&arena);
	served = counted(&guest->blk.device, "requests", "read") + counted(&guest->blk.device, "requests", "write");
	assert_true(served >= taken && served <= (uint64_t)ROUNDS * AT_ONCE);
	assert_true(counted(&guest->blk.device, "transferred", "write") >= taken / 2 * SIZE);
	assert_int_equal(counted(&guest->blk.device, "errors", "write"), 0);
	blk_guest_free(guest);
}

static void a_disk_by_io_uring(void **state)
{
	(void)state;
	a_disk(&(struct virtio_blk_options){.engine = BLK_ENGINE_AUTO});
}

static void a_disk_by_system_calls(void **state)
{
	(void)state;
	a_disk(&(struct virtio_blk_options){.engine = BLK_ENGINE_SYNC});
}

/* Port 0 of a driver without MULTIPORT: what the guest sends goes away, what it gets is a stream without end. */
static void a_console(void **state)
{
	const struct virtio_console_port_options port = {
		.name = "p", .in_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC), .out_fd = open("/dev/null", O_WRONLY)};
	const struct virtio_console_options options = {.option = "--port", .ports = &port, .count = 1};
	struct virtio_console *console = calloc(1, sizeof(*console));
	static struct arena arena;
	struct virtio_driver driver;
	struct error err;
	uint64_t rings, taken = 0;

	(void)state;
	assert_non_null(console);
	assert_int_equal(virtio_console_init(console, &options, NULL, &err), 0);
	driver_init(&driver, &console->device);
	rings = driver.next;
	arena_start(&arena, &driver);
	for (unsigned round = 0; round < ROUNDS; round++) {
		give_up(&driver, rings);
		assert_true(driver_start(&driver, VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_EVENT_IDX, 32));
		for (unsigned i = 0; i < 2 * AT_ONCE; i++)
			driver_require(driver_add(&driver, i % 2,
						  (struct driver_buffer[]){
							  {driver_alloc(&driver, SIZE, 16), SIZE, i % 2 == 0}},
						  1) >= 0);
		driver_kick(&driver, 0);
		driver_kick(&driver, 1);
		if (round % 2 == 0)
			continue;
		take_back(&driver, 0, AT_ONCE);
		take_back(&driver, 1, AT_ONCE);
		taken += (uint64_t)AT_ONCE * SIZE;
	}
	arena_end(&arena);
	assert_true(counted(&console->device, "in", "p") >= taken);
	assert_true(counted(&console->device, "out", "p") >= taken);
	virtio_console_release(console);
	driver_release(&driver);
	free(console);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_by_io_uring),
		cmocka_unit_test(a_disk_by_system_calls),
		cmocka_unit_test(a_console),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
