/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/node_set.h"
#include "vmm/base/range.h"

static void validity_ends_where_the_range_would_wrap(void **state)
{
	(void)state;
	assert_true(range_is_valid((struct range){0, 0}));
	assert_true(range_is_valid((struct range){0, UINT64_MAX}));
	assert_true(range_is_valid((struct range){UINT64_MAX, 0}));
	assert_true(range_is_valid((struct range){UINT64_MAX - 5, 5}));
	assert_false(range_is_valid((struct range){UINT64_MAX - 5, 6}));
	assert_false(range_is_valid((struct range){1, UINT64_MAX}));
}

static void ends_and_between_are_inverse(void **state)
{
	struct range r = range_between(GIB, 3 * GIB);

	(void)state;
	assert_int_equal(r.start, GIB);
	assert_int_equal(r.size, 2 * GIB);
	assert_int_equal(range_end(r), 3 * GIB);
}

static void holds_its_first_and_last_byte_only(void **state)
{
	struct range r = {100, 10};

	(void)state;
	assert_false(range_holds(r, 99));
	assert_true(range_holds(r, 100));
	assert_true(range_holds(r, 109));
	assert_false(range_holds(r, 110));
	assert_false(range_holds((struct range){100, 0}, 100));
	assert_true(range_holds((struct range){0, UINT64_MAX}, UINT64_MAX - 1));
	assert_false(range_holds((struct range){0, UINT64_MAX}, UINT64_MAX));
}

static void contains_at_the_edges(void **state)
{
	struct range outer = {100, 10};

	(void)state;
	assert_true(range_contains(outer, outer));
	assert_true(range_contains(outer, (struct range){109, 1}));
	assert_false(range_contains(outer, (struct range){109, 2}));
	assert_false(range_contains(outer, (struct range){99, 2}));
	assert_true(range_contains(outer, (struct range){110, 0}));
	assert_false(range_contains(outer, (struct range){111, 0}));
	/* sizes whose sum would wrap */
	assert_false(range_contains(outer, (struct range){105, UINT64_MAX}));
}

static void overlap_needs_a_shared_byte(void **state)
{
	struct range r = {100, 10};

	(void)state;
	assert_true(range_overlaps(r, r));
	assert_true(range_overlaps(r, (struct range){109, 1}));
	assert_true(range_overlaps((struct range){0, 101}, r));
	assert_false(range_overlaps(r, (struct range){110, 1}));
	assert_false(range_overlaps((struct range){0, 100}, r));
	assert_false(range_overlaps(r, (struct range){105, 0}));
	assert_false(range_overlaps((struct range){105, 0}, r));
}

/* Overlap and containment against counting bytes, on small ranges where that is possible. */
static void agrees_with_counting(void **state)
{
	struct prng prng = prng_new("agrees_with_counting");

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct range a = {prng_below(&prng, 12), prng_below(&prng, 6)};
		struct range b = {prng_below(&prng, 12), prng_below(&prng, 6)};
		unsigned shared = 0;

		for (uint64_t byte = 0; byte < 24; byte++)
			shared += range_holds(a, byte) && range_holds(b, byte);
		assert_int_equal(range_overlaps(a, b), shared > 0);
		if (b.size > 0)
			assert_int_equal(range_contains(a, b), shared == b.size);
	}
}

static void aligns_to_powers_of_two(void **state)
{
	(void)state;
	assert_int_equal(align_down(4097, 4096), 4096);
	assert_int_equal(align_up(4097, 4096), 8192);
	assert_int_equal(align_up(4096, 4096), 4096);
	assert_int_equal(align_up(0, 2 * GIB), 0);
	assert_int_equal(align_up(UINT64_MAX - 4095, 4096), UINT64_MAX - 4095);
	assert_true(is_aligned(0, TIB));
	assert_true(is_aligned(6 * MIB, 2 * MIB));
	assert_false(is_aligned(6 * MIB + 1, 2 * MIB));
}

static void node_sets_hold_what_was_added(void **state)
{
	struct node_set set = {{0}};

	(void)state;
	assert_true(node_set_is_empty(&set));
	node_set_add(&set, 0);
	node_set_add(&set, NODES_MAX - 1);
	assert_false(node_set_is_empty(&set));
	assert_true(node_set_has(&set, 0));
	assert_false(node_set_has(&set, 1));
	assert_false(node_set_has(&set, 64));
	assert_true(node_set_has(&set, NODES_MAX - 1));
	assert_false(node_set_has(&set, NODES_MAX));
	/* the layout of mbind(2)'s mask */
	assert_true(set.words[0] == 1 && set.words[15] == UINT64_C(1) << 63);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(validity_ends_where_the_range_would_wrap),
		cmocka_unit_test(ends_and_between_are_inverse),
		cmocka_unit_test(holds_its_first_and_last_byte_only),
		cmocka_unit_test(contains_at_the_edges),
		cmocka_unit_test(overlap_needs_a_shared_byte),
		cmocka_unit_test(agrees_with_counting),
		cmocka_unit_test(aligns_to_powers_of_two),
		cmocka_unit_test(node_sets_hold_what_was_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
