/* SPDX-License-Identifier: Apache-2.0 */
/* devices/virtio/mmio.c and virtio.c: the registers, as a good driver uses them and as a bad one does. */
#include "devices/virtio/mmio.h"
#include "tests/unit/unit.h"
#include "tests/unit/virtio_driver.h"
#include "tests/unit/virtio_echo.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/resource.h>

enum { SIZE = 8 };

struct guest {
	struct echo echo;
	struct virtio_driver driver;
	uint64_t page;
};

static int set_up(void **state)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	assert_non_null(guest);
	assert_int_equal(echo_init(&guest->echo), 0);
	driver_init(&guest->driver, &guest->echo.device);
	guest->page = driver_alloc(&guest->driver, 4096, 4096);
	*state = guest;
	return 0;
}

static int tear_down(void **state)
{
	struct guest *guest = *state;

	virtio_release(&guest->echo.device);
	virtio_release(&guest->echo.device);
	driver_release(&guest->driver);
	free(guest);
	return 0;
}

static uint64_t read_any(const struct guest *guest, uint64_t offset, unsigned size)
{
	return VIRTIO_MMIO_OPS.read((void *)(uintptr_t)&guest->echo.device, offset, size);
}

/* ------------------------------------------------------------------------------------------------- a good driver */

static void test_identity(void **state)
{
	struct guest *guest = *state;
	const struct virtio_driver *driver = &guest->driver;

	assert_int_equal(driver_read(driver, DRIVER_REG_MAGIC), 0x74726976);
	assert_int_equal(driver_read(driver, DRIVER_REG_VERSION), 2);
	assert_int_equal(driver_read(driver, DRIVER_REG_DEVICE_ID), ECHO_ID);
	assert_int_equal(driver_offered(driver), ECHO_FEATURE | VIRTIO_FEATURE_INDIRECT_DESC |
							 VIRTIO_FEATURE_EVENT_IDX | VIRTIO_FEATURE_VERSION_1);
	driver_write(driver, DRIVER_REG_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(driver_read(driver, DRIVER_REG_DEVICE_FEATURES), 0);
	driver_write(driver, DRIVER_REG_DEVICE_FEATURES_SEL, UINT32_MAX);
	assert_int_equal(driver_read(driver, DRIVER_REG_DEVICE_FEATURES), 0);
	/* no shared memory */
	for (uint64_t offset = DRIVER_REG_SHM_LEN; offset < DRIVER_REG_SHM_LEN + 16; offset += 4)
		assert_int_equal(driver_read(driver, offset), UINT32_MAX);
}

static void exchange(struct guest *guest, unsigned index)
{
	struct virtio_driver *driver = &guest->driver;
	const struct driver_buffer buffers[] = {{guest->page, 5, false}, {guest->page + 64, 16, true}};
	uint32_t written;
	int head;

	memcpy(driver_at(driver, guest->page), "hello", 5);
	head = driver_add(driver, index, buffers, 2);
	assert_true(driver_kick(driver, index));
	driver_work(driver, 0);
	assert_int_equal(driver_wait_interrupt(driver, 0), 1);
	assert_int_equal(driver_read(driver, DRIVER_REG_INTERRUPT_STATUS), 0);
	assert_int_equal(driver_take(driver, index, &written), head);
	assert_int_equal(written, 5);
	assert_memory_equal(driver_at(driver, guest->page + 64), "hello", 6);
	memset(driver_at(driver, guest->page + 64), 0, 16);
	assert_false(driver_enable_interrupts(driver, index));
}

static void test_life(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	for (unsigned round = 0; round < 3; round++) {
		assert_true(driver_start(driver, round == 1 ? VIRTIO_FEATURE_VERSION_1 : DRIVER_ALL_FEATURES, SIZE));
		assert_int_equal(guest->echo.activations, round + 1);
		for (unsigned i = 0; i < 100; i++)
			exchange(guest, i % ECHO_QUEUES);
		driver_reset(driver);
		assert_int_equal(guest->echo.resets, 2 * round + 2);
		for (unsigned i = 0; i < ECHO_QUEUES; i++) {
			driver_write(driver, DRIVER_REG_QUEUE_SEL, i);
			assert_int_equal(driver_read(driver, DRIVER_REG_QUEUE_READY), 0);
		}
	}
}

static void test_configuration(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint8_t bytes[ECHO_CONFIG];
	uint32_t generation = driver_read(driver, DRIVER_REG_CONFIG_GENERATION);

	driver_read_config(driver, 0, bytes, sizeof(bytes));
	assert_memory_equal(bytes, guest->echo.config, sizeof(bytes));
	assert_int_equal(read_any(guest, DRIVER_REG_CONFIG, 2), 0xa1a0);
	assert_int_equal(read_any(guest, DRIVER_REG_CONFIG + 3, 4), 0xa6a5a4a3);
	assert_int_equal(read_any(guest, DRIVER_REG_CONFIG + 5, 8), UINT64_C(0xacabaaa9a8a7a6a5));
	VIRTIO_MMIO_OPS.write(&guest->echo.device, DRIVER_REG_CONFIG + 12, 1, 0x55);
	assert_int_equal(guest->echo.config[12], 0x55);
	assert_int_equal(guest->echo.config[11], 0xab);

	/* before DRIVER_OK a change is silent; afterwards it interrupts */
	virtio_config_changed(&guest->echo.device);
	assert_int_equal(driver_wait_interrupt(driver, 0), 0);
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	virtio_config_changed(&guest->echo.device);
	assert_int_equal(driver_read(driver, DRIVER_REG_CONFIG_GENERATION), generation + 2);
	assert_int_equal(driver_wait_interrupt(driver, 0), 2);
}

/* ------------------------------------------------------------------------------------------------- features, status */

static void test_features_not_offered(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint64_t offered = driver_offered(driver);

	for (unsigned bit = 0; bit < 64; bit++) {
		bool fine = (offered >> bit & 1) != 0;

		driver_reset(driver);
		driver_add_status(driver, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
		driver_accept(driver, VIRTIO_FEATURE_VERSION_1 | UINT64_C(1) << bit);
		driver_add_status(driver, VIRTIO_STATUS_FEATURES_OK);
		assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), fine ? 11 : 3);
		/* a driver that goes on regardless gets nowhere */
		driver_add_status(driver, VIRTIO_STATUS_DRIVER_OK);
		assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), fine ? 15 : 3);
	}
	driver_reset(driver);
	driver_accept(driver, 0);
	driver_add_status(driver, VIRTIO_STATUS_FEATURES_OK);
	assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), 0);
	/* words that are not there */
	driver_write(driver, DRIVER_REG_DRIVER_FEATURES_SEL, 2);
	driver_write(driver, DRIVER_REG_DRIVER_FEATURES, UINT32_MAX);
	assert_int_equal(guest->echo.device.accepted, 0);
}

static void test_features_freeze(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint64_t accepted;

	assert_true(driver_probe(driver, DRIVER_ALL_FEATURES));
	accepted = guest->echo.device.accepted;
	driver_accept(driver, 0);
	driver_accept(driver, UINT64_MAX);
	assert_int_equal(guest->echo.device.accepted, accepted);
}

static void test_status_out_of_order(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	for (unsigned value = 0; value < 256; value++) {
		driver_reset(driver);
		driver_accept(driver, VIRTIO_FEATURE_VERSION_1);
		driver_write(driver, DRIVER_REG_STATUS, value);
		/* only known bits, never NEEDS_RESET, and DRIVER_OK only after FEATURES_OK was seen */
		assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), value & 0x8b);
		assert_int_equal(guest->echo.activations, 0);
	}
	/* bits do not go away but all at once */
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	driver_write(driver, DRIVER_REG_STATUS, 1);
	driver_write(driver, DRIVER_REG_STATUS, 4);
	driver_write(driver, DRIVER_REG_STATUS, 0xffffff00);
	assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), 15);
	assert_int_equal(guest->echo.activations, 1);
	driver_write(driver, DRIVER_REG_STATUS, 0x80);
	assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), 0x8f);
}

static void test_needs_reset(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint32_t status;

	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	driver_publish(driver, 1, 0xffff);
	driver_kick(driver, 1);
	driver_work(driver, 0);
	status = driver_read(driver, DRIVER_REG_STATUS);
	assert_int_equal(status, 0x4f);
	assert_int_equal(driver_wait_interrupt(driver, 0), 2);
	/* it stays so, says it once, and serves no queue */
	driver_write(driver, DRIVER_REG_STATUS, 0x8f);
	assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), status);
	for (unsigned i = 0; i < ECHO_QUEUES; i++) {
		driver_add(driver, i, (struct driver_buffer[]){{guest->page, 1, true}}, 1);
		driver_kick_always(driver, i);
		driver_work(driver, 0);
		assert_int_equal(driver_take(driver, i, NULL), -1);
	}
	virtio_needs_reset(&guest->echo.device, "again");
	assert_int_equal(driver_wait_interrupt(driver, 0), 0);
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	exchange(guest, 1);
	/* a class that cannot start */
	guest->echo.activate_code = -EIO;
	assert_false(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	assert_true(driver_needs_reset(driver));
}

/* ------------------------------------------------------------------------------------------------- queues */

static void test_queue_registers(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	static const uint32_t WRONG[] = {0, 3, 257, 512, 0x10000, 0x10008, 0x80000000, UINT32_MAX};

	assert_true(driver_probe(driver, DRIVER_ALL_FEATURES));
	driver_write(driver, DRIVER_REG_QUEUE_SEL, ECHO_QUEUES - 1);
	assert_int_equal(driver_read(driver, DRIVER_REG_QUEUE_NUM_MAX), VIRTQ_SIZE_MAX);
	for (unsigned i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
		driver_write(driver, DRIVER_REG_QUEUE_NUM, WRONG[i]);
		driver_write(driver, DRIVER_REG_QUEUE_READY, 1);
		assert_int_equal(driver_read(driver, DRIVER_REG_QUEUE_READY), 0);
	}
	driver_write(driver, DRIVER_REG_QUEUE_NUM, 4);
	driver_write(driver, DRIVER_REG_QUEUE_READY, 2);
	assert_int_equal(driver_read(driver, DRIVER_REG_QUEUE_READY), 0);
	driver_setup_queue(driver, ECHO_QUEUES - 1, SIZE);
	/* a ready queue keeps what it has */
	driver_write(driver, DRIVER_REG_QUEUE_NUM, 16);
	driver_write_address(driver, DRIVER_REG_QUEUE_DESC, 0);
	driver_write_address(driver, DRIVER_REG_QUEUE_DRIVER, 0);
	driver_write_address(driver, DRIVER_REG_QUEUE_DEVICE, 0);
	assert_int_equal(guest->echo.device.queues[ECHO_QUEUES - 1].size, SIZE);
	assert_int_equal(guest->echo.device.queues[ECHO_QUEUES - 1].used, driver->queues[ECHO_QUEUES - 1].used);

	for (uint32_t select = ECHO_QUEUES; select != 0; select = select < 100 ? select + 1 : select << 1) {
		driver_write(driver, DRIVER_REG_QUEUE_SEL, select);
		assert_int_equal(driver_read(driver, DRIVER_REG_QUEUE_NUM_MAX), 0);
		assert_false(driver_announce_queue(driver, 0));
	}
	driver_add_status(driver, VIRTIO_STATUS_DRIVER_OK);
	/* too late for another queue; the one that is there works */
	driver_make_queue(driver, 0, SIZE);
	assert_false(driver_announce_queue(driver, 0));
	exchange(guest, ECHO_QUEUES - 1);
}

/* Linux takes its queues back when a later one fails, and checks that QueueReady reads 0. */
static void test_queue_taken_back(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	assert_true(driver_probe(driver, DRIVER_ALL_FEATURES));
	for (unsigned i = 0; i < 3; i++) {
		driver_setup_queue(driver, 0, SIZE);
		driver_write(driver, DRIVER_REG_QUEUE_READY, 0);
		assert_int_equal(driver_read(driver, DRIVER_REG_QUEUE_READY), 0);
	}
	driver_setup_queue(driver, 0, 2 * SIZE);
	driver_add_status(driver, VIRTIO_STATUS_DRIVER_OK);
	assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), 15);
	exchange(guest, 0);

	/* while it runs: everything ends, and so it stays until the reset */
	driver_write(driver, DRIVER_REG_QUEUE_SEL, 0);
	driver_write(driver, DRIVER_REG_QUEUE_READY, 0);
	assert_int_equal(driver_read(driver, DRIVER_REG_QUEUE_READY), 0);
	assert_int_equal(guest->echo.resets, 2);
	assert_true(driver_needs_reset(driver));
	assert_false(driver_announce_queue(driver, 0));
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	exchange(guest, 0);
}

static void test_rings_outside_memory(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	for (unsigned i = 0; i < 3; i++) {
		assert_true(driver_probe(driver, DRIVER_ALL_FEATURES));
		driver_make_queue(driver, 0, SIZE);
		driver_setup_queue(driver, 1, SIZE);
		*(uint64_t *[]){&driver->queues[0].descriptors, &driver->queues[0].available,
				&driver->queues[0].used}[i] = DRIVER_GPA + DRIVER_MEMORY;
		assert_true(driver_announce_queue(driver, 0));
		driver_add_status(driver, VIRTIO_STATUS_DRIVER_OK);
		assert_true(driver_needs_reset(driver));
		assert_int_equal(guest->echo.activations, 0);
		driver_kick_always(driver, 0);
		driver_kick_always(driver, 1);
		driver_work(driver, 0);
		assert_int_equal(guest->echo.kicks, 0);
	}
}

static void test_kick_before_driver_ok(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	assert_true(driver_probe(driver, DRIVER_ALL_FEATURES));
	driver_setup_queue(driver, 0, SIZE);
	driver_kick_always(driver, 0);
	driver_kick_always(driver, 1);
	driver_work(driver, 0);
	driver_add_status(driver, VIRTIO_STATUS_DRIVER_OK);
	driver_kick_always(driver, 1); /* never made ready */
	driver_work(driver, 0);
	assert_int_equal(guest->echo.kicks, 0);
	exchange(guest, 0);
}

/* ------------------------------------------------------------------------------------------------- any access */

/* Every offset and width, read and written, in every state: only aligned words do something, and nothing harms. */
static void test_every_access(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	static const uint64_t VALUES[] = {0, 1, 3, 0x80, UINT64_MAX, UINT64_C(0x0123456789abcdef)};

	for (unsigned step = 0; step < 3; step++) {
		for (uint64_t offset = 0; offset < VIRTIO_MMIO_PAGE; offset++) {
			for (unsigned size = 1; size <= 8 && offset + size <= VIRTIO_MMIO_PAGE; size *= 2) {
				bool config =
					offset >= DRIVER_REG_CONFIG && offset + size <= DRIVER_REG_CONFIG + ECHO_CONFIG;
				uint64_t value = read_any(guest, offset, size);

				if (!config && (size != 4 || (offset % 4 != 0 && offset < DRIVER_REG_CONFIG) ||
						offset >= DRIVER_REG_CONFIG))
					assert_true(value == 0 || (size == 4 && offset > DRIVER_REG_SHM_LEN &&
								   offset < DRIVER_REG_SHM_LEN + 16));
				for (unsigned i = 0; i < sizeof(VALUES) / sizeof(VALUES[0]); i++)
					VIRTIO_MMIO_OPS.write(&guest->echo.device, offset, size,
							      size == 8 ? VALUES[i]
									: VALUES[i] & ((UINT64_C(1) << 8 * size) - 1));
			}
		}
		driver_work(driver, 0);
		assert_int_equal(driver_start(driver, DRIVER_ALL_FEATURES, SIZE), true);
		exchange(guest, step);
	}
}

static void test_odd_widths_do_nothing(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	for (unsigned size = 1; size <= 8; size *= 2) {
		for (uint64_t offset = DRIVER_REG_STATUS - 8; offset <= DRIVER_REG_STATUS + 4; offset++) {
			if (size != 4 || offset % 4 != 0)
				VIRTIO_MMIO_OPS.write(&guest->echo.device, offset, size, 0);
		}
	}
	assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), 15);
	exchange(guest, 0);
}

/* A reset between any two steps of a request leaves nothing behind. */
static void test_resets_in_the_middle(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	for (unsigned step = 0; step < 7; step++) {
		assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
		if (step == 0)
			driver_reset(driver);
		assert_true(step == 0 ||
			    driver_add(driver, 0, (struct driver_buffer[]){{guest->page, 1, true}}, 1) >= 0);
		if (step == 1)
			driver_reset(driver);
		driver_kick_always(driver, 0);
		if (step == 2)
			driver_reset(driver);
		if (step == 3)
			assert_true(driver_probe(driver, DRIVER_ALL_FEATURES));
		driver_work(driver, 0);
		if (step == 4)
			driver_reset(driver);
		assert_int_equal(guest->echo.chains, step < 4 ? 0 : step - 3);
		if (step == 5)
			VIRTIO_MMIO_OPS.write(&guest->echo.device, DRIVER_REG_STATUS, 4, 0);
		(void)driver_wait_interrupt(driver, 0);
		assert_int_equal(driver_wait_interrupt(driver, 0), 0);
	}
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	exchange(guest, 0);
}

/* ------------------------------------------------------------------------------------------------- our own side */

static void test_init_without_descriptors(void **state)
{
	struct rlimit old, tight;
	struct echo echo;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	/* fd itself is one of them */
	for (rlim_t room = 0; room <= ECHO_QUEUES; room++) {
		tight.rlim_cur = (rlim_t)fd + room;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
		assert_int_equal(echo_init(&echo), -EMFILE);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		virtio_release(&echo.device);
	}
	close(fd);
	virtio_release(NULL);
	echo = (struct echo){0};
	virtio_release(&echo.device);
	assert_int_equal(echo_init(&echo), 0);
	assert_int_equal(echo.device.watch_fds[0], -1);
	assert_int_equal(echo.device.kick_fds[ECHO_QUEUES], -1);
	virtio_release(&echo.device);
	assert_int_equal(echo.resets, 1);
}

/* Bit 0 has no state then: it is there while the device runs, and goes with a reset. */
static void test_always_used(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	guest->echo.device.always_used = true;
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	assert_int_equal(driver_read(driver, DRIVER_REG_INTERRUPT_STATUS), 1);
	driver_write(driver, DRIVER_REG_INTERRUPT_ACK, 1);
	assert_int_equal(driver_read(driver, DRIVER_REG_INTERRUPT_STATUS), 1);
	virtio_config_changed(&guest->echo.device);
	assert_int_equal(driver_read(driver, DRIVER_REG_INTERRUPT_STATUS), 3);
	driver_write(driver, DRIVER_REG_INTERRUPT_ACK, 3);
	assert_int_equal(driver_read(driver, DRIVER_REG_INTERRUPT_STATUS), 1);
	driver_reset(driver);
	assert_int_equal(driver_read(driver, DRIVER_REG_INTERRUPT_STATUS), 0);
}

/* The page that the guest reads is what an access would give, at every word. */
static void check_page(const struct guest *guest, const uint8_t *page)
{
	for (uint64_t offset = 0; offset < DRIVER_REG_CONFIG; offset += 4) {
		uint32_t word;

		memcpy(&word, page + offset, sizeof(word));
		if (driver_read(&guest->driver, offset) != word)
			fail_msg("register 0x%03" PRIx64 " is 0x%x in the page", offset, word);
	}
	for (size_t i = 0; i < ECHO_CONFIG; i++)
		assert_int_equal(page[DRIVER_REG_CONFIG + i],
				 VIRTIO_MMIO_OPS.read(guest->driver.device, DRIVER_REG_CONFIG + i, 1));
}

/* Whatever is written, and whatever the device changes by itself. */
static void test_page(void **state)
{
	static uint8_t page[VIRTIO_MMIO_PAGE] __attribute__((aligned(4096)));
	struct guest *guest = *state;
	struct virtio_device *device = &guest->echo.device;
	struct virtio_driver *driver = &guest->driver;
	uint64_t random = 1;

	device->always_used = true;
	device->registers = page;
	virtio_mmio_publish(device);
	check_page(guest, page);
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	check_page(guest, page);
	assert_int_equal(page[DRIVER_REG_INTERRUPT_STATUS], 1);
	guest->echo.config[3]++;
	virtio_config_changed(device);
	check_page(guest, page);
	assert_int_equal(page[DRIVER_REG_INTERRUPT_STATUS], 3);
	driver_write(driver, DRIVER_REG_INTERRUPT_ACK, 3);
	check_page(guest, page);
	assert_int_equal(page[DRIVER_REG_INTERRUPT_STATUS], 1);
	virtio_needs_reset(device, "a test");
	check_page(guest, page);
	assert_int_equal(page[DRIVER_REG_STATUS] & VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET);
	for (unsigned i = 0; i < 2000; i++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		driver_write(driver, (random >> 40) % 0x48 * 4, (uint32_t)(random >> 32) % 20);
		check_page(guest, page);
	}
	driver_reset(driver);
	check_page(guest, page);
	device->registers = NULL;
}

/* ------------------------------------------------------------------------------------- writes that another thread does */

static struct {
	uint64_t offset;
	uint32_t value;
	unsigned count;
} handed;

static void note(void *context, struct virtio_device *device, uint64_t offset, uint32_t value)
{
	assert_ptr_equal(context, device);
	handed.offset = offset;
	handed.value = value;
	handed.count++;
}

/* Only what starts and stops the device: all else would cost a wait for nothing. */
static void test_handed_over(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	struct virtio_device *device = &guest->echo.device;
	unsigned resets;

	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, SIZE));
	resets = guest->echo.resets;
	memset(&handed, 0, sizeof(handed));
	device->hand_over = note;
	device->hand_over_context = device;
	exchange(guest, 0);
	driver_write(driver, DRIVER_REG_QUEUE_SEL, 1);
	driver_write(driver, DRIVER_REG_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
	assert_int_equal(handed.count, 0);
	driver_write(driver, DRIVER_REG_QUEUE_READY, 0);
	assert_true(handed.count == 1 && handed.offset == DRIVER_REG_QUEUE_READY && handed.value == 0);
	driver_write(driver, DRIVER_REG_STATUS, 0);
	assert_true(handed.count == 2 && handed.offset == DRIVER_REG_STATUS && handed.value == 0);
	assert_int_equal(guest->echo.resets, resets);
	assert_int_not_equal(driver_read(driver, DRIVER_REG_STATUS), 0);
	virtio_mmio_perform(device, handed.offset, handed.value);
	assert_int_equal(guest->echo.resets, resets + 1);
	assert_int_equal(driver_read(driver, DRIVER_REG_STATUS), 0);
	driver_write(driver, DRIVER_REG_STATUS, VIRTIO_STATUS_DRIVER_OK);
	assert_true(handed.count == 3 && handed.value == VIRTIO_STATUS_DRIVER_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_configuration, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_features_not_offered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_features_freeze, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_status_out_of_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_needs_reset, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_queue_registers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_queue_taken_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rings_outside_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kick_before_driver_ok, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_every_access, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_odd_widths_do_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_resets_in_the_middle, set_up, tear_down),
		cmocka_unit_test(test_init_without_descriptors),
		cmocka_unit_test_setup_teardown(test_always_used, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_page, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_handed_over, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
