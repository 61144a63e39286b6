/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>

#include "tests/unit/elf_writer.h"
#include "tests/unit/newc_reader.h"
#include "tests/unit/scratch_folder.h"
#include "vmm/boot/guest_tree.h"

/* A folder of the host that is its root for libraries, too, a tree, and what was logged. */
struct bench {
	struct scratch host;
	struct archive archive;
	struct guest_tree tree;
	struct log log;
	struct error err;
};

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	scratch_new(&bench->host);
	bench->log = (struct log){.level = LOG_WARN};
	bench->log.fd = open(scratch_path(&bench->host, "log"), O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
	assert_true(bench->log.fd >= 0);
	assert_int_equal(guest_tree_init(&bench->tree, &bench->archive, bench->host.path, &bench->log, &bench->err), 0);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	guest_tree_release(&bench->tree);
	guest_tree_release(NULL);
	archive_release(&bench->archive);
	close(bench->log.fd);
	scratch_remove(&bench->host);
	free(bench);
	return 0;
}

static void expect_log(const struct bench *bench, const char *wanted)
{
	char text[2048];
	ssize_t got = pread(bench->log.fd, text, sizeof(text) - 1, 0);

	assert_true(got >= 0);
	text[got] = '\0';
	if (wanted == NULL)
		assert_string_equal(text, "");
	else if (strstr(text, wanted) == NULL)
		fail_msg("no \"%s\" in \"%s\"", wanted, text);
}

static struct newc_entry find(struct bench *bench, const char *name)
{
	struct newc_entry entry = {0};
	size_t size = bench->archive.bytes.size;

	cpio_finish(&bench->tree.cpio);
	if (!newc_find(bench->archive.bytes.data, bench->archive.bytes.size, name, &entry))
		fail_msg("%s is not in the archive", name);
	bench->archive.bytes.size = size;
	return entry;
}

static void expect_kind(struct bench *bench, const char *name, uint32_t mode)
{
	assert_int_equal(find(bench, name).mode, mode);
}

static void expect_text(struct bench *bench, const char *name, const char *text)
{
	struct newc_entry entry = find(bench, name);

	assert_int_equal(entry.size, strlen(text));
	assert_memory_equal(entry.data, text, entry.size);
}

static unsigned count(struct bench *bench, const char *name)
{
	return newc_count(bench->archive.bytes.data, bench->archive.bytes.size, name);
}

static void write_elf(struct bench *bench, const char *name, const struct elf_spec *spec)
{
	uint8_t file[ELF_FILE_SIZE];

	elf_write(file, spec);
	scratch_file(&bench->host, name, file, sizeof(file));
}

static void parents_are_made_once(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(guest_tree_bytes(&bench->tree, "/a/b/c", 0640, "1", 1, &bench->err), 0);
	assert_int_equal(guest_tree_bytes(&bench->tree, "/a/b/d", 0600, "22", 2, &bench->err), 0);
	expect_kind(bench, "a", S_IFDIR | 0755);
	expect_kind(bench, "a/b", S_IFDIR | 0755);
	expect_kind(bench, "a/b/c", S_IFREG | 0640);
	expect_text(bench, "a/b/d", "22");
	assert_int_equal(count(bench, "a"), 1);
	assert_int_equal(count(bench, "a/b"), 1);
}

static void a_later_file_wins(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(guest_tree_bytes(&bench->tree, "/f", 0600, "old", 3, &bench->err), 0);
	assert_int_equal(guest_tree_bytes(&bench->tree, "/f", 0600, "new", 3, &bench->err), 0);
	expect_text(bench, "f", "new");
}

static void file_and_folder_at_once_is_refused(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(guest_tree_bytes(&bench->tree, "/x", 0600, "", 0, &bench->err), 0);
	assert_int_equal(guest_tree_bytes(&bench->tree, "/x/y", 0600, "", 0, &bench->err), -EEXIST);
	assert_string_equal(bench->err.text, "/x would be a folder and a file in the guest; choose another guest path");
	assert_int_equal(bench->err.status, EXIT_STATUS_CONFIG);
	assert_int_equal(guest_tree_bytes(&bench->tree, "/d/e", 0600, "", 0, &bench->err), 0);
	assert_int_equal(guest_tree_bytes(&bench->tree, "/d", 0600, "", 0, &bench->err), -EEXIST);
	assert_int_equal(guest_tree_bytes(&bench->tree, "/", 0600, "", 0, &bench->err), -EISDIR);
	assert_string_equal(bench->err.text, "/ is a folder in the guest; choose another guest path");
}

static void too_long_a_path_is_refused(void **state)
{
	struct bench *bench = *state;
	char path[CPIO_PATH_MAX + 2];

	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[CPIO_PATH_MAX + 1] = '\0';
	assert_int_equal(guest_tree_bytes(&bench->tree, path, 0600, "", 0, &bench->err), -ENAMETOOLONG);
	assert_non_null(strstr(bench->err.text, "ppp... has more than 4095 bytes; choose a shorter one"));
	path[CPIO_PATH_MAX] = '\0';
	assert_int_equal(guest_tree_bytes(&bench->tree, path, 0600, "", 0, &bench->err), 0);
}

static void too_many_files_are_refused(void **state)
{
	struct bench *bench = *state;
	int code = 0;

	bench->tree.entries = GUEST_TREE_ENTRIES_MAX - 2;
	code = guest_tree_bytes(&bench->tree, "/d/f", 0600, "", 0, &bench->err);
	assert_int_equal(code, 0);
	assert_int_equal(guest_tree_bytes(&bench->tree, "/d/g", 0600, "", 0, &bench->err), -EFBIG);
	assert_string_equal(bench->err.text, "the initramfs has more than 100000 files; use a smaller folder");
}

/* Sorted by name: the order of readdir() must not show. */
static void folder_is_taken_whole_and_sorted(void **state)
{
	struct bench *bench = *state;
	const struct scratch *host = &bench->host;
	struct newc_entry entry = {0};
	uint32_t last = 0;
	static const char *const order[] = {"to/dir/Z", "to/dir/a", "to/dir/link", "to/dir/sub", "to/dir/sub/deep"};

	scratch_text(host, "dir/a", "A");
	scratch_text(host, "dir/Z", "Z");
	scratch_text(host, "dir/sub/deep", "deep");
	assert_int_equal(symlink("sub/deep", scratch_path(host, "dir/link")), 0);
	assert_int_equal(mkfifo(scratch_path(host, "dir/pipe"), 0600), 0);
	assert_int_equal(chmod(scratch_path(host, "dir/a"), 04751), 0);
	assert_int_equal(chmod(scratch_path(host, "dir/sub"), 0710), 0);
	assert_int_equal(guest_tree_host(&bench->tree, scratch_path(host, "dir"), "/to/dir", &bench->err), 0);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		entry = find(bench, order[i]);
		assert_true(entry.inode > last);
		last = entry.inode;
	}
	expect_kind(bench, "to/dir/a", S_IFREG | 04751);
	expect_kind(bench, "to/dir/sub", S_IFDIR | 0710);
	expect_text(bench, "to/dir/sub/deep", "deep");
	expect_kind(bench, "to/dir/link", S_IFLNK | 0777);
	expect_text(bench, "to/dir/link", "sub/deep");
	assert_int_equal(count(bench, "to/dir/pipe"), 0);
	expect_log(bench, "dir/pipe is neither a file nor a folder nor a link; left out");
}

static void folder_may_become_the_root(void **state)
{
	struct bench *bench = *state;

	scratch_text(&bench->host, "tree/etc/motd", "hello");
	assert_int_equal(guest_tree_host(&bench->tree, scratch_path(&bench->host, "tree"), "/", &bench->err), 0);
	expect_text(bench, "etc/motd", "hello");
}

static void link_that_the_user_names_is_followed(void **state)
{
	struct bench *bench = *state;

	scratch_text(&bench->host, "real", "content");
	assert_int_equal(symlink("real", scratch_path(&bench->host, "link")), 0);
	assert_int_equal(guest_tree_host(&bench->tree, scratch_path(&bench->host, "link"), "/x", &bench->err), 0);
	expect_kind(bench, "x", S_IFREG | 0644);
	expect_text(bench, "x", "content");
}

static void what_cannot_be_read_is_named(void **state)
{
	struct bench *bench = *state;
	char wanted[256];

	snprintf(wanted, sizeof(wanted), "cannot read %s: No such file or directory",
		 scratch_path(&bench->host, "gone"));
	assert_int_equal(guest_tree_host(&bench->tree, scratch_path(&bench->host, "gone"), "/x", &bench->err), -ENOENT);
	assert_string_equal(bench->err.text, wanted);
	assert_int_equal(bench->err.status, EXIT_STATUS_CONFIG);
	assert_int_equal(guest_tree_program(&bench->tree, scratch_path(&bench->host, "gone"), "/x", 0755, &bench->err),
			 -ENOENT);
	assert_int_equal(bench->err.status, EXIT_STATUS_CONFIG);
	assert_int_equal(guest_tree_host(&bench->tree, "/dev/null", "/x", &bench->err), -EINVAL);
	assert_string_equal(bench->err.text, "/dev/null is neither a file nor a folder");
}

static void endless_depth_is_refused(void **state)
{
	struct bench *bench = *state;
	char path[256] = "deep";

	for (int i = 0; i < GUEST_TREE_DEPTH_MAX; i++)
		strcat(path, "/d");
	scratch_parents(&bench->host, strcat(path, "/x"));
	assert_int_equal(guest_tree_host(&bench->tree, scratch_path(&bench->host, "deep"), "/ok", &bench->err), 0);
	strcpy(strrchr(path, '/'), "/d/x");
	scratch_parents(&bench->host, path);
	assert_int_equal(guest_tree_host(&bench->tree, scratch_path(&bench->host, "deep"), "/no", &bench->err), -ELOOP);
	assert_non_null(strstr(bench->err.text, "is more than 64 folders deep; name a folder further down"));
}

static void program_brings_loader_and_libraries(void **state)
{
	struct bench *bench = *state;

	write_elf(bench, "bin/prog",
		  &(struct elf_spec){.interpreter = "/lib64/ld-linux-x86-64.so.2", .needed = {"liba.so", "libc.so.6"}});
	write_elf(bench, "lib64/ld-linux-x86-64.so.2", &(struct elf_spec){0});
	write_elf(bench, "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", &(struct elf_spec){0});
	write_elf(bench, "usr/lib/liba.so", &(struct elf_spec){.needed = {"libb.so", "libc.so.6"}});
	write_elf(bench, "usr/lib/libb.so", &(struct elf_spec){.needed = {"liba.so"}}); /* a circle is fine */
	write_elf(bench, "lib/x86_64-linux-gnu/libc.so.6", &(struct elf_spec){.needed = {"ld-linux-x86-64.so.2"}});
	assert_int_equal(
		guest_tree_program(&bench->tree, scratch_path(&bench->host, "bin/prog"), "/x/prog", 0711, &bench->err),
		0);
	assert_int_equal(
		guest_tree_program(&bench->tree, scratch_path(&bench->host, "bin/prog"), "/x/again", 0700, &bench->err),
		0);
	expect_kind(bench, "x/prog", S_IFREG | 0711);
	expect_kind(bench, "lib64/ld-linux-x86-64.so.2", S_IFREG | 0755);
	assert_int_equal(find(bench, "usr/lib/libb.so").size, ELF_FILE_SIZE);
	assert_int_equal(count(bench, "usr/lib/liba.so"), 1);
	assert_int_equal(count(bench, "lib/x86_64-linux-gnu/libc.so.6"), 1);
	/* the loader is there already when it looks for itself */
	assert_int_equal(count(bench, "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"), 0);
	expect_log(bench, NULL);
}

static void rpath_of_the_program_serves_its_libraries(void **state)
{
	struct bench *bench = *state;

	write_elf(bench, "app/bin/prog", &(struct elf_spec){.rpath = "$ORIGIN/../lib", .needed = {"liba.so"}});
	write_elf(bench, "app/lib/liba.so", &(struct elf_spec){.needed = {"libb.so"}});
	write_elf(bench, "app/lib/libb.so", &(struct elf_spec){0});
	assert_int_equal(symlink("app/bin/prog", scratch_path(&bench->host, "prog")), 0);
	assert_int_equal(guest_tree_program(&bench->tree, scratch_path(&bench->host, "prog"), "/opt/bin/prog", 0755,
					    &bench->err),
			 0);
	assert_int_equal(count(bench, "opt/lib/liba.so"), 1);
	assert_int_equal(count(bench, "opt/lib/libb.so"), 1);
	expect_log(bench, NULL);
}

static void musl_is_its_own_c_library(void **state)
{
	struct bench *bench = *state;

	write_elf(bench, "prog", &(struct elf_spec){.interpreter = "/lib/ld-musl-x86_64.so.1", .needed = {"libc.so"}});
	write_elf(bench, "lib/ld-musl-x86_64.so.1", &(struct elf_spec){0});
	assert_int_equal(
		guest_tree_program(&bench->tree, scratch_path(&bench->host, "prog"), "/prog", 0755, &bench->err), 0);
	assert_int_equal(count(bench, "lib/ld-musl-x86_64.so.1"), 1);
	expect_log(bench, NULL);
}

static void missing_library_and_loader_are_warnings(void **state)
{
	struct bench *bench = *state;

	write_elf(bench, "prog", &(struct elf_spec){.interpreter = "/lib64/ld.so", .needed = {"libgone.so.3"}});
	assert_int_equal(
		guest_tree_program(&bench->tree, scratch_path(&bench->host, "prog"), "/prog", 0755, &bench->err), 0);
	expect_log(bench, "prog needs libgone.so.3, which is in none of this host's library folders; "
			  "it will not run in the guest unless --file brings it");
	expect_log(bench, "prog needs the loader /lib64/ld.so, which this host does not have");
	assert_int_equal(count(bench, "prog"), 1);
}

static void damaged_program_is_a_warning(void **state)
{
	struct bench *bench = *state;
	uint8_t file[ELF_FILE_SIZE];

	elf_write(file, &(struct elf_spec){.needed = {"liba.so"}});
	scratch_file(&bench->host, "prog", file, 700);
	assert_int_equal(
		guest_tree_program(&bench->tree, scratch_path(&bench->host, "prog"), "/prog", 0755, &bench->err), 0);
	expect_log(bench, "prog is a damaged program; it is in the guest as it is");
	assert_int_equal(find(bench, "prog").size, 700);
}

static void pipe_is_read_like_a_file(void **state)
{
	struct bench *bench = *state;
	char path[64];
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "piped", 5), 5);
	close(ends[1]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	assert_int_equal(guest_tree_host(&bench->tree, path, "/x", &bench->err), 0);
	close(ends[0]);
	expect_text(bench, "x", "piped");
}

static void failed_buffer_is_no_memory(void **state)
{
	struct bench *bench = *state;

	scratch_text(&bench->host, "f", "text");
	bench->archive.bytes.failed = true;
	assert_int_equal(guest_tree_host(&bench->tree, scratch_path(&bench->host, "f"), "/x", &bench->err), -ENOMEM);
	assert_int_equal(bench->err.status, EXIT_STATUS_HOST);
}

int main(void)
{
#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_BENCH(parents_are_made_once),
		WITH_BENCH(a_later_file_wins),
		WITH_BENCH(file_and_folder_at_once_is_refused),
		WITH_BENCH(too_long_a_path_is_refused),
		WITH_BENCH(too_many_files_are_refused),
		WITH_BENCH(folder_is_taken_whole_and_sorted),
		WITH_BENCH(folder_may_become_the_root),
		WITH_BENCH(link_that_the_user_names_is_followed),
		WITH_BENCH(what_cannot_be_read_is_named),
		WITH_BENCH(endless_depth_is_refused),
		WITH_BENCH(program_brings_loader_and_libraries),
		WITH_BENCH(rpath_of_the_program_serves_its_libraries),
		WITH_BENCH(musl_is_its_own_c_library),
		WITH_BENCH(missing_library_and_loader_are_warnings),
		WITH_BENCH(damaged_program_is_a_warning),
		WITH_BENCH(pipe_is_read_like_a_file),
		WITH_BENCH(failed_buffer_is_no_memory),
	};
#undef WITH_BENCH

	return cmocka_run_group_tests(tests, NULL, NULL);
}
