/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/acpi.h"
#include "tests/unit/test_acpi_machines.h"
#include "tests/unit/unit.h"

#include <errno.h>

/* A machine that a test may spoil: two processors and four ranges on three nodes, three devices. */
struct spoilable {
	struct acpi_cpu cpus[300];
	struct acpi_memory memory[4];
	uint8_t distances[9];
	struct acpi_device devices[3];
	struct acpi_inputs inputs;
};

static void good(struct spoilable *machine)
{
	static const struct acpi_memory memory[] = {{{0, GIB}, 0, false},
						    {{4 * GIB, GIB}, 1, false},
						    {{8 * GIB, GIB}, 2, false},
						    {{6 * GIB, 2 * GIB}, 2, true}};
	static const uint8_t distances[] = {10, 11, 255, 11, 10, 20, 30, 40, 10};

	*machine = (struct spoilable){
		.cpus = {{0, 0}, {1, 1}},
		.devices = {{.name = "COM1", .hid = "PNP0501", .io = {0x3f8, 8}},
			    {.name = "V000", .hid = "LNRO0005", .mmio = {0xd0000000, 0x200}},
			    {.name = "V001", .hid = "LNRO0005", .uid = 1, .mmio = {0xfffffe00, 0x200}}},
	};
	memcpy(machine->memory, memory, sizeof(memory));
	memcpy(machine->distances, distances, sizeof(distances));
	machine->inputs = (struct acpi_inputs){.cpus = machine->cpus,
					       .cpu_count = 2,
					       .memory = machine->memory,
					       .memory_count = 4,
					       .distances = machine->distances,
					       .localities = 3,
					       .devices = machine->devices,
					       .device_count = 3,
					       .sleep_type_s5 = 7};
}

static void assert_good(const struct spoilable *machine)
{
	struct error err = {.text = "untouched"};

	assert_int_equal(acpi_check(&machine->inputs, &err), 0);
	assert_string_equal(err.text, "untouched");
}

static void assert_refused(const struct spoilable *machine, const char *text)
{
	struct error err = {0};

	assert_int_equal(acpi_check(&machine->inputs, &err), -EINVAL);
	assert_int_equal(err.status, EXIT_STATUS_INTERNAL);
	assert_string_equal(err.text, text);
}

static void good_machines_pass(void **state)
{
	struct spoilable machine;

	(void)state;
	good(&machine);
	assert_good(&machine);
	for (size_t i = 0; i < NAMED_MACHINES; i++) {
		machine.inputs = named_machines[i].inputs;
		assert_good(&machine);
	}
}

static void processors(void **state)
{
	struct spoilable machine;

	(void)state;
	good(&machine);
	machine.inputs.cpu_count = 0;
	assert_refused(&machine, "ACPI: 0 processors; from 1 to 4096 can be described");
	machine.inputs.cpu_count = 4097;
	assert_refused(&machine, "ACPI: 4097 processors; from 1 to 4096 can be described");
	good(&machine);
	machine.cpus[1].apic_id = 0;
	assert_refused(&machine, "ACPI: processor 1: APIC id 0 is that of processor 0; it must be unique");
	machine.cpus[1].apic_id = UINT32_MAX;
	assert_refused(&machine, "ACPI: processor 1: APIC id 0xffffffff means all processors; give it a lower one");
	machine.cpus[1].apic_id = UINT32_MAX - 1;
	assert_good(&machine);
}

/* The old MADT structure cannot name the 256th processor. */
static void low_apic_ids_come_first(void **state)
{
	struct spoilable machine;

	(void)state;
	good(&machine);
	machine.inputs.cpu_count = 256;
	for (uint32_t i = 0; i < 256; i++)
		machine.cpus[i] = (struct acpi_cpu){i, i % 2};
	assert_good(&machine);
	machine.cpus[0].apic_id = 1000;
	machine.cpus[255].apic_id = 0;
	assert_refused(&machine,
		       "ACPI: processor 255: APIC id 0 is below 255, so it must be among the first 255 processors");
	machine.cpus[255].apic_id = 255;
	machine.cpus[254].apic_id = 0;
	assert_good(&machine);
}

static void memory_ranges(void **state)
{
	struct spoilable machine;

	(void)state;
	good(&machine);
	machine.memory[1].range.size = 0;
	assert_refused(&machine, "ACPI SRAT: memory entry 1 at 0x100000000 is empty; leave it out");
	good(&machine);
	machine.memory[2].range = (struct range){UINT64_MAX - 4095, 8192};
	assert_refused(&machine, "ACPI SRAT: memory entry 2 at 0xfffffffffffff000, 0x2000 bytes, reaches behind 2^64");
	good(&machine);
	machine.memory[3].range.size += 1;
	assert_refused(&machine, "ACPI SRAT: memory entry 3, 0x180000000-0x200000000, overlaps entry 2, "
				 "0x200000000-0x23fffffff; each byte belongs to one domain");
	good(&machine);
	machine.memory[3].range.start = 8 * GIB;
	assert_refused(&machine, "ACPI SRAT: memory entry 3, 0x200000000-0x27fffffff, overlaps entry 2, "
				 "0x200000000-0x23fffffff; each byte belongs to one domain");
}

static void proximity_domains(void **state)
{
	struct spoilable machine;

	(void)state;
	good(&machine);
	machine.memory[2].pxm = 0;
	assert_refused(&machine,
		       "ACPI SRAT: memory entry 2: proximity domain 0 comes after 1; sort the entries by domain");
	good(&machine);
	machine.cpus[0].pxm = 1;
	machine.cpus[1].pxm = 0;
	assert_refused(&machine,
		       "ACPI SRAT: processor 0: proximity domain 1 is met before domain 0; domains must be first "
		       "met in the order 0, 1, 2, ..., processors and generic initiators before memory");
	good(&machine);
	machine.memory[2].pxm = 3;
	machine.memory[3].pxm = 3;
	assert_refused(&machine,
		       "ACPI SRAT: memory entry 2: proximity domain 3 is met before domain 2; domains must be "
		       "first met in the order 0, 1, 2, ..., processors and generic initiators before memory");
	good(&machine);
	machine.inputs.localities = 4;
	assert_refused(&machine,
		       "ACPI SLIT: 4 localities, but the highest proximity domain of SRAT is 2; the two must agree");
	machine.inputs.localities = 2;
	assert_refused(&machine,
		       "ACPI SLIT: 2 localities, but the highest proximity domain of SRAT is 2; the two must agree");
	/* a processor's domain without memory, and memory's without a processor, are good */
	good(&machine);
	machine.memory[1].pxm = 0;
	assert_good(&machine);
}

static void distances(void **state)
{
	struct spoilable machine;

	(void)state;
	good(&machine);
	machine.distances[4] = 11;
	assert_refused(&machine, "ACPI SLIT: distance from domain 1 to itself is 11; it must be 10");
	machine.distances[4] = 9;
	assert_refused(&machine, "ACPI SLIT: distance from domain 1 to itself is 9; it must be 10");
	good(&machine);
	machine.distances[5] = 10;
	assert_refused(&machine, "ACPI SLIT: distance from domain 1 to 2 is 10; it must be from 11 to 255");
	machine.distances[5] = 0;
	assert_refused(&machine, "ACPI SLIT: distance from domain 1 to 2 is 0; it must be from 11 to 255");
}

static void device_names(void **state)
{
	static const char *const bad[] = {"", "COM", "COM11", "com1", "_COM", "1COM", "CO.1", "C000", "CFFF", "CAFE"};
	static const char *const fine[] = {"C00G", "V_0_", "CO11", "DAFE"};
	struct spoilable machine;

	(void)state;
	good(&machine);
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		machine.devices[1].name = fine[i];
		assert_good(&machine);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[200];

		machine.devices[1].name = bad[i];
		snprintf(
			text, sizeof(text),
			"ACPI DSDT: device 1: name '%s' must be 4 characters of A-Z 0-9 _, start with a letter and not be C "
			"and three digits 0-9 A-F, PWRB or GED_",
			bad[i]);
		assert_refused(&machine, text);
	}
	machine.devices[1].name = NULL;
	assert_refused(&machine,
		       "ACPI DSDT: device 1: name '' must be 4 characters of A-Z 0-9 _, start with a letter and not "
		       "be C and three digits 0-9 A-F, PWRB or GED_");
	machine.devices[1].name = "COM1";
	assert_refused(&machine, "ACPI DSDT: devices 0 and 1 are both named COM1; names must be unique");
}

static void device_ids(void **state)
{
	struct spoilable machine;

	(void)state;
	good(&machine);
	machine.devices[0].hid = "pnp0501";
	assert_refused(&machine, "ACPI DSDT: device COM1: id 'pnp0501' must look like PNP0501 or ACPI0007");
	machine.devices[0].hid = NULL;
	assert_refused(&machine, "ACPI DSDT: device COM1: id '' must look like PNP0501 or ACPI0007");
	good(&machine);
	machine.devices[2].uid = 0;
	assert_refused(&machine, "ACPI DSDT: devices V000 and V001 are both LNRO0005 with _UID 0; give each its own");
}

static void device_resources(void **state)
{
	struct spoilable machine;

	(void)state;
	good(&machine);
	machine.devices[0].io = (struct range){0x400, 256};
	assert_refused(&machine, "ACPI DSDT: device COM1: 0x100 ports at 0x400; at most 255 ports below 0x10000 can be "
				 "described");
	machine.devices[0].io = (struct range){0xfff9, 8};
	assert_refused(&machine, "ACPI DSDT: device COM1: 0x8 ports at 0xfff9; at most 255 ports below 0x10000 can be "
				 "described");
	machine.devices[0].io = (struct range){UINT64_MAX, 8};
	assert_refused(&machine,
		       "ACPI DSDT: device COM1: 0x8 ports at 0xffffffffffffffff; at most 255 ports below 0x10000 "
		       "can be described");
	machine.devices[0].io = (struct range){0xff01, 255};
	assert_good(&machine);
	machine.devices[2].mmio.start += 1;
	assert_refused(&machine,
		       "ACPI DSDT: device V001: 0x200 bytes at 0xfffffe01; its registers must lie below 4 GiB");
	machine.devices[2].mmio.start = UINT64_MAX;
	assert_refused(&machine,
		       "ACPI DSDT: device V001: 0x200 bytes at 0xffffffffffffffff; its registers must lie below 4 "
		       "GiB");
}

/* The good machine with domain 2 an accelerator's as well, and figures for each pair. */
struct figured {
	struct spoilable machine;
	uint32_t figures[9], others[9], attached[3];
	struct acpi_cache cache;
};

static void good_figures(struct figured *it)
{
	struct acpi_inputs *inputs = &it->machine.inputs;

	*it = (struct figured){
		.figures = {1, 2, 3, 4, 5, 6, 7, 8, 9},
		.attached = {ACPI_NOT_ATTACHED, 1, 2},
		.cache = {.pxm = 2, .size = 1, .level = 3, .levels = 3, .mapping = 2, .policy = 2, .line = 65535},
	};
	good(&it->machine);
	it->machine.devices[1].is_initiator = true;
	it->machine.devices[1].pxm = 2;
	it->machine.devices[1].description = "of up to sixty-three characters, as this one has, to the letter";
	assert_int_equal(strlen(it->machine.devices[1].description), 63);
	inputs->hmat = true;
	inputs->initiators = 3;
	for (int kind = 0; kind < ACPI_FIGURES; kind++)
		inputs->figures[kind] = kind == ACPI_WRITE_BANDWIDTH ? it->figures : it->others;
	inputs->attached = it->attached;
	inputs->caches = &it->cache;
	inputs->cache_count = 1;
}

static void figures(void **state)
{
	struct figured it;

	(void)state;
	good_figures(&it);
	assert_good(&it.machine);
	it.machine.inputs.initiators = 2;
	assert_refused(&it.machine, "ACPI HMAT: 2 initiators, but SRAT has 3 domains with processors or generic "
				    "initiators; the two must agree");
	good_figures(&it);
	it.figures[8] = 65534;
	assert_good(&it.machine);
	it.figures[8] = 65535;
	assert_refused(&it.machine, "ACPI HMAT: figures of kind 3 have no unit that leaves entries up to 65534; use "
				    "rounder ones");
	good_figures(&it);
	it.machine.inputs.memory++;
	it.machine.inputs.memory_count--;
	assert_refused(&it.machine, "ACPI HMAT: domain 0 has figures but no memory; leave them out");
	it.figures[0] = it.figures[3] = it.figures[6] = 0;
	assert_good(&it.machine);
	it.others[6] = 1;
	assert_refused(&it.machine, "ACPI HMAT: domain 0 has figures but no memory; leave them out");
	good_figures(&it);
	it.attached[0] = 3;
	assert_refused(&it.machine, "ACPI HMAT: domain 0 is attached to 3, which is no initiator; these are below 3");
}

static void caches(void **state)
{
	static const struct acpi_cache bad[] = {{.pxm = 2, .level = 0, .levels = 3},
						{.pxm = 2, .level = 2, .levels = 1},
						{.pxm = 2, .level = 4, .levels = 4},
						{.pxm = 2, .level = 1, .levels = 1, .mapping = 3},
						{.pxm = 2, .level = 1, .levels = 1, .policy = 3}};
	struct figured it;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[200];

		good_figures(&it);
		it.cache = bad[i];
		snprintf(text, sizeof(text),
			 "ACPI HMAT: cache 0: level %d of %d, mapping %d, policy %d; there are levels 1 to 3, mappings "
			 "0 to 2 and policies 0 to 2",
			 bad[i].level, bad[i].levels, bad[i].mapping, bad[i].policy);
		assert_refused(&it.machine, text);
	}
	good_figures(&it);
	it.cache.pxm = 3;
	assert_refused(&it.machine, "ACPI HMAT: cache 0: domain 3 has no memory");
}

static void generic_initiators(void **state)
{
	struct figured it;

	(void)state;
	good_figures(&it);
	it.machine.devices[1].pxm = 3;
	assert_refused(&it.machine,
		       "ACPI SRAT: generic initiator 1: proximity domain 3 is met before domain 2; domains "
		       "must be first met in the order 0, 1, 2, ..., processors and generic initiators "
		       "before memory");
	good_figures(&it);
	it.machine.devices[1].hid = "PNP0501";
	assert_refused(&it.machine, "ACPI SRAT: generic initiator V000: id 'PNP0501' must look like ACPI0007");
	good_figures(&it);
	it.machine.devices[1].description = "of sixty-three characters and one more, which is one character m";
	assert_refused(&it.machine, "ACPI DSDT: device V000: its description has more than 63 characters");
}

static void sleep_type(void **state)
{
	struct spoilable machine;

	(void)state;
	good(&machine);
	machine.inputs.sleep_type_s5 = 8;
	assert_refused(&machine, "ACPI: sleep type 8 of S5; it must be from 0 to 7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_machines_pass),
		cmocka_unit_test(processors),
		cmocka_unit_test(low_apic_ids_come_first),
		cmocka_unit_test(memory_ranges),
		cmocka_unit_test(proximity_domains),
		cmocka_unit_test(distances),
		cmocka_unit_test(device_names),
		cmocka_unit_test(device_ids),
		cmocka_unit_test(device_resources),
		cmocka_unit_test(figures),
		cmocka_unit_test(caches),
		cmocka_unit_test(generic_initiators),
		cmocka_unit_test(sleep_type),
	};

	return cmocka_run_group_tests_name("acpi_check", tests, NULL, NULL);
}
