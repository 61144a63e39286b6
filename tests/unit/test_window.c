/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmm/memory/window.h"

static bool out_of_memory;

void *__real_reallocarray(void *block, size_t count, size_t size);
void *__wrap_reallocarray(void *block, size_t count, size_t size);

void *__wrap_reallocarray(void *block, size_t count, size_t size)
{
	return out_of_memory ? NULL : __real_reallocarray(block, count, size);
}

static struct mem_chunk owned(uint64_t start, uint64_t size, size_t owner)
{
	return (struct mem_chunk){.range = {start, size}, .kind = MEM_CHUNK_OWNED, .owner = owner};
}

static void expect_chunk(const struct mem_window *window, uint64_t *at, struct mem_chunk expected)
{
	struct mem_chunk chunk = {0};

	assert_true(window_next(window, at, &chunk));
	assert_int_equal(chunk.range.start, expected.range.start);
	assert_int_equal(chunk.range.size, expected.range.size);
	assert_int_equal(chunk.kind, expected.kind);
	if (chunk.kind == MEM_CHUNK_OWNED)
		assert_int_equal(chunk.owner, expected.owner);
}

static void empty_window_has_no_chunks(void **state)
{
	struct mem_window window;
	struct mem_chunk chunk;
	uint64_t at = 0;

	(void)state;
	window_init(&window, (struct range){0});
	assert_false(window_next(&window, &at, &chunk));
	assert_int_equal(window_insert(&window, owned(0, 1, 0), NULL), -ERANGE);
	window_release(&window);
	window_release(&window);
	window_release(NULL);
}

static void children_and_free_chunks_alternate(void **state)
{
	struct mem_window window;
	struct mem_chunk hole = {.range = {500, 50}, .kind = MEM_CHUNK_FORBIDDEN}, chunk;
	uint64_t at = 0;

	(void)state;
	window_init(&window, (struct range){100, 900});
	assert_int_equal(window_insert(&window, owned(300, 100, 7), NULL), 0);
	assert_int_equal(window_insert(&window, hole, NULL), 0);
	assert_int_equal(window_insert(&window, owned(100, 200, 3), NULL), 0);
	expect_chunk(&window, &at, owned(100, 200, 3));
	expect_chunk(&window, &at, owned(300, 100, 7));
	expect_chunk(&window, &at, (struct mem_chunk){.range = {400, 100}, .kind = MEM_CHUNK_FREE});
	expect_chunk(&window, &at, hole);
	expect_chunk(&window, &at, (struct mem_chunk){.range = {550, 450}, .kind = MEM_CHUNK_FREE});
	assert_int_equal(at, 1000);
	assert_false(window_next(&window, &at, &chunk));
	window_release(&window);
}

static void next_skips_to_the_start_of_a_chunk(void **state)
{
	struct mem_window window;
	struct mem_chunk free_end = {.range = {400, 600}, .kind = MEM_CHUNK_FREE}, chunk;
	uint64_t at;

	(void)state;
	window_init(&window, (struct range){0, 1000});
	assert_int_equal(window_insert(&window, owned(200, 100, 1), NULL), 0);
	assert_int_equal(window_insert(&window, owned(300, 100, 2), NULL), 0);
	at = 1; /* within the first free chunk */
	expect_chunk(&window, &at, owned(200, 100, 1));
	at = 250; /* within a child that another touches */
	expect_chunk(&window, &at, owned(300, 100, 2));
	at = 399; /* within a child before free room */
	expect_chunk(&window, &at, free_end);
	at = 401; /* within the last free chunk */
	assert_false(window_next(&window, &at, &chunk));
	at = 5000;
	assert_false(window_next(&window, &at, &chunk));
	window_release(&window);
}

static void insert_refuses_what_does_not_fit(void **state)
{
	struct mem_window window;
	size_t conflict = 99;

	(void)state;
	window_init(&window, (struct range){100, 900});
	assert_int_equal(window_insert(&window, owned(600, 100, 1), NULL), 0);
	assert_int_equal(window_insert(&window, owned(200, 100, 0), NULL), 0);
	assert_int_equal(window_insert(&window, owned(150, 0, 2), NULL), -ERANGE);
	assert_int_equal(window_insert(&window, owned(99, 10, 2), NULL), -ERANGE);
	assert_int_equal(window_insert(&window, owned(995, 6, 2), NULL), -ERANGE);
	assert_int_equal(window_insert(&window, owned(699, 10, 2), &conflict), -EEXIST);
	assert_int_equal(conflict, 1);
	assert_int_equal(window_insert(&window, owned(101, 800, 2), &conflict), -EEXIST);
	assert_int_equal(conflict, 0);
	assert_int_equal(window_insert(&window, owned(250, 10, 2), NULL), -EEXIST);
	assert_int_equal(window.count, 2);
	window_release(&window);
}

static void insert_survives_running_out_of_memory(void **state)
{
	struct mem_window window;

	(void)state;
	window_init(&window, (struct range){0, 1000});
	out_of_memory = true;
	assert_int_equal(window_insert(&window, owned(0, 10, 0), NULL), -ENOMEM);
	out_of_memory = false;
	assert_int_equal(window.count, 0);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(window_insert(&window, owned(10 * i, 10, i), NULL), 0);
	out_of_memory = true;
	assert_int_equal(window_insert(&window, owned(500, 10, 8), NULL), -ENOMEM);
	out_of_memory = false;
	assert_int_equal(window.count, 8);
	window_release(&window);
}

/* Against a map of single addresses: who owns each, and where the chunks must begin. */
enum { MAP_SIZE = 256 };

static void check_against_map(const struct mem_window *window, const int *map)
{
	uint64_t at = window->span.start, expected = window->span.start;
	struct mem_chunk chunk, before = {.kind = MEM_CHUNK_OWNED};

	while (window_next(window, &at, &chunk)) {
		assert_int_equal(chunk.range.start, expected);
		assert_true(chunk.range.size > 0);
		assert_false(before.kind == MEM_CHUNK_FREE && chunk.kind == MEM_CHUNK_FREE);
		for (uint64_t i = chunk.range.start; i < range_end(chunk.range); i++)
			assert_int_equal(map[i], chunk.kind == MEM_CHUNK_OWNED ? (int)chunk.owner : -1);
		expected = range_end(chunk.range);
		before = chunk;
	}
	assert_int_equal(expected, range_end(window->span));
}

static void partition_covers_the_span_once(void **state)
{
	struct prng prng = prng_new(__func__);

	(void)state;
	for (int round = 0; round < 2000; round++) {
		uint64_t start = prng_below(&prng, MAP_SIZE / 2);
		struct range span = {start, 1 + prng_below(&prng, MAP_SIZE - start)};
		struct mem_window window;
		int map[MAP_SIZE];

		memset(map, 0xff, sizeof(map));
		window_init(&window, span);
		for (int i = 0; i < 24; i++) {
			struct mem_chunk child = owned(prng_below(&prng, MAP_SIZE), prng_below(&prng, 20), (size_t)i);
			int expected = child.range.size > 0 && range_contains(span, child.range) ? 0 : -ERANGE;

			for (uint64_t j = child.range.start; expected == 0 && j < range_end(child.range); j++) {
				if (map[j] >= 0)
					expected = -EEXIST;
			}
			assert_int_equal(window_insert(&window, child, NULL), expected);
			for (uint64_t j = child.range.start; expected == 0 && j < range_end(child.range); j++)
				map[j] = i;
		}
		check_against_map(&window, map);
		window_release(&window);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_window_has_no_chunks),
		cmocka_unit_test(children_and_free_chunks_alternate),
		cmocka_unit_test(next_skips_to_the_start_of_a_chunk),
		cmocka_unit_test(insert_refuses_what_does_not_fit),
		cmocka_unit_test(insert_survives_running_out_of_memory),
		cmocka_unit_test(partition_covers_the_span_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
