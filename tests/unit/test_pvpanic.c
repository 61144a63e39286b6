/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/pvpanic.h"
#include "tests/unit/unit.h"

static void on_request(void *context, enum dev_request request, uint32_t value)
{
	assert_int_equal(request, DEV_REQUEST_PANICKED);
	assert_int_equal(value, 0);
	(*(int *)context)++;
}

static void plug(struct bus *bus, struct pvpanic *pvpanic, int *requests)
{
	struct dev_wants wants;

	pvpanic_init(pvpanic, (struct dev_sink){on_request, requests});
	pvpanic_wants(&wants);
	assert_int_equal(wants.io_count, 1);
	assert_int_equal(wants.io[0].space, BUS_PIO);
	assert_int_equal(wants.io[0].range.start, 0x505);
	assert_int_equal(wants.io[0].range.size, 1);
	assert_string_equal(wants.acpi_hid, "QEMU0001");
	assert_int_equal(strlen(wants.acpi_name), 4);
	assert_false(wants.irq);
	assert_int_equal(bus_add(bus, wants.io[0].range, wants.io[0].ops, pvpanic), 0);
}

/* The driver tells only events that were offered, so a guest with a crash kernel says nothing and boots it. */
static void offers_the_panicked_event_only(void **state)
{
	struct pvpanic pvpanic;
	struct bus bus = {0};
	uint64_t value;
	int requests = 0;

	(void)state;
	plug(&bus, &pvpanic, &requests);
	assert_true(bus_read(&bus, PVPANIC_PORT, 1, &value));
	assert_int_equal(value, 0x01);
	assert_int_equal(requests, 0);
}

static void asks_when_bit_0_is_written(void **state)
{
	struct pvpanic pvpanic;
	struct bus bus = {0};
	int requests = 0;

	(void)state;
	plug(&bus, &pvpanic, &requests);
	for (unsigned value = 0; value < 256; value++) {
		requests = 0;
		assert_true(bus_write(&bus, PVPANIC_PORT, 1, value));
		assert_int_equal(requests, value & 1);
	}
	requests = 0;
	assert_false(bus_write(&bus, PVPANIC_PORT, 2, 1));
	assert_int_equal(requests, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offers_the_panicked_event_only),
		cmocka_unit_test(asks_when_bit_0_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
