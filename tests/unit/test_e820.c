/* SPDX-License-Identifier: Apache-2.0 */
#include "e820/e820.h"
#include "tests/unit/unit.h"

#include <errno.h>

static void assert_entry(const struct e820_table *table, size_t index, uint64_t start, uint64_t size,
			 enum e820_type type)
{
	assert_true(index < table->count);
	assert_int_equal(table->entries[index].range.start, start);
	assert_int_equal(table->entries[index].range.size, size);
	assert_int_equal(table->entries[index].type, type);
}

static void keeps_entries_sorted_and_apart(void **state)
{
	static struct e820_table table;

	(void)state;
	table = (struct e820_table){0};
	assert_int_equal(e820_add(&table, (struct range){8 * GIB, GIB}, E820_SOFT_RESERVED), 0);
	assert_int_equal(e820_add(&table, (struct range){0, 640 * KIB}, E820_RAM), 0);
	assert_int_equal(e820_add(&table, (struct range){9 * GIB, GIB}, E820_SOFT_RESERVED), 0);
	assert_int_equal(e820_add(&table, (struct range){MIB, GIB}, E820_RAM), 0);
	assert_int_equal(table.count, 4);
	assert_entry(&table, 0, 0, 640 * KIB, E820_RAM);
	assert_entry(&table, 1, MIB, GIB, E820_RAM);
	/* two touching blocks stay two entries: one block, one claim */
	assert_entry(&table, 2, 8 * GIB, GIB, E820_SOFT_RESERVED);
	assert_entry(&table, 3, 9 * GIB, GIB, E820_SOFT_RESERVED);
}

static void refuses_what_overlaps_or_is_empty(void **state)
{
	static struct e820_table table;
	const struct range overlapping[] = {{4096, 4096}, {0, 8192}, {8191, 1},
					    {8191, 4096}, {4095, 2}, {0, UINT64_MAX}};

	(void)state;
	table = (struct e820_table){0};
	assert_int_equal(e820_add(&table, (struct range){4096, 4096}, E820_RAM), 0);
	for (size_t i = 0; i < sizeof(overlapping) / sizeof(overlapping[0]); i++)
		assert_int_equal(e820_add(&table, overlapping[i], E820_RESERVED), -EEXIST);
	assert_int_equal(e820_add(&table, (struct range){0, 0}, E820_RAM), -EINVAL);
	assert_int_equal(e820_add(&table, (struct range){UINT64_MAX, 2}, E820_RAM), -EINVAL);
	assert_int_equal(table.count, 1);
	assert_int_equal(e820_add(&table, (struct range){0, 4096}, E820_RESERVED), 0);
	assert_int_equal(e820_add(&table, (struct range){8192, 1}, E820_RESERVED), 0);
}

static void carves_from_the_middle_and_the_ends(void **state)
{
	static struct e820_table table;

	(void)state;
	table = (struct e820_table){0};
	assert_int_equal(e820_add(&table, (struct range){0x1000, 0x9000}, E820_RAM), 0);
	assert_int_equal(e820_carve(&table, (struct range){0x3000, 0x1000}, E820_ACPI), 0);
	assert_int_equal(table.count, 3);
	assert_entry(&table, 0, 0x1000, 0x2000, E820_RAM);
	assert_entry(&table, 1, 0x3000, 0x1000, E820_ACPI);
	assert_entry(&table, 2, 0x4000, 0x6000, E820_RAM);
	assert_int_equal(e820_carve(&table, (struct range){0x1000, 0x1000}, E820_RESERVED), 0);
	assert_int_equal(e820_carve(&table, (struct range){0x9000, 0x1000}, E820_RESERVED), 0);
	assert_entry(&table, 0, 0x1000, 0x1000, E820_RESERVED);
	assert_entry(&table, 1, 0x2000, 0x1000, E820_RAM);
	assert_entry(&table, 3, 0x4000, 0x5000, E820_RAM);
	assert_entry(&table, 4, 0x9000, 0x1000, E820_RESERVED);
	assert_int_equal(e820_carve(&table, (struct range){0x4000, 0x5000}, E820_ACPI), 0);
	assert_int_equal(table.count, 5);
	assert_entry(&table, 3, 0x4000, 0x5000, E820_ACPI);
	/* across an entry's end, outside of every entry, empty */
	assert_int_equal(e820_carve(&table, (struct range){0x2000, 0x1001}, E820_ACPI), -ENOENT);
	assert_int_equal(e820_carve(&table, (struct range){0xa000, 0x1000}, E820_ACPI), -ENOENT);
	assert_int_equal(e820_carve(&table, (struct range){0x2000, 0}, E820_ACPI), -EINVAL);
}

static void says_when_it_is_full(void **state)
{
	static struct e820_table table;

	(void)state;
	table = (struct e820_table){0};
	for (uint64_t i = 0; i < E820_ENTRIES_MAX; i++)
		assert_int_equal(e820_add(&table, (struct range){i * 16, 8}, E820_RAM), 0);
	assert_int_equal(e820_add(&table, (struct range){8, 8}, E820_RAM), -ENOSPC);
	assert_int_equal(e820_carve(&table, (struct range){1, 1}, E820_ACPI), -ENOSPC);
	assert_int_equal(e820_carve(&table, (struct range){0, 8}, E820_ACPI), 0);
	assert_int_equal(table.count, E820_ENTRIES_MAX);
}

/* RAM below 640 KiB, up to ACPI data at 64 MiB, and from 4 to 5 GiB. */
static void table_of_a_machine(struct e820_table *table)
{
	*table = (struct e820_table){0};
	assert_int_equal(e820_add(table, (struct range){0, 0xa0000}, E820_RAM), 0);
	assert_int_equal(e820_add(table, (struct range){MIB, 63 * MIB}, E820_RAM), 0);
	assert_int_equal(e820_add(table, (struct range){64 * MIB, MIB}, E820_ACPI), 0);
	assert_int_equal(e820_add(table, (struct range){4 * GIB, GIB}, E820_RAM), 0);
}

static void finds_the_highest_ram_below_a_limit(void **state)
{
	static struct e820_table table;
	uint64_t start = 1;

	(void)state;
	table_of_a_machine(&table);
	assert_int_equal(e820_find_ram_below(&table, 3 * GIB, MIB + 1, 4096, &start), 0);
	assert_int_equal(start, 63 * MIB - 4096);
	assert_int_equal(e820_find_ram_below(&table, UINT64_MAX, MIB, 4096, &start), 0);
	assert_int_equal(start, 5 * GIB - MIB);
	assert_int_equal(e820_find_ram_below(&table, 32 * MIB, MIB, MIB, &start), 0);
	assert_int_equal(start, 31 * MIB);
	assert_int_equal(e820_find_ram_below(&table, 3 * GIB, 63 * MIB, 4096, &start), 0);
	assert_int_equal(start, MIB);
	assert_int_equal(e820_find_ram_below(&table, 3 * GIB, 64 * MIB, 4096, &start), -ENOENT);
	assert_true(e820_is_ram(&table, (struct range){MIB, 63 * MIB}));
	assert_false(e820_is_ram(&table, (struct range){MIB, 64 * MIB}));
	assert_false(e820_is_ram(&table, (struct range){0xa0000, 1}));
	assert_false(e820_is_ram(&table, (struct range){64 * MIB, 1}));
}

static void finds_the_lowest_ram_within_a_span(void **state)
{
	static struct e820_table table;
	uint64_t start = 1;

	(void)state;
	table_of_a_machine(&table);
	assert_int_equal(e820_find_ram_within(&table, range_between(MIB + 1, 3 * GIB), MIB, 2 * MIB, &start), 0);
	assert_int_equal(start, 2 * MIB);
	assert_int_equal(e820_find_ram_within(&table, range_between(1, 5 * GIB), MIB, 4096, &start), 0);
	assert_int_equal(start, MIB);
	/* to the last byte of the entry, and of the span */
	assert_int_equal(e820_find_ram_within(&table, range_between(MIB, 64 * MIB), 63 * MIB, 4096, &start), 0);
	assert_int_equal(start, MIB);
	assert_int_equal(e820_find_ram_within(&table, range_between(MIB, 64 * MIB - 1), 63 * MIB, 4096, &start),
			 -ENOENT);
	assert_int_equal(e820_find_ram_within(&table, range_between(MIB, 4 * GIB), 64 * MIB, 4096, &start), -ENOENT);
	assert_int_equal(e820_find_ram_within(&table, range_between(MIB, 5 * GIB), 64 * MIB, 4096, &start), 0);
	assert_int_equal(start, 4 * GIB);
	/* ACPI data is RAM, but not for the taking */
	assert_int_equal(e820_find_ram_within(&table, range_between(64 * MIB, 65 * MIB), 4096, 4096, &start), -ENOENT);
	assert_int_equal(e820_find_ram_within(&table, range_between(MIB, UINT64_MAX), 1, UINT64_C(1) << 63, &start),
			 -ENOENT);
}

static void writes_boot_entries_of_20_bytes(void **state)
{
	static struct e820_table table;
	struct buf out = {0};
	const uint8_t expected[20] = {0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xef};

	(void)state;
	table = (struct e820_table){0};
	assert_int_equal(e820_add(&table, (struct range){0, 4096}, E820_RAM), 0);
	assert_int_equal(e820_add(&table, (struct range){8 * GIB, GIB}, E820_SOFT_RESERVED), 0);
	e820_seal(&table);
	e820_append_boot(&table, 1, 1, &out);
	assert_int_equal(out.size, E820_BOOT_ENTRY_SIZE);
	assert_memory_equal(out.data, expected, sizeof(expected));
	buf_release(&out);
	assert_string_equal(e820_type_name(E820_SOFT_RESERVED), "soft reserved");
	assert_string_equal(e820_type_name(E820_RAM), "RAM");
	assert_string_equal(e820_type_name(E820_RESERVED), "reserved");
	assert_string_equal(e820_type_name(E820_ACPI), "ACPI data");
	assert_string_equal(e820_type_name((enum e820_type)77), "unknown");
}

/* Whatever is added and carved, the map stays sorted, disjoint and without empty entries, and every byte keeps the type it was given last. */
static void stays_sorted_under_random_use(void **state)
{
	static struct e820_table table;
	struct prng prng = prng_new("e820");

	(void)state;
	for (int round = 0; round < 300; round++) {
		unsigned char model[512] = {0};

		table = (struct e820_table){0};
		for (int step = 0; step < 60; step++) {
			static const enum e820_type TYPES[] = {E820_RAM, E820_RESERVED, E820_ACPI, E820_SOFT_RESERVED};
			struct range range = {prng_below(&prng, 500), prng_below(&prng, 12)};
			unsigned kind = (unsigned)prng_below(&prng, 4);
			int code;

			if (prng_below(&prng, 3) == 0)
				code = e820_carve(&table, range, TYPES[kind]);
			else
				code = e820_add(&table, range, TYPES[kind]);
			if (code == 0)
				memset(model + range.start, (int)kind + 1, range.size);
			for (size_t i = 0; i < table.count; i++) {
				assert_true(table.entries[i].range.size > 0);
				if (i > 0)
					assert_true(range_end(table.entries[i - 1].range) <=
						    table.entries[i].range.start);
			}
			for (uint64_t at = 0; at < sizeof(model); at++) {
				enum e820_type type = 0;

				for (size_t i = 0; i < table.count; i++) {
					if (range_holds(table.entries[i].range, at))
						type = table.entries[i].type;
				}
				assert_int_equal(type, model[at] == 0 ? 0 : TYPES[model[at] - 1]);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_entries_sorted_and_apart),
		cmocka_unit_test(refuses_what_overlaps_or_is_empty),
		cmocka_unit_test(carves_from_the_middle_and_the_ends),
		cmocka_unit_test(says_when_it_is_full),
		cmocka_unit_test(finds_the_highest_ram_below_a_limit),
		cmocka_unit_test(finds_the_lowest_ram_within_a_span),
		cmocka_unit_test(writes_boot_entries_of_20_bytes),
		cmocka_unit_test(stays_sorted_under_random_use),
	};

	return cmocka_run_group_tests_name("e820", tests, NULL, NULL);
}
