/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/debug_exit.h"
#include "tests/unit/unit.h"

struct exits {
	int count;
	uint32_t status;
};

static void on_request(void *context, enum dev_request request, uint32_t value)
{
	struct exits *exits = context;

	assert_int_equal(request, DEV_REQUEST_EXIT);
	exits->count++;
	exits->status = value;
}

static void plug(struct bus *bus, struct debug_exit *debug_exit, struct exits *exits)
{
	struct dev_wants wants;

	debug_exit_init(debug_exit, (struct dev_sink){on_request, exits});
	debug_exit_wants(&wants);
	assert_int_equal(wants.io_count, 1);
	assert_int_equal(wants.io[0].space, BUS_PIO);
	assert_int_equal(wants.io[0].range.start, 0xf4);
	assert_null(wants.acpi_hid);
	assert_false(wants.irq);
	assert_int_equal(bus_add(bus, wants.io[0].range, wants.io[0].ops, debug_exit), 0);
}

static void the_low_16_bits_are_handed_on(void **state)
{
	const struct {
		unsigned size;
		uint64_t value;
		uint32_t status;
	} cases[] = {{1, 0, 0},
		     {1, 3, 3},
		     {1, 255, 255},
		     {2, 0x0107, 0x0107},
		     {4, 42, 42},
		     {4, 0xffffff00, 0xff00},
		     {4, 0x12345678, 0x5678}};
	struct debug_exit debug_exit;
	struct bus bus = {0};
	struct exits exits;

	(void)state;
	plug(&bus, &debug_exit, &exits);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		exits = (struct exits){.status = 1000};
		assert_true(bus_write(&bus, DEBUG_EXIT_PORT, cases[i].size, cases[i].value));
		assert_int_equal(exits.count, 1);
		assert_int_equal(exits.status, cases[i].status);
	}
}

static void nothing_else_asks(void **state)
{
	struct exits exits = {0};
	struct debug_exit debug_exit;
	struct bus bus = {0};
	uint64_t value = 1;

	(void)state;
	plug(&bus, &debug_exit, &exits);
	assert_true(bus_read(&bus, DEBUG_EXIT_PORT, 4, &value));
	assert_int_equal(value, 0);
	assert_false(bus_write(&bus, DEBUG_EXIT_PORT, 8, 1));
	for (uint64_t port = DEBUG_EXIT_PORT + 1; port < DEBUG_EXIT_PORT + 4; port++)
		assert_true(bus_write(&bus, port, 1, 1));
	assert_false(bus_write(&bus, DEBUG_EXIT_PORT - 1, 2, 0x0101));
	assert_int_equal(exits.count, 0);
}

static void the_first_mark_of_each_number_is_kept(void **state)
{
	struct exits exits = {0};
	struct debug_exit debug_exit;
	struct bus bus = {0};
	uint64_t first, second;

	(void)state;
	plug(&bus, &debug_exit, &exits);
	/* no marks: what is none, what is too wide, and the exit's own byte in a wide write */
	for (unsigned value = DEBUG_EXIT_MARKS + 1; value <= 256; value++)
		assert_true(bus_write(&bus, DEBUG_EXIT_PORT + 1, 1, value & 0xff));
	assert_true(bus_write(&bus, DEBUG_EXIT_PORT + 1, 2, 1));
	assert_true(bus_write(&bus, DEBUG_EXIT_PORT + 2, 1, 1));
	assert_true(bus_write(&bus, DEBUG_EXIT_PORT, 2, 0x0100));
	for (unsigned number = 1; number <= DEBUG_EXIT_MARKS; number++)
		assert_int_equal(debug_exit_mark(&debug_exit, number), 0);
	assert_true(bus_write(&bus, DEBUG_EXIT_PORT + 1, 1, DEBUG_EXIT_MARKS));
	assert_true(bus_write(&bus, DEBUG_EXIT_PORT + 1, 1, 1));
	first = debug_exit_mark(&debug_exit, DEBUG_EXIT_MARKS);
	second = debug_exit_mark(&debug_exit, 1);
	assert_true(first > 0 && second >= first);
	assert_true(bus_write(&bus, DEBUG_EXIT_PORT + 1, 1, DEBUG_EXIT_MARKS));
	assert_int_equal(debug_exit_mark(&debug_exit, DEBUG_EXIT_MARKS), first);
	assert_int_equal(debug_exit_mark(&debug_exit, 2), 0);
	assert_int_equal(exits.count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_low_16_bits_are_handed_on),
		cmocka_unit_test(nothing_else_asks),
		cmocka_unit_test(the_first_mark_of_each_number_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
