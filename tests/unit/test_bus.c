/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/bus.h"
#include "devices/debug_exit.h"
#include "devices/pci_host.h"
#include "devices/power.h"
#include "devices/pvpanic.h"
#include "devices/serial.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A device that remembers the last access. */
struct probe {
	uint64_t offset, value, answer;
	unsigned size;
	int reads, writes;
};

static uint64_t probe_read(void *device, uint64_t offset, unsigned size)
{
	struct probe *probe = device;

	probe->offset = offset;
	probe->size = size;
	probe->reads++;
	return probe->answer;
}

static void probe_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	struct probe *probe = device;

	probe->offset = offset;
	probe->size = size;
	probe->value = value;
	probe->writes++;
}

static const struct bus_ops any_width = {1 | 2 | 4 | 8, probe_read, probe_write};
static const struct bus_ops dwords = {4, probe_read, probe_write};

static void finds_the_device_and_its_offset(void **state)
{
	struct bus bus = {0};
	struct probe low = {.answer = 0x11}, middle = {.answer = 0x22}, high = {.answer = 0x33};
	uint64_t value;

	(void)state;
	/* added out of order; middle and high touch */
	assert_int_equal(bus_add(&bus, (struct range){0x110, 0x10}, &any_width, &high), 0);
	assert_int_equal(bus_add(&bus, (struct range){0x10, 0x8}, &any_width, &low), 0);
	assert_int_equal(bus_add(&bus, (struct range){0x100, 0x10}, &any_width, &middle), 0);

	const struct {
		uint64_t address;
		struct probe *who;
		uint64_t offset;
	} cases[] = {{0x10, &low, 0},   {0x17, &low, 7},    {0x100, &middle, 0}, {0x10f, &middle, 15},
		     {0x110, &high, 0}, {0x11f, &high, 15}, {0xf, NULL, 0},      {0x18, NULL, 0},
		     {0xff, NULL, 0},   {0x120, NULL, 0},   {0, NULL, 0},        {UINT64_MAX, NULL, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool answered = bus_read(&bus, cases[i].address, 1, &value);

		assert_int_equal(answered, cases[i].who != NULL);
		assert_int_equal(bus_write(&bus, cases[i].address, 1, 5), answered);
		assert_int_equal(value, answered ? cases[i].who->answer : 0xff);
		if (answered)
			assert_int_equal(cases[i].who->offset, cases[i].offset);
	}
	assert_int_equal(low.reads + middle.reads + high.reads, 6);
	assert_int_equal(low.writes + middle.writes + high.writes, 6);
}

static void hands_over_the_width_and_only_its_bits(void **state)
{
	const struct {
		unsigned size;
		uint64_t mask;
	} cases[] = {{1, 0xff}, {2, 0xffff}, {4, 0xffffffff}, {8, UINT64_MAX}};
	struct probe probe = {.answer = UINT64_C(0x8877665544332211)};
	struct bus bus = {0};
	uint64_t value;

	(void)state;
	assert_int_equal(bus_add(&bus, (struct range){0x1000, 8}, &any_width, &probe), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_true(bus_read(&bus, 0x1000, cases[i].size, &value));
		assert_int_equal(value, probe.answer & cases[i].mask);
		assert_int_equal(probe.size, cases[i].size);
		assert_true(bus_write(&bus, 0x1000, cases[i].size, UINT64_C(0xfedcba9876543210)));
		assert_int_equal(probe.value, UINT64_C(0xfedcba9876543210) & cases[i].mask);
		assert_int_equal(probe.size, cases[i].size);
	}
}

static void ignores_wrong_widths_and_reads_ones(void **state)
{
	const struct {
		uint64_t address;
		unsigned size;
		uint64_t value;
	} refused[] = {
		{0x20, 1, 0xff},
		{0x20, 2, 0xffff},
		{0x20, 8, UINT64_MAX},
		{0x20, 0, 0},
		{0x20, 5, UINT64_C(0xffffffffff)},
		{0x20, 12, UINT64_MAX},
		{0x20, 1u << 31, UINT64_MAX},
		/* across the end, and into it from before */
		{0x25, 4, 0xffffffff},
		{0x27, 4, 0xffffffff},
		{0x1e, 4, 0xffffffff},
	};
	struct probe probe = {0};
	struct bus bus = {0};

	(void)state;
	assert_int_equal(bus_add(&bus, (struct range){0x20, 8}, &dwords, &probe), 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		uint64_t value = 1;

		assert_false(bus_read(&bus, refused[i].address, refused[i].size, &value));
		assert_int_equal(value, refused[i].value);
		assert_false(bus_write(&bus, refused[i].address, refused[i].size, 0));
	}
	assert_int_equal(probe.reads + probe.writes, 0);
	/* unaligned but inside is the device's business */
	assert_true(bus_write(&bus, 0x23, 4, 0));
	assert_int_equal(probe.offset, 3);
}

/* The range type ends at 2^64 - 1, so the last byte of the address space cannot be given away. */
static void refuses_bad_ranges(void **state)
{
	const struct {
		struct range range;
		int result;
	} cases[] = {
		{{0x100, 0}, -EINVAL},
		{{0x1ff, 0}, -EINVAL},
		{{UINT64_MAX, 1}, -EINVAL},
		{{UINT64_MAX - 1, 3}, -EINVAL},
		{{1, UINT64_MAX}, -EINVAL},
		{{0x100, 0x100}, -EEXIST},
		{{0x1ff, 1}, -EEXIST},
		{{0xff, 2}, -EEXIST},
		{{0x1ff, 0x200}, -EEXIST},
		{{0, UINT64_MAX}, -EEXIST},
		{{0x180, 1}, -EEXIST},
		{{0x2ff, 2}, -EEXIST},
		{{0xff, 1}, 0},
		{{0x200, 0x100}, 0},
	};
	struct probe probe = {0};
	struct bus bus = {0};

	(void)state;
	assert_int_equal(bus_add(&bus, (struct range){0x100, 0x100}, &any_width, &probe), 0);
	assert_int_equal(bus_add(&bus, (struct range){0x300, 0x100}, &any_width, &probe), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t before = bus.count;

		assert_int_equal(bus_add(&bus, cases[i].range, &any_width, &probe), cases[i].result);
		assert_int_equal(bus.count, before + (cases[i].result == 0));
	}
}

static void is_full_at_its_bound(void **state)
{
	static struct probe probes[BUS_ENTRIES_MAX];
	struct bus bus = {0};
	uint64_t value;

	(void)state;
	/* even places upwards, odd ones downwards: insertion at the end and in the middle */
	for (unsigned i = 0; i < BUS_ENTRIES_MAX; i += 2)
		assert_int_equal(bus_add(&bus, (struct range){i * 16, 8}, &any_width, &probes[i]), 0);
	for (unsigned i = BUS_ENTRIES_MAX - 1; i < BUS_ENTRIES_MAX; i -= 2)
		assert_int_equal(bus_add(&bus, (struct range){i * 16, 8}, &any_width, &probes[i]), 0);
	assert_int_equal(bus_add(&bus, (struct range){0x100000, 8}, &any_width, &probes[0]), -ENOSPC);
	assert_int_equal(bus_add(&bus, (struct range){16, 8}, &any_width, &probes[0]), -EEXIST);
	for (unsigned i = 0; i < BUS_ENTRIES_MAX; i++) {
		assert_true(bus_read(&bus, i * 16 + 7, 1, &value));
		assert_false(bus_read(&bus, i * 16 + 8, 1, &value));
		assert_int_equal(probes[i].reads, 1);
		assert_int_equal(probes[i].offset, 7);
	}
}

/* -------------------------------------------------------------------------- every device against a hostile guest */

struct devices {
	struct bus bus;
	struct serial serial;
	struct power power;
	struct pvpanic pvpanic;
	struct pci_host pci_host;
	struct debug_exit debug_exit;
	size_t requests, transmitted, drained;
};

static void on_request(void *context, enum dev_request request, uint32_t value)
{
	struct devices *devices = context;

	assert_true(request <= DEV_REQUEST_EXIT);
	assert_true(value <= 0xffff);
	devices->requests++;
}

static void on_transmit(void *context, uint8_t byte)
{
	(void)byte;
	((struct devices *)context)->transmitted++;
}

static void on_drained(void *context)
{
	struct devices *devices = context;

	devices->drained++;
	serial_receive(&devices->serial, (const uint8_t *)"refill", 6);
}

static void plug(struct bus *bus, const struct dev_wants *wants, void *device)
{
	assert_true(wants->io_count >= 1 && wants->io_count <= DEVICE_IO_MAX);
	for (size_t i = 0; i < wants->io_count; i++) {
		assert_int_equal(wants->io[i].space, BUS_PIO);
		assert_int_equal(bus_add(bus, wants->io[i].range, wants->io[i].ops, device), 0);
	}
}

static void plug_all(struct devices *devices)
{
	struct dev_sink sink = {on_request, devices};
	struct dev_wants wants;

	assert_int_equal(serial_init(&devices->serial, on_transmit, on_drained, devices), 0);
	serial_wants(&wants);
	plug(&devices->bus, &wants, &devices->serial);
	power_init(&devices->power, sink);
	power_wants(&wants);
	plug(&devices->bus, &wants, &devices->power);
	pvpanic_init(&devices->pvpanic, sink);
	pvpanic_wants(&wants);
	plug(&devices->bus, &wants, &devices->pvpanic);
	assert_int_equal(pci_host_init(&devices->pci_host), 0);
	pci_host_wants(&wants);
	plug(&devices->bus, &wants, &devices->pci_host);
	debug_exit_init(&devices->debug_exit, sink);
	debug_exit_wants(&wants);
	plug(&devices->bus, &wants, &devices->debug_exit);
}

/* One access at or around a range, of any width. Returns whether it was answered. */
static bool random_access(struct bus *bus, struct range range, struct prng *prng)
{
	static const unsigned sizes[] = {1, 2, 4, 8};
	uint64_t address = range.start - 8 + prng_below(prng, range.size + 16);
	unsigned size = sizes[prng_below(prng, 4)];
	uint64_t value = 0;

	if (prng_below(prng, 2) == 0)
		return bus_write(bus, address, size, prng_next(prng));

	bool answered = bus_read(bus, address, size, &value);

	if (size < 8)
		assert_int_equal(value >> (8 * size), 0);
	return answered;
}

static void devices_stand_random_accesses(void **state)
{
	static struct devices devices;
	struct prng prng = prng_new("devices_stand_random_accesses");

	(void)state;
	plug_all(&devices);
	for (size_t i = 0; i < devices.bus.count; i++) {
		struct range range = devices.bus.entries[i].range;
		size_t answered = 0;

		for (int n = 0; n < 1000000; n++) {
			answered += random_access(&devices.bus, range, &prng);
			if (n % 16 == 0)
				serial_receive(&devices.serial, (const uint8_t *)"0123456789abcdefgh", n % 19);
			assert_true(devices.serial.fifo_count <= SERIAL_FIFO_SIZE);
			assert_true(devices.serial.fifo_head < SERIAL_FIFO_SIZE);
		}
		assert_true(answered > 1000);
	}
	/* The accesses did reach all sorts of effects. */
	assert_true(devices.requests > 1000 && devices.transmitted > 1000 && devices.drained > 1000);
	serial_release(&devices.serial);
	pci_host_release(&devices.pci_host);
}

/* ------------------------------------------------------------------------------------------ devices/device.c */

static void pulses_reach_the_eventfd(void **state)
{
	struct dev_irq none = {-1}, irq = {eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	eventfd_t count;

	(void)state;
	assert_true(irq.eventfd >= 0);
	dev_irq_pulse(&none);
	dev_irq_pulse(&irq);
	dev_irq_pulse(&irq);
	assert_int_equal(eventfd_read(irq.eventfd, &count), 0);
	assert_int_equal(count, 2);
	/* a counter at its end neither blocks nor turns */
	assert_int_equal(eventfd_write(irq.eventfd, UINT64_MAX - 1), 0);
	dev_irq_pulse(&irq);
	assert_int_equal(eventfd_read(irq.eventfd, &count), 0);
	assert_int_equal(count, UINT64_MAX - 1);
	close(irq.eventfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_device_and_its_offset),
		cmocka_unit_test(hands_over_the_width_and_only_its_bits),
		cmocka_unit_test(ignores_wrong_widths_and_reads_ones),
		cmocka_unit_test(refuses_bad_ranges),
		cmocka_unit_test(is_full_at_its_bound),
		cmocka_unit_test(devices_stand_random_accesses),
		cmocka_unit_test(pulses_reach_the_eventfd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
