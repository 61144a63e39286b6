/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/machine_line.h"

#include <errno.h>
#include <stdbool.h>

/* ------------------------------------------------------------------------------------------- processors */

struct cpu_case {
	const char *line;
	unsigned core_bits;
	struct board_cpu cpus[6];
};

/* One package for each node with CPUs; an APIC id is package << core_bits | core. */
static void each_node_is_a_package(void **state)
{
	static const struct cpu_case CASES[] = {
		{"--cpus 1", 0, {{0, 0, 1}}},
		{"--cpus 2", 1, {{0, 0, 2}, {0, 1, 2}}},
		{"--cpus 3", 2, {{0, 0, 3}, {0, 1, 3}, {0, 2, 3}}},
		{"--cpus 5", 3, {{0, 0, 5}, {0, 1, 5}, {0, 2, 5}, {0, 3, 5}, {0, 4, 5}}},
		{"--cpus 4 --numa node=0,cpus=0-1 --numa node=1,cpus=2-3",
		 1,
		 {{0, 0, 2}, {0, 1, 2}, {1, 2, 2}, {1, 3, 2}}},
		{"--cpus 4 --numa node=0,cpus=0,2 --numa node=1,cpus=1,3",
		 1,
		 {{0, 0, 2}, {1, 2, 2}, {0, 1, 2}, {1, 3, 2}}},
		{"--cpus 3 --numa node=0,cpus=0 --numa node=1,cpus=1 --numa node=2,cpus=2",
		 0,
		 {{0, 0, 1}, {1, 1, 1}, {2, 2, 1}}},
		{"--cpus 5 --numa node=0,cpus=0-2 --numa node=1,cpus=3 --numa node=2,cpus=4",
		 2,
		 {{0, 0, 3}, {0, 1, 3}, {0, 2, 3}, {1, 4, 1}, {2, 8, 1}}},
		{"--cpus 6 --numa node=0,cpus=0 --numa node=1,cpus=1-5",
		 3,
		 {{0, 0, 1}, {1, 8, 5}, {1, 9, 5}, {1, 10, 5}, {1, 11, 5}, {1, 12, 5}}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		struct machine_line machine = line_new(CASES[i].line);
		const struct board *board = machine.board;

		assert_int_equal(board->core_bits, CASES[i].core_bits);
		assert_int_equal(board->acpi.cpu_count, machine.config->cpu_count);
		for (uint32_t cpu = 0; cpu < machine.config->cpu_count; cpu++) {
			const struct board_cpu *expected = &CASES[i].cpus[cpu];

			assert_int_equal(board->cpus[cpu].node, expected->node);
			assert_int_equal(board->cpus[cpu].apic_id, expected->apic_id);
			assert_int_equal(board->cpus[cpu].package_cores, expected->package_cores);
			assert_int_equal(board->acpi.cpus[cpu].apic_id, expected->apic_id);
			assert_int_equal(board->acpi.cpus[cpu].pxm, expected->node);
		}
		line_release(&machine);
	}
}

static void all_cpus_fit_below_the_broadcast_id(void **state)
{
	struct machine_line machine = line_new("--cpus 255");

	(void)state;
	assert_int_equal(machine.board->core_bits, 8);
	assert_int_equal(machine.board->cpus[254].apic_id, 254);
	line_release(&machine);
	machine = line_new("--cpus 254 --numa node=0,cpus=0-126 --numa node=1,cpus=127-253");
	assert_int_equal(machine.board->core_bits, 7);
	assert_int_equal(machine.board->cpus[126].apic_id, 126);
	assert_int_equal(machine.board->cpus[127].apic_id, 128);
	assert_int_equal(machine.board->cpus[253].apic_id, 254);
	line_release(&machine);
}

/* A package's ids are a power of two, so one large node makes all of them wide. */
static void ids_that_linux_does_not_take_are_refused(void **state)
{
	struct machine_line machine;
	struct error err = {0};

	(void)state;
	assert_int_equal(line_try(&machine, "--cpus 255 --numa node=0,cpus=0 --numa node=1,cpus=1-254", &err), -ERANGE);
	assert_string_equal(err.text,
			    "--numa: CPU 1 of node 1 would have APIC id 256, and Linux leaves out CPUs with ids from "
			    "255 on: each node takes as many ids as the largest, 256; spread the CPUs more "
			    "evenly");
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	line_release(&machine);
}

/* ------------------------------------------------------------------------------------------ E820 and SRAT */

struct memory_case {
	const char *line;
	struct e820_entry e820[12];
	struct acpi_memory srat[12];
};

#define RAM(start, end)                                                                                                \
	{                                                                                                              \
		{start, (end) - (start)}, E820_RAM                                                                     \
	}
#define ACPI(start, end)                                                                                               \
	{                                                                                                              \
		{start, (end) - (start)}, E820_ACPI                                                                    \
	}
#define SOFT(start, end)                                                                                               \
	{                                                                                                              \
		{start, (end) - (start)}, E820_SOFT_RESERVED                                                           \
	}
#define AT(node, start, end)                                                                                           \
	{                                                                                                              \
		{start, (end) - (start)}, node, false                                                                  \
	}
#define HOT(node, start, end)                                                                                          \
	{                                                                                                              \
		{start, (end) - (start)}, node, true                                                                   \
	}
#define K640 UINT64_C(0xa0000)

/* Written by hand from the rules of layout.h and board.h. The tables' page is the last of the RAM below 3 GiB. */
static const struct memory_case MEMORY_CASES[] = {
	{
		"",
		{RAM(0, K640), RAM(MIB, GIB - 4096), ACPI(GIB - 4096, GIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB - 4096)},
	},
	{
		"--spm size=8G,node=1",
		{RAM(0, K640), RAM(MIB, GIB - 4096), ACPI(GIB - 4096, GIB), SOFT(4 * GIB, 12 * GIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB - 4096), AT(1, 4 * GIB, 12 * GIB)},
	},
	{
		/* RAM flows around the hole; the block is on the next 2 GiB above it */
		"--mem 4G --spm size=2M,node=1",
		{RAM(0, K640), RAM(MIB, 3 * GIB - 4096), ACPI(3 * GIB - 4096, 3 * GIB), RAM(4 * GIB, 5 * GIB),
		 SOFT(6 * GIB, 6 * GIB + 2 * MIB)},
		{AT(0, 0, K640), AT(0, MIB, 3 * GIB - 4096), AT(0, 4 * GIB, 5 * GIB),
		 AT(1, 6 * GIB, 6 * GIB + 2 * MIB)},
	},
	{
		/* two nodes of RAM that touch stay two entries */
		"--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --mem size=512M,node=1 --mem 1G",
		{RAM(0, K640), RAM(MIB, GIB), RAM(GIB, GIB + 512 * MIB - 4096),
		 ACPI(GIB + 512 * MIB - 4096, GIB + 512 * MIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB), AT(1, GIB, GIB + 512 * MIB - 4096)},
	},
	{
		/* two blocks that touch stay two entries, by address; SRAT has them by node */
		"--spm size=2G,node=2,addr=0x100000000 --spm size=2G,node=1,addr=0x180000000",
		{RAM(0, K640), RAM(MIB, GIB - 4096), ACPI(GIB - 4096, GIB), SOFT(4 * GIB, 6 * GIB),
		 SOFT(6 * GIB, 8 * GIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB - 4096), AT(1, 6 * GIB, 8 * GIB), AT(2, 4 * GIB, 6 * GIB)},
	},
	{
		/* a mixed node has both kinds */
		"--spm size=2G,node=0,mixed=on",
		{RAM(0, K640), RAM(MIB, GIB - 4096), ACPI(GIB - 4096, GIB), SOFT(4 * GIB, 6 * GIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB - 4096), AT(0, 4 * GIB, 6 * GIB)},
	},
	{
		/* room for hotplug without a block: at the only node */
		"--maxmem 5G",
		{RAM(0, K640), RAM(MIB, GIB - 4096), ACPI(GIB - 4096, GIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB - 4096), HOT(0, 4 * GIB, 8 * GIB)},
	},
	{
		/* behind a block: at the highest node, which is the block's */
		"--spm size=2G,node=1 --maxmem 5G",
		{RAM(0, K640), RAM(MIB, GIB - 4096), ACPI(GIB - 4096, GIB), SOFT(4 * GIB, 6 * GIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB - 4096), AT(1, 4 * GIB, 6 * GIB), HOT(1, 6 * GIB, 8 * GIB)},
	},
	{
		/* before, between and behind blocks: all of it at the highest node, in the order of addresses there */
		"--spm size=1G,node=2,addr=0x200000000 --spm size=1G,node=1,addr=0x300000000 --maxmem 13G",
		{RAM(0, K640), RAM(MIB, GIB - 4096), ACPI(GIB - 4096, GIB), SOFT(8 * GIB, 9 * GIB),
		 SOFT(12 * GIB, 13 * GIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB - 4096), AT(1, 12 * GIB, 13 * GIB), HOT(2, 4 * GIB, 8 * GIB),
		 AT(2, 8 * GIB, 9 * GIB), HOT(2, 9 * GIB, 12 * GIB), HOT(2, 13 * GIB, 18 * GIB)},
	},
	{
		/* a --maxmem that is used up opens nothing */
		"--spm size=2G,node=1,addr=0x100000000 --spm size=2G,node=2,addr=0x200000000 --maxmem 5G",
		{RAM(0, K640), RAM(MIB, GIB - 4096), ACPI(GIB - 4096, GIB), SOFT(4 * GIB, 6 * GIB),
		 SOFT(8 * GIB, 10 * GIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB - 4096), AT(1, 4 * GIB, 6 * GIB), AT(2, 8 * GIB, 10 * GIB)},
	},
	{
		/* AMD's range is neither block nor room: 1012 GiB end, 1024 GiB start */
		"--spm size=4G,node=1,addr=0xfc00000000 --spm size=4G,node=2,addr=0x10000000000 --phys-bits 42 "
		"--maxmem 1018G",
		{RAM(0, K640), RAM(MIB, GIB - 4096), ACPI(GIB - 4096, GIB), SOFT(1008 * GIB, 1012 * GIB),
		 SOFT(1024 * GIB, 1028 * GIB)},
		{AT(0, 0, K640), AT(0, MIB, GIB - 4096), AT(1, 1008 * GIB, 1012 * GIB), HOT(2, 4 * GIB, 1008 * GIB),
		 AT(2, 1024 * GIB, 1028 * GIB), HOT(2, 1028 * GIB, 1034 * GIB)},
	},
	{
		/* the tables' page comes from the last piece of RAM below the hole, whosever it is */
		"--mem 3G --mem size=2G,node=1",
		{RAM(0, K640), RAM(MIB, 3 * GIB - 4096), ACPI(3 * GIB - 4096, 3 * GIB), RAM(4 * GIB, 6 * GIB)},
		{AT(0, 0, K640), AT(0, MIB, 3 * GIB - 4096), AT(1, 4 * GIB, 6 * GIB)},
	},
};

static void print_memory(const struct board *board)
{
	for (size_t i = 0; i < board->e820.count; i++)
		print_message("E820 %#" PRIx64 " %#" PRIx64 " %#x\n", board->e820.entries[i].range.start,
			      range_end(board->e820.entries[i].range), board->e820.entries[i].type);
	for (size_t i = 0; i < board->acpi.memory_count; i++)
		print_message("SRAT %#" PRIx64 " %#" PRIx64 " %u %d\n", board->acpi.memory[i].range.start,
			      range_end(board->acpi.memory[i].range), board->acpi.memory[i].pxm,
			      board->acpi.memory[i].hotpluggable);
}

static bool same_range(struct range a, struct range b)
{
	return a.start == b.start && a.size == b.size;
}

static bool is_as_written(const struct memory_case *expected, const struct board *board)
{
	size_t e820 = 0, srat = 0;

	while (e820 < 12 && expected->e820[e820].range.size > 0) {
		if (e820 >= board->e820.count ||
		    !same_range(board->e820.entries[e820].range, expected->e820[e820].range) ||
		    board->e820.entries[e820].type != expected->e820[e820].type)
			return false;
		e820++;
	}
	while (srat < 12 && expected->srat[srat].range.size > 0) {
		const struct acpi_memory *memory = &board->acpi.memory[srat];

		if (srat >= board->acpi.memory_count || !same_range(memory->range, expected->srat[srat].range) ||
		    memory->pxm != expected->srat[srat].pxm ||
		    memory->hotpluggable != expected->srat[srat].hotpluggable)
			return false;
		srat++;
	}
	return e820 == board->e820.count && srat == board->acpi.memory_count && board->e820.sealed;
}

static void memory_is_as_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(MEMORY_CASES) / sizeof(MEMORY_CASES[0]); i++) {
		struct machine_line machine = line_new(MEMORY_CASES[i].line);

		if (!is_as_written(&MEMORY_CASES[i], machine.board)) {
			print_memory(machine.board);
			fail_msg("'%s' is not as written above", MEMORY_CASES[i].line);
		}
		line_release(&machine);
	}
}

/* ---------------------------------------------------------------------------------------------- devices */

static size_t count_of(const struct board *board, enum board_device_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < board->device_count; i++)
		count += board->devices[i].kind == kind;
	return count;
}

/* No two devices answer to one register. */
static void check_registers(const struct board *board)
{
	struct bus buses[2] = {0};

	for (size_t i = 0; i < board->device_count; i++) {
		const struct dev_wants *wants = &board->devices[i].wants;

		assert_true(wants->io_count > 0);
		for (size_t j = 0; j < wants->io_count; j++)
			assert_int_equal(
				bus_add(&buses[wants->io[j].space], wants->io[j].range, wants->io[j].ops, NULL), 0);
	}
}

/* The port that ends the machine with a script's status is not for guests that run no script. */
static void the_debug_exit_port_comes_with_a_script(void **state)
{
	static const enum board_device_kind ALWAYS[] = {BOARD_SERIAL, BOARD_POWER, BOARD_PCI_HOST, BOARD_PVPANIC};
	struct machine_line without = line_new(""), with = line_new("--script test.sh");

	(void)state;
	for (size_t i = 0; i < sizeof(ALWAYS) / sizeof(ALWAYS[0]); i++) {
		assert_int_equal(count_of(without.board, ALWAYS[i]), 1);
		assert_int_equal(count_of(with.board, ALWAYS[i]), 1);
	}
	assert_int_equal(count_of(without.board, BOARD_DEBUG_EXIT), 0);
	assert_int_equal(count_of(with.board, BOARD_DEBUG_EXIT), 1);
	check_registers(without.board);
	check_registers(with.board);
	line_release(&without);
	line_release(&with);
}

/* The DSDT's one device with that id. */
static const struct acpi_device *device_with(const struct acpi_inputs *acpi, const char *hid)
{
	const struct acpi_device *found = NULL;

	for (size_t i = 0; i < acpi->device_count; i++) {
		if (strcmp(acpi->devices[i].hid, hid) != 0)
			continue;
		assert_null(found);
		found = &acpi->devices[i];
	}
	assert_non_null(found);
	return found;
}

/* What Linux has no other way to find is in the DSDT. */
static void the_dsdt_has_com1_and_pvpanic(void **state)
{
	struct machine_line machine = line_new("--script test.sh");
	const struct acpi_inputs *acpi = &machine.board->acpi;
	const struct acpi_device *com1 = device_with(acpi, "PNP0501"), *pvpanic = device_with(acpi, "QEMU0001");

	(void)state;
	assert_true(com1->io.start == 0x3f8 && com1->io.size == 8);
	assert_true(com1->has_irq && com1->gsi == 4);
	assert_true(pvpanic->io.start == 0x505);
	assert_false(pvpanic->has_irq);
	assert_int_equal(acpi->sleep_control_port, 0x600);
	assert_int_equal(acpi->sleep_status_port, 0x601);
	assert_int_equal(acpi->reset_port, 0x602);
	assert_int_equal(acpi->reset_value, 1);
	assert_int_equal(acpi->sleep_type_s5, 5);
	assert_int_equal(acpi->lapic_address, 0xfee00000u);
	assert_int_equal(acpi->ioapic_address, 0xfec00000u);
	line_release(&machine);
}

/* --------------------------------------------------------------------------------------------- questions */

static void an_owner_is_the_option_behind_a_region(void **state)
{
	struct machine_line machine = line_new("--mem 512M --mem 4G --spm size=2G,node=2,id=far,addr=0x400000000 "
					       "--spm size=2G,node=1,id=near,addr=0x200000000");
	const struct board *board = machine.board;
	static const char *const IDS[] = {"ram0", "ram1", "ram1", "near", "far"};

	(void)state;
	assert_int_equal(board->layout.region_count, 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(board_owner(board, &board->layout.regions[i])->id, IDS[i]);
	line_release(&machine);
}

static void whole_memory_blocks_can_go_online(void **state)
{
	struct machine_line machine = line_new("");
	struct board *board = machine.board;

	(void)state;
	assert_true(board->layout.block_size == 128 * MIB);
	assert_true(board_onlinable(board, (struct range){4 * GIB, 8 * GIB}) == 8 * GIB);
	assert_true(board_onlinable(board, (struct range){4 * GIB, 2 * MIB}) == 0);
	assert_true(board_onlinable(board, (struct range){4 * GIB, 127 * MIB}) == 0);
	assert_true(board_onlinable(board, (struct range){4 * GIB, 128 * MIB}) == 128 * MIB);
	assert_true(board_onlinable(board, (struct range){4 * GIB + 2 * MIB, 256 * MIB}) == 128 * MIB);
	assert_true(board_onlinable(board, (struct range){4 * GIB + 2 * MIB, 128 * MIB}) == 0);
	assert_true(board_onlinable(board, (struct range){4 * GIB + 64 * MIB, 128 * MIB}) == 0);
	line_release(&machine);
	/* RAM that ends at 66 GiB, a multiple of 2 GiB, makes memory blocks of 2 GiB */
	machine = line_new("--mem 65G --spm size=3G,node=1");
	assert_true(board_onlinable(machine.board, machine.board->layout.regions[2].gpa) == 2 * GIB);
	line_release(&machine);
}

static void a_layout_that_cannot_be_is_refused(void **state)
{
	struct machine_line machine;
	struct error err = {0};

	(void)state;
	assert_int_equal(line_try(&machine, "--spm size=64G,node=1 --phys-bits 36", &err), -ENOSPC);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	assert_string_equal(err.text,
			    "--spm id=spm0: its 65536 MiB do not fit: at 0x100000000 they would go beyond the "
			    "end of the guest's 36 physical address bits (0x1000000000); make the block or the "
			    "RAM smaller");
	line_release(&machine);
	/* the tables of many CPUs and nodes need room too */
	assert_int_equal(line_try(&machine, "--mem 64M", &err), -ENOSPC);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	line_release(&machine);
}

static void nothing_is_released_twice(void **state)
{
	struct machine_line machine = line_new("--spm size=8G,node=1");

	(void)state;
	board_release(machine.board);
	assert_null(machine.board->cpus);
	assert_null(machine.board->acpi_memory);
	line_release(&machine);
	board_release(NULL);
}

/* ---------------------------------------------------------------------- what every board must be: any line */

enum { LINE_MAX_LENGTH = 65536 };

struct text {
	char *at;
	size_t length;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text->length += (size_t)vsnprintf(text->at + text->length, LINE_MAX_LENGTH - text->length, format, args);
	va_end(args);
	assert_true(text->length < LINE_MAX_LENGTH);
}

static uint64_t some_size(struct prng *prng, unsigned most_bits)
{
	return 2 * (1 + prng_below(prng, UINT64_C(1) << prng_below(prng, most_bits)));
}

/* Nodes with CPUs, then with RAM alone, then with a block alone: the order that config_from() asks for. */
static void write_line(struct text *text, struct prng *prng)
{
	uint32_t with_cpus = 1 + (uint32_t)prng_below(prng, 4), with_ram = (uint32_t)prng_below(prng, 3), node;
	uint32_t cpus = with_cpus + (uint32_t)prng_below(prng, 8), blocks = (uint32_t)prng_below(prng, 24);

	text->length = 0;
	add(text, "--phys-bits %d --cpus %" PRIu32, 44 + (int)prng_below(prng, 9), cpus);
	for (uint32_t cpu = 0; cpu < cpus; cpu++) {
		/* each node once before any a second time, so that Linux meets them in order */
		node = cpu < with_cpus ? cpu : (uint32_t)prng_below(prng, with_cpus);
		add(text, " --numa node=%" PRIu32 ",cpus=%" PRIu32, node, cpu);
	}
	add(text, " --mem %" PRIu64 "M", 128 + some_size(prng, 12));
	for (node = 0; node < with_cpus + with_ram; node++) {
		for (uint64_t i = prng_below(prng, 3) + (node >= with_cpus); i > 0; i--)
			add(text, " --mem size=%" PRIu64 "M,node=%" PRIu32, some_size(prng, 14), node);
	}
	for (uint32_t i = 0; i < blocks; i++) {
		add(text, " --spm size=%" PRIu64 "M,node=%" PRIu32, some_size(prng, 18), node++);
		if (prng_below(prng, 8) == 0)
			add(text, ",addr=%#" PRIx64, (1 + prng_below(prng, 4096)) * 4 * GIB);
	}
	if (prng_below(prng, 4) == 0)
		add(text, " --spm size=2M,node=%" PRIu32 ",mixed=on", (uint32_t)prng_below(prng, with_cpus));
	if (prng_below(prng, 3) == 0)
		add(text, " --maxmem %dT", 7 + (int)prng_below(prng, 3));
}

/* Each E820 RAM and soft-reserved entry is exactly one SRAT entry, at the node of the option that it comes from. */
static void check_srat_is_e820(const struct board *board)
{
	size_t plain = 0, expected = 0;

	for (size_t i = 0; i < board->acpi.memory_count; i++)
		plain += !board->acpi.memory[i].hotpluggable;
	for (size_t i = 0; i < board->e820.count; i++) {
		const struct e820_entry *entry = &board->e820.entries[i];
		const struct mem_region *owner = NULL;
		size_t found = 0;

		if (entry->type != E820_RAM && entry->type != E820_SOFT_RESERVED)
			continue;
		expected++;
		for (size_t j = 0; j < board->layout.region_count; j++) {
			if (range_contains(board->layout.regions[j].gpa, entry->range))
				owner = &board->layout.regions[j];
		}
		assert_non_null(owner);
		assert_int_equal(owner->kind == MEM_SPM, entry->type == E820_SOFT_RESERVED);
		for (size_t j = 0; j < board->acpi.memory_count; j++) {
			const struct acpi_memory *memory = &board->acpi.memory[j];

			if (!same_range(memory->range, entry->range))
				continue;
			found++;
			assert_int_equal(memory->pxm, owner->node);
			assert_false(memory->hotpluggable);
		}
		assert_int_equal(found, 1);
	}
	assert_int_equal(plain, expected);
}

/* E820 covers each region exactly, but for the legacy hole; RAM less the tables' place is RAM, a block is one entry. */
static void check_e820_is_the_regions(const struct board *board)
{
	uint64_t ram = 0, acpi = 0, blocks = 0;

	for (size_t i = 0; i < board->e820.count; i++) {
		const struct e820_entry *entry = &board->e820.entries[i];

		assert_true(i == 0 || entry->range.start >= range_end(board->e820.entries[i - 1].range));
		if (entry->type == E820_RAM)
			ram += entry->range.size;
		else if (entry->type == E820_ACPI)
			acpi += entry->range.size;
		else
			blocks += entry->range.size;
	}
	for (size_t i = 0; i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];

		if (region->kind == MEM_SPM)
			blocks -= region->gpa.size;
		else
			ram -= region->gpa.size;
	}
	assert_true(blocks == 0);
	assert_true(acpi == board->layout.acpi.size && ram + acpi + 0x60000 == 0);
}

/* With --maxmem the window's blocks and placeholders cover it once, but for AMD's range; without it there are no placeholders. */
static void check_partition(const struct board *board)
{
	const struct range window = board->layout.window.span;
	const struct range ht = range_between(LAYOUT_HT_START, LAYOUT_HT_END);
	uint64_t covered = 0;

	for (size_t i = 0; i < board->acpi.memory_count; i++) {
		const struct acpi_memory *memory = &board->acpi.memory[i];

		if (memory->hotpluggable) {
			assert_true(board->layout.hotplug);
			assert_int_equal(memory->pxm, board->config->node_count - 1);
			assert_true(range_contains(window, memory->range));
			assert_false(range_overlaps(memory->range, ht));
		}
		if (range_overlaps(window, memory->range)) {
			assert_true(range_contains(window, memory->range));
			covered += memory->range.size;
		}
		for (size_t j = 0; j < i; j++)
			assert_false(range_overlaps(memory->range, board->acpi.memory[j].range));
	}
	if (board->layout.hotplug)
		assert_true(covered == window.size - (range_contains(window, ht) ? ht.size : 0));
}

static uint64_t number_at(const uint8_t *bytes, size_t width)
{
	uint64_t value = 0;

	for (size_t i = width; i-- > 0;)
		value = value << 8 | bytes[i];
	return value;
}

/* The bytes of SRAT, taken apart by the specification (ACPI 6.5 §5.2.16), say what the inputs say, in their order. */
static void check_srat_bytes(const struct board *board, const uint8_t *table, size_t size)
{
	size_t cpus = 0, memory = 0;

	for (size_t at = 48; at < size; at += table[at + 1]) {
		const uint8_t *entry = table + at;

		if (entry[0] == 1) {
			const struct acpi_memory *expected = &board->acpi.memory[memory++];

			assert_int_equal(entry[1], 40);
			assert_true(memory <= board->acpi.memory_count);
			assert_true(number_at(entry + 2, 4) == expected->pxm);
			assert_true(number_at(entry + 8, 8) == expected->range.start);
			assert_true(number_at(entry + 16, 8) == expected->range.size);
			assert_true(number_at(entry + 28, 4) == (expected->hotpluggable ? 3u : 1u));
		} else {
			const struct board_cpu *cpu = &board->cpus[cpus++];

			assert_int_equal(entry[0], 0); /* all APIC ids are below 255 here */
			assert_int_equal(entry[1], 16);
			assert_true(cpus <= board->config->cpu_count);
			assert_int_equal(entry[2], cpu->node);
			assert_int_equal(entry[3], cpu->apic_id);
			assert_int_equal(entry[4], 1);
		}
	}
	assert_int_equal(cpus, board->config->cpu_count);
	assert_int_equal(memory, board->acpi.memory_count);
}

static void check_tables(const struct board *board)
{
	struct error err = {0};
	struct acpi_blob blob;
	bool has_srat = false;

	if (acpi_check(&board->acpi, &err) < 0 || board_build_acpi(board, &blob, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(blob.bytes.size <= board->layout.acpi.size);
	for (size_t i = 0; i < blob.table_count; i++) {
		if (strcmp(blob.tables[i].signature, "SRAT") != 0)
			continue;
		check_srat_bytes(board, blob.bytes.data + blob.tables[i].offset, blob.tables[i].size);
		has_srat = true;
	}
	assert_true(has_srat);
	acpi_blob_release(&blob);
}

static void every_board_keeps_the_rules(void **state)
{
	struct prng prng = prng_new("every_board_keeps_the_rules");
	struct text text = {.at = malloc(LINE_MAX_LENGTH)};
	size_t made = 0, hotplug = 0;

	(void)state;
	assert_non_null(text.at);
	for (int round = 0; round < 400; round++) {
		struct machine_line machine;
		struct error err = {0};

		write_line(&text, &prng);
		if (line_try(&machine, text.at, &err) == 0) {
			check_srat_is_e820(machine.board);
			check_e820_is_the_regions(machine.board);
			check_partition(machine.board);
			check_tables(machine.board);
			made++;
			hotplug += machine.board->layout.hotplug;
		} else {
			/* two addresses that overlap, or an address in AMD's range or in RAM */
			assert_int_equal(err.status, EXIT_STATUS_CONFIG);
			assert_non_null(strstr(err.text, "addr="));
		}
		line_release(&machine);
	}
	free(text.at);
	/* the generator makes what the properties are about */
	assert_true(made > 200 && hotplug > 50);
}

/* The budget for the tables is set aside before they are built, from counts: it must hold at the limits. */
static void the_largest_machines_tables_fit(void **state)
{
	struct text text = {.at = malloc(LINE_MAX_LENGTH)};
	struct machine_line machine;

	(void)state;
	assert_non_null(text.at);
	text.length = 0;
	add(&text, "--phys-bits 52 --cpus 255 --maxmem 3000T");
	for (int i = 0; i < 256; i++)
		add(&text, " --mem 16M");
	for (int i = 0; i < 1023; i++)
		add(&text, " --spm size=2M,node=%d,addr=%#" PRIx64, 1 + i, 2 * TIB + (uint64_t)i * 4 * GIB);
	machine = line_new(text.at);
	/* RAM is not split here, so: two entries of the first piece, the tables, all others; and a placeholder for each gap */
	assert_int_equal(machine.board->e820.count, 1 + 256 + 1 + 1023);
	assert_int_equal(machine.board->acpi.memory_count, 1 + 256 + 2 * 1023 + 1 + 1);
	check_srat_is_e820(machine.board);
	check_partition(machine.board);
	check_tables(machine.board);
	line_release(&machine);
	free(text.at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_node_is_a_package),
		cmocka_unit_test(all_cpus_fit_below_the_broadcast_id),
		cmocka_unit_test(ids_that_linux_does_not_take_are_refused),
		cmocka_unit_test(memory_is_as_written),
		cmocka_unit_test(the_debug_exit_port_comes_with_a_script),
		cmocka_unit_test(the_dsdt_has_com1_and_pvpanic),
		cmocka_unit_test(an_owner_is_the_option_behind_a_region),
		cmocka_unit_test(whole_memory_blocks_can_go_online),
		cmocka_unit_test(a_layout_that_cannot_be_is_refused),
		cmocka_unit_test(nothing_is_released_twice),
		cmocka_unit_test(every_board_keeps_the_rules),
		cmocka_unit_test(the_largest_machines_tables_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
