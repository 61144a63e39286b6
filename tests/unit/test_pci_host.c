/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/pci_host.h"
#include "tests/unit/unit.h"

struct fixture {
	struct bus bus;
	struct pci_host host;
};

static int plug(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct dev_wants wants;

	assert_non_null(fixture);
	assert_int_equal(pci_host_init(&fixture->host), 0);
	pci_host_wants(&wants);
	assert_int_equal(wants.io_count, 2);
	for (size_t i = 0; i < wants.io_count; i++) {
		assert_int_equal(wants.io[i].space, BUS_PIO);
		assert_int_equal(bus_add(&fixture->bus, wants.io[i].range, wants.io[i].ops, &fixture->host), 0);
	}
	assert_null(wants.acpi_hid);
	assert_false(wants.irq);
	*state = fixture;
	return 0;
}

static int unplug(void **state)
{
	struct fixture *fixture = *state;

	pci_host_release(&fixture->host);
	pci_host_release(&fixture->host);
	pci_host_release(NULL);
	free(fixture);
	return 0;
}

static uint32_t in(const struct fixture *fixture, uint64_t port, unsigned size)
{
	uint64_t value;

	bus_read(&fixture->bus, port, size, &value);
	return (uint32_t)value;
}

static void out(const struct fixture *fixture, uint64_t port, unsigned size, uint32_t value)
{
	bus_write(&fixture->bus, port, size, value);
}

/* As Linux forms it: enable, bus, device and function, register. */
static uint32_t config_address(unsigned bus, unsigned device, unsigned function, unsigned reg)
{
	return UINT32_C(0x80000000) | bus << 16 | device << 11 | function << 8 | (reg & 0xfc);
}

static void address_keeps_its_bits_and_reserved_ones_read_zero(void **state)
{
	const uint32_t cases[][2] = {{0x80000000, 0x80000000},
				     {0, 0},
				     {0xffffffff, 0x80fffffc},
				     {0x80123456, 0x80123454},
				     {0x7f000003, 0x00000000}};
	struct fixture *fixture = *state;

	assert_int_equal(in(fixture, 0xcf8, 4), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		out(fixture, 0xcf8, 4, cases[i][0]);
		assert_int_equal(in(fixture, 0xcf8, 4), cases[i][1]);
	}
}

/* Ports 0xcf8..0xcfb take 32 bits only; 0xcf9 would be a PC's reset register. */
static void narrow_accesses_to_the_address_do_nothing(void **state)
{
	struct fixture *fixture = *state;

	out(fixture, 0xcf8, 4, 0x80000008);
	for (uint64_t port = 0xcf8; port < 0xcfc; port++) {
		out(fixture, port, 1, 0x06);
		out(fixture, port, 2, 0x0606);
		assert_int_equal(in(fixture, port, 1), 0xff);
		assert_int_equal(in(fixture, port, 2), 0xffff);
	}
	out(fixture, 0xcf9, 4, 0);
	assert_int_equal(in(fixture, 0xcf8, 4), 0x80000008);
}

/* What Linux does before it believes in mechanism #1: an echo of the enable bit, then a sane class at some function of bus 0. */
static void linux_finds_mechanism_1(void **state)
{
	struct fixture *fixture = *state;

	out(fixture, 0xcfb, 1, 0x01);

	uint32_t before = in(fixture, 0xcf8, 4);

	out(fixture, 0xcf8, 4, 0x80000000);
	assert_int_equal(in(fixture, 0xcf8, 4), 0x80000000);
	out(fixture, 0xcf8, 4, before);
	assert_int_equal(in(fixture, 0xcf8, 4), before);
	out(fixture, 0xcf8, 4, config_address(0, 0, 0, 0x0a));
	assert_int_equal(in(fixture, 0xcfc + 2, 2), 0x0600);
	/* mechanism #2 would echo zeros here */
	out(fixture, 0xcfb, 1, 0);
	out(fixture, 0xcf8, 1, 0);
	out(fixture, 0xcfa, 1, 0);
	assert_int_not_equal(in(fixture, 0xcf8, 1), 0);
}

static void the_host_bridge_has_its_header(void **state)
{
	struct fixture *fixture = *state;
	uint8_t expected[256] = {0};

	memcpy(expected, "\x36\x1b\x08\x00", 4); /* vendor, device */
	memcpy(expected + 8, "\0\0\0\x06", 4);   /* revision, class 06 00 00 */
	for (unsigned reg = 0; reg < 256; reg++) {
		unsigned within = reg & 3;

		out(fixture, 0xcf8, 4, config_address(0, 0, 0, reg));
		assert_int_equal(in(fixture, 0xcfc + within, 1), expected[reg]);
		if (within < 3)
			assert_int_equal(in(fixture, 0xcfc + within, 2), expected[reg] | expected[reg + 1] << 8);
		if (within == 0)
			assert_int_equal(in(fixture, 0xcfc, 4), expected[reg] | expected[reg + 1] << 8 |
									expected[reg + 2] << 16 |
									(uint32_t)expected[reg + 3] << 24);
	}
}

static void registers_are_read_only(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned reg = 0; reg < 256; reg += 4) {
		out(fixture, 0xcf8, 4, config_address(0, 0, 0, reg));

		uint32_t before = in(fixture, 0xcfc, 4);

		out(fixture, 0xcfc, 4, 0xffffffff);
		out(fixture, 0xcfd, 1, 0xff);
		out(fixture, 0xcfe, 2, 0xffff);
		assert_int_equal(in(fixture, 0xcfc, 4), before);
	}
}

static void every_other_function_is_absent(void **state)
{
	struct fixture *fixture = *state;
	unsigned absent = 0;

	for (unsigned bus = 0; bus < 256; bus++) {
		for (unsigned function = 0; function < 256; function++) {
			out(fixture, 0xcf8, 4, config_address(bus, function >> 3, function & 7, 0));
			absent += in(fixture, 0xcfc, 4) == 0xffffffff;
		}
	}
	assert_int_equal(absent, 256 * 256 - 1);
	out(fixture, 0xcf8, 4, config_address(0, 1, 0, 8));
	assert_int_equal(in(fixture, 0xcff, 1), 0xff);
	assert_int_equal(in(fixture, 0xcfd, 2), 0xffff);
}

/* Neither a disabled address nor one of AMD's extended registers may look like the bridge. */
static void disabled_and_extended_addresses_read_ones(void **state)
{
	struct fixture *fixture = *state;

	out(fixture, 0xcf8, 4, 0);
	assert_int_equal(in(fixture, 0xcfc, 4), 0xffffffff);
	for (unsigned bit = 24; bit < 31; bit++) {
		out(fixture, 0xcf8, 4, config_address(0, 0, 0, 0) | UINT32_C(1) << bit);
		assert_int_equal(in(fixture, 0xcfc, 4), 0xffffffff);
	}
	out(fixture, 0xcf8, 4, config_address(0, 0, 0, 0));
	assert_int_equal(in(fixture, 0xcfc, 4), 0x00081b36);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(address_keeps_its_bits_and_reserved_ones_read_zero, plug, unplug),
		cmocka_unit_test_setup_teardown(narrow_accesses_to_the_address_do_nothing, plug, unplug),
		cmocka_unit_test_setup_teardown(linux_finds_mechanism_1, plug, unplug),
		cmocka_unit_test_setup_teardown(the_host_bridge_has_its_header, plug, unplug),
		cmocka_unit_test_setup_teardown(registers_are_read_only, plug, unplug),
		cmocka_unit_test_setup_teardown(every_other_function_is_absent, plug, unplug),
		cmocka_unit_test_setup_teardown(disabled_and_extended_addresses_read_ones, plug, unplug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
