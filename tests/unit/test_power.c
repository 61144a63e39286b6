/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/power.h"
#include "tests/unit/unit.h"

#include <sys/eventfd.h>
#include <unistd.h>

struct requests {
	int count;
	enum dev_request last;
	uint32_t value;
};

static void on_request(void *context, enum dev_request request, uint32_t value)
{
	struct requests *requests = context;

	requests->count++;
	requests->last = request;
	requests->value = value;
}

static void plug(struct bus *bus, struct power *power, struct requests *requests)
{
	struct dev_wants wants;

	power_init(power, (struct dev_sink){on_request, requests});
	power_wants(&wants);
	assert_int_equal(wants.io_count, 2);
	for (size_t i = 0; i < wants.io_count; i++) {
		assert_int_equal(wants.io[i].space, BUS_PIO);
		assert_int_equal(bus_add(bus, wants.io[i].range, wants.io[i].ops, power), 0);
	}
	/* the FADT names the ports; no device in the DSDT does */
	assert_null(wants.acpi_hid);
	assert_true(wants.irq);
	assert_int_equal(wants.gsi, POWER_BUTTON_GSI);
}

/* Every value to every port: exactly these ask for something. */
static void only_the_right_values_ask(void **state)
{
	const unsigned ports[] = {POWER_SLEEP_CONTROL_PORT, POWER_SLEEP_STATUS_PORT, POWER_RESET_PORT,
				  POWER_KEYBOARD_PORT};
	struct requests requests = {0};
	struct bus bus = {0};
	struct power power;

	(void)state;
	plug(&bus, &power, &requests);
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		for (unsigned value = 0; value < 256; value++) {
			/* SLP_EN with SLP_TYP 5; other bits are reserved or ignored */
			bool off = ports[i] == POWER_SLEEP_CONTROL_PORT && (value & 0x3c) == 0x34;
			bool reset = (ports[i] == POWER_RESET_PORT && value == 1) ||
				     (ports[i] == POWER_KEYBOARD_PORT && value == 0xfe);

			requests = (struct requests){.value = 77};
			assert_true(bus_write(&bus, ports[i], 1, value));
			assert_int_equal(requests.count, off || reset);
			if (off || reset) {
				assert_int_equal(requests.last, off ? DEV_REQUEST_POWEROFF : DEV_REQUEST_RESET);
				assert_int_equal(requests.value, 0);
			}
		}
	}
}

static void registers_read_zero(void **state)
{
	const unsigned ports[] = {POWER_SLEEP_CONTROL_PORT, POWER_SLEEP_STATUS_PORT, POWER_RESET_PORT,
				  POWER_KEYBOARD_PORT};
	struct requests requests = {0};
	struct bus bus = {0};
	struct power power;

	(void)state;
	plug(&bus, &power, &requests);
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		uint64_t value = 1;

		assert_true(bus_read(&bus, ports[i], 1, &value));
		assert_int_equal(value, 0);
	}
	assert_int_equal(requests.count, 0);
}

static void only_bytes_are_taken_and_neighbours_are_free(void **state)
{
	const unsigned outside[] = {0x5ff, 0x603, 0x60, 0x63, 0x65};
	struct requests requests = {0};
	struct bus bus = {0};
	struct power power;
	uint64_t value;

	(void)state;
	plug(&bus, &power, &requests);
	assert_false(bus_write(&bus, POWER_SLEEP_CONTROL_PORT, 2, 0x34));
	assert_false(bus_write(&bus, POWER_RESET_PORT, 4, POWER_RESET_VALUE));
	assert_false(bus_write(&bus, POWER_KEYBOARD_PORT, 2, POWER_KEYBOARD_RESET));
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		assert_false(bus_read(&bus, outside[i], 1, &value));
		assert_int_equal(value, 0xff);
	}
	assert_int_equal(requests.count, 0);
}

static void a_press_is_a_pulse(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct requests requests = {0};
	struct bus bus = {0};
	struct power power;
	uint64_t pulses;

	(void)state;
	assert_true(fd >= 0);
	plug(&bus, &power, &requests);
	power_press(&power); /* not wired yet: goes nowhere */
	power_set_irq(&power, (struct dev_irq){fd});
	power_press(&power);
	power_press(&power);
	assert_int_equal(read(fd, &pulses, sizeof(pulses)), sizeof(pulses));
	assert_int_equal(pulses, 2);
	assert_int_equal(requests.count, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_right_values_ask),
		cmocka_unit_test(registers_read_zero),
		cmocka_unit_test(a_press_is_a_pulse),
		cmocka_unit_test(only_bytes_are_taken_and_neighbours_are_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
