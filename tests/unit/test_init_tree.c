/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/machine_line.h"

#include "guest/init/tree.h"
#include "vmm/device_tree.h"

/* What the guest's init makes of the trees that spmvm builds, and of what is none. */
static struct buf tree_of(struct machine_line *machine, const char *line)
{
	struct error err = {0};
	struct buf tree = {0};

	*machine = line_new(line);
	if (device_tree_build(machine->board, &tree, &err) != 0)
		fail_msg("%s", err.text);
	return tree;
}

static char *line_of(int count)
{
	struct buf line = {0};
	size_t size;

	for (int i = 0; i < count; i++)
		buf_printf(&line, "--spm size=2M,node=%d,id=a%062d ", i + 1, i);
	buf_u8(&line, 0);
	assert_false(buf_failed(&line));
	return (char *)buf_steal(&line, &size);
}

static void check_slots(const char *line)
{
	struct machine_line machine;
	struct buf tree = tree_of(&machine, line);
	size_t count = tree_slots(tree.data, tree.size, NULL, 0), seen = 0;
	struct tree_slot *slots = calloc(count + 1, sizeof(*slots));

	assert_non_null(slots);
	assert_int_equal(count, machine.config->spm_count);
	assert_int_equal(tree_slots(tree.data, tree.size, slots, count), count);
	for (size_t i = 0; i < machine.board->layout.region_count; i++) {
		const struct mem_region *region = &machine.board->layout.regions[i];

		if (region->kind != MEM_SPM)
			continue;
		assert_true(seen < count);
		assert_true(slots[seen].start == region->gpa.start);
		assert_string_equal(slots[seen].id, machine.config->spm[region->owner].id);
		seen++;
	}
	assert_int_equal(seen, count);
	free(slots);
	buf_release(&tree);
	line_release(&machine);
}

static void every_slot_has_its_name(void **state)
{
	char *many = line_of(300);

	(void)state;
	check_slots("");
	check_slots("--spm size=1G,node=1");
	check_slots("--spm size=2G,node=2,id=b,addr=0x400000000 --spm size=8G,node=1,id=a.b_c-d");
	check_slots(many);
	free(many);
}

static void room_is_kept_to(void **state)
{
	struct machine_line machine;
	struct buf tree = tree_of(&machine, "--spm size=2M,node=1 --spm size=2M,node=2 --spm size=2M,node=3");
	struct tree_slot slots[3] = {[2] = {.id = "untouched"}};

	(void)state;
	assert_int_equal(tree_slots(tree.data, tree.size, slots, 2), 3);
	assert_string_equal(slots[1].id, "spm1");
	assert_string_equal(slots[2].id, "untouched");
	buf_release(&tree);
	line_release(&machine);
}

/* In memory that ends where the tree does, so that a sanitizer sees what is read behind it. */
static size_t count_in(const uint8_t *tree, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);
	struct tree_slot slots[4];
	size_t count;

	assert_non_null(copy);
	memcpy(copy, tree, size);
	count = tree_slots(copy, size, slots, 4);
	for (size_t i = 0; i < count && i < 4; i++)
		assert_true(memchr(slots[i].id, '\0', sizeof(slots[i].id)) != NULL && slots[i].id[0] != '.');
	free(copy);
	return count;
}

static void what_is_no_tree_has_no_slots(void **state)
{
	struct prng prng = prng_new("what_is_no_tree_has_no_slots");
	struct machine_line machine;
	struct buf tree = tree_of(&machine, "--spm size=2M,node=1,id=one --spm size=2M,node=2,id=two");

	(void)state;
	assert_int_equal(count_in(tree.data, tree.size), 2);
	/* the names of properties come last, so that no part of it is a tree */
	for (size_t size = 0; size < tree.size; size++)
		assert_int_equal(count_in(tree.data, size), 0);
	for (int round = 0; round < 20000; round++) {
		uint8_t *copy = malloc(tree.size);

		assert_non_null(copy);
		memcpy(copy, tree.data, tree.size);
		for (uint64_t flips = 1 + prng_below(&prng, 3); flips > 0; flips--)
			copy[prng_below(&prng, tree.size)] = (uint8_t)prng_next(&prng);
		assert_true(count_in(copy, tree.size) <= 2);
		free(copy);
	}
	buf_release(&tree);
	line_release(&machine);
}

/* A link of this name would be another file's. */
static void names_that_are_no_files_are_left_out(void **state)
{
	static const char *const BAD[] = {"", ".", "..", ".ab", "a/b", "/"};
	struct machine_line machine;
	struct buf tree = tree_of(&machine, "--spm size=2M,node=1,id=one --spm size=2M,node=2,id=abc");
	uint8_t *id = memmem(tree.data, tree.size, "abc", 4);

	(void)state;
	assert_non_null(id);
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
		memset(id, 0, 4);
		memcpy(id, BAD[i], strlen(BAD[i]));
		assert_int_equal(count_in(tree.data, tree.size), 1);
	}
	memset(id, 'a', 4); /* without its end */
	assert_int_equal(count_in(tree.data, tree.size), 1);
	buf_release(&tree);
	line_release(&machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_slot_has_its_name),
		cmocka_unit_test(room_is_kept_to),
		cmocka_unit_test(what_is_no_tree_has_no_slots),
		cmocka_unit_test(names_that_are_no_files_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
