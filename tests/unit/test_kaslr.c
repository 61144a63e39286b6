/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmm/boot/kaslr.h"
#include "vmm/boot/vmlinux.h"

static void check_wish(const char *cmdline, bool randomise, bool physical)
{
	struct kaslr_wish wish = kaslr_wish_of(cmdline);

	if (wish.randomise != randomise || wish.physical != physical)
		fail_msg("\"%s\": %d %d", cmdline, wish.randomise, wish.physical);
}

static void the_command_line_is_asked(void **state)
{
	(void)state;
	check_wish("", true, true);
	check_wish("console=ttyS0 quiet", true, true);
	check_wish("nokaslr", false, false);
	check_wish("quiet\tnokaslr mem=1G", false, false);
	check_wish("quiet nokaslr ", false, false);
	check_wish("nokaslrs xnokaslr nokasl nokaslr=1 kaslr", true, true);
	check_wish("mem=1G", true, false);
	check_wish("quiet memmap=1G$4G", true, false);
	check_wish(" hugepagesz=1G hugepages=4", true, false);
	check_wish("default_hugepagesz=1G", true, false);
	check_wish("hugepages=4", true, false);
	check_wish("xmem=1G memory=1 memtest=4 mem rmem=3", true, true);
}

static void add(struct e820_table *e820, uint64_t start, uint64_t end, enum e820_type type)
{
	assert_int_equal(e820_add(e820, range_between(start, end), type), 0);
}

/* Every place by its number: those that there are, in order, and no others. */
static void every_place_can_be_drawn(void **state)
{
	static const uint64_t PLACES[] = {16, 18, 30, 32, 34};
	struct e820_table e820 = {0};
	uint64_t start;

	(void)state;
	add(&e820, 0, 0xa0000, E820_RAM);
	add(&e820, MIB, 23 * MIB, E820_RAM);
	add(&e820, 23 * MIB, 24 * MIB, E820_ACPI);
	add(&e820, 24 * MIB, 28 * MIB + 4096, E820_RAM);
	add(&e820, 28 * MIB + 4096, 29 * MIB, E820_RESERVED);
	add(&e820, 29 * MIB, 40 * MIB, E820_RAM);
	add(&e820, 64 * MIB, 80 * MIB, E820_SOFT_RESERVED);
	add(&e820, 4 * GIB, 5 * GIB, E820_RAM);
	for (uint64_t i = 0; i < 20; i++) {
		assert_int_equal(kaslr_physical(&e820, range_between(16 * MIB, GIB), 5 * MIB, 2 * MIB,
						UINT64_MAX / 10 * 10 + i, &start),
				 0);
		assert_true(start == PLACES[(UINT64_MAX / 10 * 10 + i) % 5] * MIB);
	}
	/* the span cuts the last place off */
	assert_int_equal(kaslr_physical(&e820, range_between(34 * MIB, 39 * MIB), 5 * MIB, 2 * MIB, 7, &start), 0);
	assert_true(start == 34 * MIB);
	assert_int_equal(kaslr_physical(&e820, range_between(34 * MIB, 39 * MIB - 1), 5 * MIB, 2 * MIB, 7, &start),
			 -ENOENT);
	assert_int_equal(kaslr_physical(&e820, range_between(16 * MIB, 3 * GIB), GIB, 2 * MIB, 7, &start), -ENOENT);
}

/* Maps of all kinds: a place is aligned, in one piece of RAM and in the span; and where there is one, one is found. */
static void places_are_good(void **state)
{
	struct prng prng = prng_new("places_are_good");

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct e820_table e820 = {0};
		struct range span = {16 * MIB, prng_below(&prng, 4 * GIB)};
		uint64_t size = 1 + prng_below(&prng, 200 * MIB), alignment = 2 * MIB << prng_below(&prng, 4);
		uint64_t start, at = 0;
		bool possible = false;

		for (int i = 0; i < 20; i++) {
			uint64_t end = at + 4096 * (1 + prng_below(&prng, 80000));
			enum e820_type type = prng_below(&prng, 3) == 0 ? E820_SOFT_RESERVED : E820_RAM;

			add(&e820, at, end, type);
			at = end + 4096 * prng_below(&prng, 2);
		}
		for (start = 0; start < 5 * GIB && !possible; start += alignment)
			possible = range_contains(span, (struct range){start, size}) &&
				   e820_is_ram(&e820, (struct range){start, size});
		if (kaslr_physical(&e820, span, size, alignment, prng_next(&prng), &start) < 0) {
			assert_false(possible);
			continue;
		}
		assert_true(is_aligned(start, alignment));
		assert_true(range_contains(span, (struct range){start, size}));
		assert_true(e820_is_ram(&e820, (struct range){start, size}));
	}
}

static void a_map_up_to_the_last_byte_does_not_wrap(void **state)
{
	struct e820_table e820 = {0};
	uint64_t start;

	(void)state;
	add(&e820, UINT64_MAX - MIB, UINT64_MAX, E820_RAM);
	assert_int_equal(kaslr_physical(&e820, (struct range){0, UINT64_MAX}, 4096, 2 * MIB, 0, &start), -ENOENT);
}

static void virtual_addresses_fill_the_kernels_map(void **state)
{
	const uint64_t link = VMLINUX_MAP + 16 * MIB;
	uint64_t top = 0;
	bool zero = false;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t delta = kaslr_virtual_delta(link, 51 * MIB, 2 * MIB, i);

		assert_true(is_aligned(delta, 2 * MIB));
		assert_true(16 * MIB + delta + 51 * MIB <= GIB);
		zero = zero || delta == 0;
		top = delta > top ? delta : top;
	}
	assert_true(zero);
	assert_true(top == 956 * MIB); /* 1024 - 16 - 51, in whole steps */
	assert_true(kaslr_virtual_delta(link, GIB - 16 * MIB, 2 * MIB, 12345) == 0);
	assert_true(kaslr_virtual_delta(link, GIB, 2 * MIB, 12345) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_command_line_is_asked),
		cmocka_unit_test(every_place_can_be_drawn),
		cmocka_unit_test(places_are_good),
		cmocka_unit_test(a_map_up_to_the_last_byte_does_not_wrap),
		cmocka_unit_test(virtual_addresses_fill_the_kernels_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
