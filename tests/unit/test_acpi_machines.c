/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test_acpi_machines.h"
#include "tests/unit/unit.h"

#define FIXED_PORTS                                                                                                    \
	.lapic_address = 0xfee00000, .ioapic_address = 0xfec00000, .ioapic_id = 0, .sleep_control_port = 0x600,        \
	.sleep_status_port = 0x601, .reset_port = 0x602, .reset_value = 1, .sleep_type_s5 = 5, .button_gsi = 3

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct acpi_device com1 = {.name = "COM1", .hid = "PNP0501", .io = {0x3f8, 8}, .has_irq = true, .gsi = 4};

static const struct acpi_cpu one_cpu[] = {{0, 0}};
static const struct acpi_memory one_memory[] = {{{0, 512 * MIB}, 0, false}};
static const uint8_t one_distance[] = {10};

static const struct acpi_cpu two_slots_cpus[] = {{0, 0}, {1, 0}, {2, 1}, {3, 1}};
static const struct acpi_memory two_slots_memory[] = {
	{{0, 3 * GIB}, 0, false},        {{4 * GIB, 13 * GIB}, 0, false}, {{17 * GIB, 16 * GIB}, 1, false},
	{{34 * GIB, 8 * GIB}, 2, false}, {{48 * GIB, 4 * GIB}, 3, false}, {{42 * GIB, 6 * GIB}, 3, true},
	{{52 * GIB, 12 * GIB}, 3, true},
};
static const uint8_t two_slots_distances[] = {
	10, 21, 17, 255, /**/ 21, 10, 28, 17, /**/ 17, 28, 10, 40, /**/ 254, 17, 40, 10,
};
static const struct acpi_device two_slots_devices[] = {
	{.name = "COM1", .hid = "PNP0501", .io = {0x3f8, 8}, .has_irq = true, .gsi = 4},
	{.name = "V000", .hid = "LNRO0005", .mmio = {0xd0000000, 0x200}, .has_irq = true, .gsi = 5, .level = true},
	{.name = "V001", .hid = "LNRO0005", .uid = 1, .mmio = {0xd0000200, 0x200}, .has_irq = true, .gsi = 6},
	{.name = "PVPN", .hid = "QEMU0001", .uid = 300, .io = {0x505, 1}},
	{.name = "ECAM", .hid = "PNP0C02", .uid = 70000, .mmio = {0xe0000000, 0x100000}},
	{.name = "BARE", .hid = "ACPI0010"},
};

static const struct acpi_cpu x2apic_cpus[] = {{0, 0}, {1, 0}, {254, 0}, {255, 1}, {256, 1}, {0xfffffffe, 1}};
static const struct acpi_memory x2apic_memory[] = {{{0, GIB}, 0, false}, {{UINT64_C(0xfffffff) << 32, GIB}, 1, false}};
static const uint8_t x2apic_distances[] = {10, 20, 20, 10};

/* Domains: 0 has the processors and RAM, 1 an accelerator alone, 2 one with its slot, 3 and 4 slots. */
static const struct acpi_memory figures_memory[] = {
	{{0, 3 * GIB}, 0, false},        {{4 * GIB, GIB}, 0, false},      {{8 * GIB, 8 * GIB}, 2, false},
	{{16 * GIB, 4 * GIB}, 3, false}, {{20 * GIB, 4 * GIB}, 4, false},
};
static const uint8_t figures_distances[] = {
	10, 20, 20,      20, 20, /**/ 20, 10, 20,      20, 20, /**/ 20, 20, 10,
	20, 20, /**/ 20, 20, 20, 10,      20, /**/ 20, 20, 20, 20,      10,
};
static const struct acpi_device figures_devices[] = {
	{.name = "COM1", .hid = "PNP0501", .io = {0x3f8, 8}, .has_irq = true, .gsi = 4},
	{.name = "AC00", .hid = "SPMV0001", .is_initiator = true, .pxm = 1, .description = "dma"},
	{.name = "AC01", .hid = "SPMV0001", .uid = 1, .is_initiator = true, .pxm = 2, .description = "hbm.0-owner"},
};
/*
 * Rows: from 0, 1 and 2. Write latencies use the largest entry and nearly all of 32 bits; there are no write
 * bandwidths.
 */
static const uint32_t figures_read_latency[] = {80000, 0, 120000, 60500, 0,   /**/ 0, 0, 0,
						90000, 0, /**/ 0, 0,     500, 0,      0};
static const uint32_t figures_write_latency[] = {65000, 0, 4259710000, 0, 0, /**/ 0, 0, 0, 0, 0, /**/ 0, 0, 0, 0, 0};
static const uint32_t figures_read_bandwidth[] = {102400, 0, 819200, 100, 0, /**/ 0, 0, 0, 0, 0, /**/ 0, 0, 0, 0, 0};
static const uint32_t no_figures[15];
static const uint32_t figures_attached[] = {0, ACPI_NOT_ATTACHED, 2, ACPI_NOT_ATTACHED, ACPI_NOT_ATTACHED};
static const struct acpi_cache figures_caches[] = {
	{.pxm = 3, .size = 256 * MIB, .level = 1, .levels = 2, .mapping = 1, .policy = 1, .line = 64},
	{.pxm = 3, .size = 16 * MIB, .level = 2, .levels = 2, .mapping = 2, .policy = 2, .line = 32768},
};

const struct named_machine named_machines[NAMED_MACHINES] = {
	{"one-node",
	 {.cpus = one_cpu,
	  .cpu_count = COUNT_OF(one_cpu),
	  .memory = one_memory,
	  .memory_count = COUNT_OF(one_memory),
	  .distances = one_distance,
	  .localities = 1,
	  .devices = &com1,
	  .device_count = 1,
	  FIXED_PORTS}},
	{"two-slots",
	 {.cpus = two_slots_cpus,
	  .cpu_count = COUNT_OF(two_slots_cpus),
	  .memory = two_slots_memory,
	  .memory_count = COUNT_OF(two_slots_memory),
	  .distances = two_slots_distances,
	  .localities = 4,
	  .devices = two_slots_devices,
	  .device_count = COUNT_OF(two_slots_devices),
	  FIXED_PORTS}},
	{"x2apic",
	 {.cpus = x2apic_cpus,
	  .cpu_count = COUNT_OF(x2apic_cpus),
	  .memory = x2apic_memory,
	  .memory_count = COUNT_OF(x2apic_memory),
	  .distances = x2apic_distances,
	  .localities = 2,
	  FIXED_PORTS}},
	{"figures",
	 {.cpus = one_cpu,
	  .cpu_count = COUNT_OF(one_cpu),
	  .memory = figures_memory,
	  .memory_count = COUNT_OF(figures_memory),
	  .distances = figures_distances,
	  .localities = 5,
	  .devices = figures_devices,
	  .device_count = COUNT_OF(figures_devices),
	  .hmat = true,
	  .initiators = 3,
	  .figures = {figures_read_latency, figures_write_latency, figures_read_bandwidth, no_figures},
	  .attached = figures_attached,
	  .caches = figures_caches,
	  .cache_count = COUNT_OF(figures_caches),
	  FIXED_PORTS}},
};

static void *array_new(size_t count, size_t size)
{
	void *array = calloc(count + 1, size);

	assert_non_null(array);
	return array;
}

/* The first processors take the first domains, memory goes on from there and ends at the last. */
static void grow_topology(struct grown_machine *machine, size_t cpus, size_t memory, uint32_t localities)
{
	size_t cpu_domains = cpus < localities ? cpus : localities;

	assert_true(memory + cpus >= localities);
	for (size_t i = 0; i < cpus; i++) {
		machine->cpus[i].apic_id = (uint32_t)(i < 200 ? i : 1000 * i);
		machine->cpus[i].pxm = (uint32_t)(i % cpu_domains);
	}
	for (size_t i = 0; i < memory; i++) {
		machine->memory[i].range = (struct range){i * 2 * GIB, 2 * GIB};
		machine->memory[i].pxm =
			(uint32_t)(memory < localities ? localities - memory + i : i * localities / memory);
		machine->memory[i].hotpluggable = i % 5 == 4;
	}
	for (uint32_t i = 0; i < localities; i++) {
		for (uint32_t j = 0; j < localities; j++)
			machine->distances[(size_t)i * localities + j] =
				(uint8_t)(i == j ? 10 : 11 + (i * 7 + j) % 245);
	}
}

/* Each device takes as many bytes as a device can. */
static void grow_devices(struct grown_machine *machine, size_t devices)
{
	for (size_t i = 0; i < devices; i++) {
		assert_true(i < 26000);
		snprintf(machine->names[i], sizeof(machine->names[i]), "%c%03u", (char)('D' + i / 1000 % 20),
			 (unsigned int)(i % 1000));
		machine->devices[i] = (struct acpi_device){.name = machine->names[i],
							   .hid = "LNRO0005",
							   .uid = UINT32_MAX - (uint32_t)i,
							   .io = {0xff00, 255},
							   .mmio = {0xfffff000, 0x1000},
							   .has_irq = true,
							   .gsi = UINT32_MAX,
							   .level = true};
	}
}

void grown_new(struct grown_machine *machine, size_t cpus, size_t memory, uint32_t localities, size_t devices)
{
	*machine = (struct grown_machine){0};
	machine->cpus = array_new(cpus, sizeof(*machine->cpus));
	machine->memory = array_new(memory, sizeof(*machine->memory));
	machine->distances = array_new((size_t)localities * localities, 1);
	machine->devices = array_new(devices, sizeof(*machine->devices));
	machine->names = array_new(devices, sizeof(*machine->names));
	grow_topology(machine, cpus, memory, localities);
	grow_devices(machine, devices);
	machine->inputs = (struct acpi_inputs){.cpus = machine->cpus,
					       .cpu_count = cpus,
					       .memory = machine->memory,
					       .memory_count = memory,
					       .distances = machine->distances,
					       .localities = localities,
					       .devices = machine->devices,
					       .device_count = devices,
					       FIXED_PORTS};
}

void grown_with_figures(struct grown_machine *machine)
{
	struct acpi_inputs *inputs = &machine->inputs;
	uint32_t initiators =
		(uint32_t)(inputs->cpu_count < inputs->localities ? inputs->cpu_count : inputs->localities);
	size_t count = (size_t)initiators * inputs->localities;

	machine->figures = array_new(count, sizeof(*machine->figures));
	machine->attached = array_new(inputs->localities, sizeof(*machine->attached));
	machine->caches = array_new(inputs->memory_count, sizeof(*machine->caches));
	for (size_t i = 0; i < inputs->memory_count; i++) {
		uint32_t pxm = inputs->memory[i].pxm;

		for (uint32_t from = 0; from < initiators; from++)
			machine->figures[(size_t)from * inputs->localities + pxm] = 1 + (from * 7 + pxm * 3) % 65534;
		machine->caches[i] = (struct acpi_cache){.pxm = pxm, .size = MIB, .level = 3, .levels = 3};
	}
	inputs->hmat = true;
	inputs->initiators = initiators;
	for (int kind = 0; kind < ACPI_FIGURES; kind++)
		inputs->figures[kind] = machine->figures;
	inputs->attached = machine->attached;
	inputs->caches = machine->caches;
	inputs->cache_count = inputs->memory_count;
}

void grown_free(struct grown_machine *machine)
{
	free(machine->figures);
	free(machine->attached);
	free(machine->caches);
	free(machine->cpus);
	free(machine->memory);
	free(machine->distances);
	free(machine->devices);
	free(machine->names);
	*machine = (struct grown_machine){0};
}

uint64_t read_le(const uint8_t *bytes, size_t width)
{
	uint64_t value = 0;

	while (width-- > 0)
		value = value << 8 | bytes[width];
	return value;
}

const uint8_t *find_table(const struct acpi_blob *blob, const char *signature, size_t *size)
{
	for (size_t i = 0; i < blob->table_count; i++) {
		if (strcmp(blob->tables[i].signature, signature) == 0) {
			assert_in_range(blob->tables[i].size, 1, blob->bytes.size - blob->tables[i].offset);
			*size = blob->tables[i].size;
			return blob->bytes.data + blob->tables[i].offset;
		}
	}
	fail_msg("no table %s", signature);
	return NULL;
}
