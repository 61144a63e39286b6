/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/rng.h"
#include "tests/unit/counted.h"
#include "tests/unit/unit.h"
#include "tests/unit/virtio_driver.h"

struct guest {
	struct virtio_rng rng;
	struct virtio_driver driver;
};

static int set_up(void **state)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	struct error err;

	assert_non_null(guest);
	assert_int_equal(virtio_rng_init(&guest->rng, "--rng", NULL, &err), 0);
	driver_init(&guest->driver, &guest->rng.device);
	*state = guest;
	return 0;
}

static int tear_down(void **state)
{
	struct guest *guest = *state;

	virtio_rng_release(&guest->rng);
	driver_release(&guest->driver);
	free(guest);
	return 0;
}

static void test_fills_buffers(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint64_t gpa = driver_alloc(driver, 256, 16);
	const struct driver_buffer buffers[] = {{gpa, 64, true}, {gpa + 128, 3, true}};
	const uint8_t *bytes = driver_at(driver, gpa);
	uint32_t written;
	unsigned zeroes = 0;
	int head;

	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, 8));
	assert_int_equal(driver_read(driver, DRIVER_REG_DEVICE_ID), 4);
	head = driver_add(driver, 0, buffers, 2);
	assert_true(driver_kick(driver, 0));
	driver_work(driver, 0);
	assert_int_equal(driver_wait_interrupt(driver, 0), 1);
	assert_int_equal(driver_take(driver, 0, &written), head);
	assert_int_equal(written, 67);
	for (unsigned i = 0; i < 64; i++)
		zeroes += bytes[i] == 0;
	assert_true(zeroes < 16);
	for (unsigned i = 64; i < 128; i++)
		assert_int_equal(bytes[i], 0);
	for (unsigned i = 131; i < 256; i++)
		assert_int_equal(bytes[i], 0);
	assert_int_equal(counted(&guest->rng.device, "requests", NULL), 1);
	assert_int_equal(counted(&guest->rng.device, "given", NULL), 67);
	assert_int_equal(counted(&guest->rng.device, "kicks", NULL), 1);
	assert_int_equal(counted(&guest->rng.device, "interrupts", NULL), 1);
	assert_int_equal(counted(&guest->rng.device, "resets", NULL), 1);
	assert_int_equal(counted(&guest->rng.device, "needs_resets", NULL), 0);
}

static void test_a_large_request_is_cut(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint64_t gpa = driver_alloc(driver, MIB, 16);
	uint32_t written;

	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, 8));
	driver_add(driver, 0, (struct driver_buffer[]){{gpa, 1, true}, {gpa + 1, (uint32_t)MIB - 1, true}}, 2);
	driver_kick(driver, 0);
	driver_work(driver, 0);
	assert_true(driver_take(driver, 0, &written) >= 0);
	assert_int_equal(written, VIRTIO_RNG_REQUEST_MAX);
	assert_int_equal(*(uint8_t *)driver_at(driver, gpa + VIRTIO_RNG_REQUEST_MAX), 0);
}

/* A turn is bounded, and what is left is done in the next ones without another kick. */
static void test_turns_are_bounded(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint64_t gpa = driver_alloc(driver, VIRTIO_RNG_REQUEST_MAX, 16);
	unsigned done = 0;

	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, 128));
	for (unsigned i = 0; i < 128; i++)
		assert_true(driver_add(driver, 0, (struct driver_buffer[]){{gpa, VIRTIO_RNG_REQUEST_MAX, true}}, 1) >=
			    0);
	driver_kick(driver, 0);
	assert_true(driver_work_once(driver, 0));
	while (driver_take(driver, 0, NULL) >= 0)
		done++;
	assert_int_equal(done, VIRTIO_RNG_TURN_MAX / VIRTIO_RNG_REQUEST_MAX);
	driver_work(driver, 0);
	while (driver_take(driver, 0, NULL) >= 0)
		done++;
	assert_int_equal(done, 128);
	/* and the next buffer is a kick again */
	driver_add(driver, 0, (struct driver_buffer[]){{gpa, 1, true}}, 1);
	assert_true(driver_kick(driver, 0));
}

static void test_broken_requests(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint64_t gpa = driver_alloc(driver, 64, 16);
	const struct driver_buffer wrong[][2] = {
		{{gpa, 8, false}, {gpa + 8, 8, true}},
		{{gpa, 8, false}, {gpa + 8, 8, false}},
		{{gpa, 0, true}, {gpa, 0, true}},
		{{0, 8, true}, {gpa, 8, true}},
	};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_true(driver_start(driver, DRIVER_ALL_FEATURES, 8));
		driver_add(driver, 0, wrong[i], 2);
		driver_kick(driver, 0);
		driver_work(driver, 0);
		assert_true(driver_needs_reset(driver));
		assert_int_equal(driver_wait_interrupt(driver, 0), 2);
		assert_int_equal(driver_take(driver, 0, NULL), -1);
	}
	assert_int_equal(*(uint64_t *)driver_at(driver, gpa + 8), 0);
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, 8));
	driver_add(driver, 0, (struct driver_buffer[]){{gpa, 8, true}}, 1);
	driver_kick(driver, 0);
	driver_work(driver, 0);
	assert_int_equal(driver_take(driver, 0, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fills_buffers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_large_request_is_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_turns_are_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_broken_requests, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
