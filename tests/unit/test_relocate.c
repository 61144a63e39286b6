/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmm/boot/relocate.h"

#define LINK UINT64_C(0xffffffff81000000)

static void an_old_kernel_has_three_lists(void **state)
{
	static const uint32_t WORDS[] = {0, 1, 2, 3, 0, 4, 0, 5, 6};
	struct relocations relocations;

	(void)state;
	assert_int_equal(relocations_find(&relocations, (const uint8_t *)WORDS, sizeof(WORDS)), 0);
	assert_int_equal(relocations.wide.count, 3);
	assert_ptr_equal(relocations.wide.words, &WORDS[1]);
	assert_int_equal(relocations.inverse.count, 1);
	assert_ptr_equal(relocations.inverse.words, &WORDS[5]);
	assert_int_equal(relocations.narrow.count, 2);
	assert_ptr_equal(relocations.narrow.words, &WORDS[7]);
	assert_false(relocations_none(&relocations));
}

static void a_new_one_has_two(void **state)
{
	static const uint32_t WORDS[] = {0, 1, 0, 5, 6};
	struct relocations relocations;

	(void)state;
	assert_int_equal(relocations_find(&relocations, (const uint8_t *)WORDS, sizeof(WORDS)), 0);
	assert_int_equal(relocations.wide.count, 1);
	assert_int_equal(relocations.inverse.count, 0);
	assert_int_equal(relocations.narrow.count, 2);
	assert_ptr_equal(relocations.narrow.words, &WORDS[3]);
}

static void lists_may_be_empty(void **state)
{
	static const uint32_t WORDS[] = {0, 0, 0};
	struct relocations relocations;

	(void)state;
	assert_int_equal(relocations_find(&relocations, NULL, 0), 0);
	assert_true(relocations_none(&relocations));
	assert_int_equal(relocations_find(&relocations, (const uint8_t *)WORDS, sizeof(WORDS)), 0);
	assert_true(relocations_none(&relocations));
	assert_true(relocations_are_within(&relocations, LINK, 0));
}

static void anything_else_is_damage(void **state)
{
	static const uint32_t NO_START[] = {1, 0, 2, 0, 3}, ONE[] = {0, 1}, FOUR[] = {0, 1, 0, 2, 0, 3, 0};
	struct relocations relocations;

	(void)state;
	assert_int_equal(relocations_find(&relocations, (const uint8_t *)NO_START, sizeof(NO_START)), -EBADMSG);
	assert_int_equal(relocations_find(&relocations, (const uint8_t *)ONE, sizeof(ONE)), -EBADMSG);
	assert_int_equal(relocations_find(&relocations, (const uint8_t *)FOUR, sizeof(FOUR)), -EBADMSG);
	assert_int_equal(relocations_find(&relocations, (const uint8_t *)FOUR, sizeof(FOUR) - 5), -EBADMSG);
}

/* words: the one place of each list. */
static bool within(uint32_t wide, uint32_t inverse, uint32_t narrow, uint64_t size)
{
	const uint32_t words[] = {0, wide, 0, inverse, 0, narrow};
	struct relocations relocations;

	assert_int_equal(relocations_find(&relocations, (const uint8_t *)words, sizeof(words)), 0);
	return relocations_are_within(&relocations, LINK, size);
}

static void a_place_is_wholly_in_the_image(void **state)
{
	(void)state;
	assert_true(within(0x81000ff8, 0x81000ffc, 0x81000ffc, 0x1000));
	assert_true(within(0x81000000, 0x81000000, 0x81000000, 8));
	assert_false(within(0x81000000, 0x81000000, 0x81000000, 7));
	assert_false(within(0x81000ff9, 0x81000ffc, 0x81000ffc, 0x1000));
	assert_false(within(0x81000ff8, 0x81000ffd, 0x81000ffc, 0x1000));
	assert_false(within(0x81000ff8, 0x81000ffc, 0x81000ffd, 0x1000));
	assert_false(within(0x80ffffff, 0x81000000, 0x81000000, 0x1000));
	assert_false(within(0x00000001, 0x81000000, 0x81000000, 0x1000));
	assert_false(within(0xffffffff, 0x81000000, 0x81000000, 0x1000));
}

static void addresses_move_and_nothing_else(void **state)
{
	static const uint32_t WORDS[] = {0, 0x81000001, 0, 0x81000010, 0, 0x81000020};
	uint8_t image[40] = {0}, expected[40] = {0};
	const uint64_t wide = LINK + 0x123, wide_moved = LINK + 0x123 + 0x2600000;
	const uint32_t inverse = 0x3000000, inverse_moved = 0xa00000, narrow = 0x81000456, narrow_moved = 0x83600456;
	struct relocations relocations;

	(void)state;
	memcpy(image + 1, &wide, 8);
	memcpy(image + 0x10, &inverse, 4);
	memcpy(image + 0x20, &narrow, 4);
	memcpy(expected + 1, &wide_moved, 8);
	memcpy(expected + 0x10, &inverse_moved, 4);
	memcpy(expected + 0x20, &narrow_moved, 4);
	assert_int_equal(relocations_find(&relocations, (const uint8_t *)WORDS, sizeof(WORDS)), 0);
	relocations_apply(&relocations, image, LINK, 0x2600000);
	assert_memory_equal(image, expected, sizeof(image));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_old_kernel_has_three_lists),
		cmocka_unit_test(a_new_one_has_two),
		cmocka_unit_test(lists_may_be_empty),
		cmocka_unit_test(anything_else_is_damage),
		cmocka_unit_test(a_place_is_wholly_in_the_image),
		cmocka_unit_test(addresses_move_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
