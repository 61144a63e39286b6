/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>

#include "tests/unit/elf_writer.h"
#include "tests/unit/scratch_folder.h"
#include "vmm/boot/library.h"

static void write_library(const struct scratch *root, const char *name)
{
	const struct elf_spec spec = {0};
	uint8_t file[ELF_FILE_SIZE];

	elf_write(file, &spec);
	scratch_file(root, name, file, sizeof(file));
}

static int setup(void **state)
{
	static struct scratch root;

	scratch_new(&root);
	*state = &root;
	return 0;
}

static int teardown(void **state)
{
	scratch_remove(*state);
	return 0;
}

/* wanted: where it is in the guest; on the host it is there below root, or at wanted_host. */
static void expect(const struct scratch *root, const struct library_search *search, const char *name,
		   const char *wanted_host, const char *wanted_guest)
{
	struct library_folders folders;
	struct library_place place;

	assert_int_equal(library_folders_load(&folders, root->path), 0);
	assert_int_equal(library_find(&place, &folders, name, search), 0);
	assert_string_equal(place.host, scratch_path(root, wanted_host));
	assert_string_equal(place.guest, wanted_guest);
	library_place_release(&place);
	library_folders_release(&folders);
}

static void expect_none(const struct scratch *root, const struct library_search *search, const char *name)
{
	struct library_folders folders;
	struct library_place place;

	assert_int_equal(library_folders_load(&folders, root->path), 0);
	assert_int_equal(library_find(&place, &folders, name, search), -ENOENT);
	library_folders_release(&folders);
}

static void system_folders_in_order(void **state)
{
	const struct library_search search = {0};
	const struct scratch *root = *state;

	expect_none(root, &search, "liba.so");
	write_library(root, "usr/lib/liba.so");
	expect(root, &search, "liba.so", "usr/lib/liba.so", "/usr/lib/liba.so");
	write_library(root, "lib64/liba.so");
	expect(root, &search, "liba.so", "lib64/liba.so", "/lib64/liba.so");
	write_library(root, "lib/x86_64-linux-gnu/liba.so");
	expect(root, &search, "liba.so", "lib/x86_64-linux-gnu/liba.so", "/lib/x86_64-linux-gnu/liba.so");
}

static void own_path_comes_first_then_the_inherited(void **state)
{
	const struct scratch *root = *state;
	const struct library_search both = {.own = {"/none:/own", "", ""}, .inherited = {"/program", "", ""}};
	const struct library_search one = {.inherited = {"/program", "", ""}};

	write_library(root, "lib/libb.so");
	write_library(root, "own/libb.so");
	write_library(root, "program/libb.so");
	expect(root, &both, "libb.so", "own/libb.so", "/own/libb.so");
	expect(root, &one, "libb.so", "program/libb.so", "/program/libb.so");
}

static void origin_is_the_objects_folder_here_and_there(void **state)
{
	const struct scratch *root = *state;
	char host_origin[128];
	const char *const lists[] = {"relative:$ORIGIN/../lib", "${ORIGIN}/../lib/."};

	write_library(root, "home/me/lib/libc1.so");
	snprintf(host_origin, sizeof(host_origin), "%s/home/me/bin", root->path);
	mkdir(scratch_path(root, "home/me/bin"), 0755);
	for (size_t i = 0; i < 2; i++) {
		const struct library_search search = {.own = {lists[i], host_origin, "/bin"}};

		expect(root, &search, "libc1.so", "home/me/lib/libc1.so", "/lib/libc1.so");
	}
	expect_none(root, &(struct library_search){.own = {"$ORIGINAL/../lib", host_origin, "/bin"}}, "libc1.so");
}

static void configured_folders_go_beside_the_c_library(void **state)
{
	const struct library_search search = {0};
	const struct scratch *root = *state;

	scratch_text(root, "etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n  /opt/first # why\n");
	scratch_text(root, "etc/ld.so.conf.d/b.conf", "/opt/third\n");
	scratch_text(root, "etc/ld.so.conf.d/a.conf", "# a comment\n\n/opt/second\nrelative\n");
	scratch_text(root, "etc/ld.so.conf.d/c.txt", "/opt/never\n");
	write_library(root, "opt/third/libd.so");
	write_library(root, "opt/never/libn.so");
	expect(root, &search, "libd.so", "opt/third/libd.so", "/lib/x86_64-linux-gnu/libd.so");
	write_library(root, "opt/second/libd.so");
	expect(root, &search, "libd.so", "opt/second/libd.so", "/lib/x86_64-linux-gnu/libd.so");
	write_library(root, "opt/first/libd.so");
	write_library(root, "usr/lib64/libc.so.6");
	expect(root, &search, "libd.so", "opt/first/libd.so", "/usr/lib64/libd.so");
	expect_none(root, &search, "libn.so");
}

static void other_files_of_that_name_are_passed_over(void **state)
{
	const struct library_search search = {0};
	const struct scratch *root = *state;
	uint8_t file[ELF_FILE_SIZE];

	elf_write(file, &(const struct elf_spec){0});
	file[EI_CLASS] = ELFCLASS32;
	scratch_file(root, "lib/x86_64-linux-gnu/libe.so", file, sizeof(file));
	scratch_text(root, "usr/lib/x86_64-linux-gnu/libe.so", "INPUT(-lreal) /* what a linker reads */");
	mkdir(scratch_path(root, "lib64/libe.so"), 0755);
	scratch_text(root, "usr/lib64/libe.so", "");
	expect_none(root, &search, "libe.so");
	write_library(root, "usr/lib/libe.so");
	expect(root, &search, "libe.so", "usr/lib/libe.so", "/usr/lib/libe.so");
}

static void names_with_a_slash(void **state)
{
	const struct library_search search = {0};
	const struct scratch *root = *state;

	write_library(root, "opt/x/libf.so");
	expect(root, &search, "/opt/x/./libf.so", "opt/x/libf.so", "/opt/x/libf.so");
	expect_none(root, &search, "opt/x/libf.so");
	expect_none(root, &search, "");
}

static void links_are_followed(void **state)
{
	const struct library_search search = {0};
	const struct scratch *root = *state;

	write_library(root, "lib64/libg.so.1.2.3");
	assert_int_equal(symlink("libg.so.1.2.3", scratch_path(root, "lib64/libg.so.1")), 0);
	expect(root, &search, "libg.so.1", "lib64/libg.so.1", "/lib64/libg.so.1");
}

static void paths_become_normal(void **state)
{
	static const char *const pairs[][2] = {
		{"/", "/"},           {"", "/"},
		{"/a/b", "/a/b"},     {"a/b", "/a/b"},
		{"./a", "/a"},        {"/a//b///", "/a/b"},
		{"/a/./b/.", "/a/b"}, {"/a/../b", "/b"},
		{"/../../a", "/a"},   {"/a/b/../..", "/"},
		{"../x", "/x"},       {"/..a/b..", "/..a/b.."},
		{"/a/...", "/a/..."}, {"/.hidden", "/.hidden"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char *normal = path_normal(pairs[i][0]);

		assert_string_equal(normal, pairs[i][1]);
		free(normal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(system_folders_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(own_path_comes_first_then_the_inherited, setup, teardown),
		cmocka_unit_test_setup_teardown(origin_is_the_objects_folder_here_and_there, setup, teardown),
		cmocka_unit_test_setup_teardown(configured_folders_go_beside_the_c_library, setup, teardown),
		cmocka_unit_test_setup_teardown(other_files_of_that_name_are_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(names_with_a_slash, setup, teardown),
		cmocka_unit_test_setup_teardown(links_are_followed, setup, teardown),
		cmocka_unit_test(paths_become_normal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
