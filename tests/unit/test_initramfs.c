/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <lzma.h>

#include "guest/init.h"
#include "tests/unit/newc_reader.h"
#include "tests/unit/scratch_folder.h"
#include "vmm/boot/initramfs.h"

static const struct module_wish WISHES[] = {
	{"dax_hmem", false}, {"device_dax", false}, {"kmem", false}, {"pvpanic-mmio", false}};
enum { WISH_COUNT = sizeof(WISHES) / sizeof(WISHES[0]) };

static const struct log QUIET = {.level = LOG_ERROR, .fd = STDERR_FILENO};

struct bench {
	struct scratch host;
	struct archive archive;
	struct buf out; /* what the kernel gets of it */
	struct error err;
};

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	scratch_new(&bench->host);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	archive_release(&bench->archive);
	buf_release(&bench->out);
	scratch_remove(&bench->host);
	free(bench);
	return 0;
}

static void write_archive(const struct archive *archive, struct buf *out)
{
	struct error err;
	uint8_t *at = buf_extend(out, archive_size(archive));

	assert_non_null(at);
	memset(at, 0xa5, archive_size(archive));
	assert_int_equal(archive_write(archive, at, &err), 0);
}

static int build(struct bench *bench, const struct initramfs_request *request)
{
	int code;

	archive_release(&bench->archive);
	buf_release(&bench->out);
	code = initramfs_build(&bench->archive, request, &QUIET, &bench->err);
	if (code == 0)
		write_archive(&bench->archive, &bench->out);
	return code;
}

static void expect_text(const struct bench *bench, const char *name, uint32_t mode, const char *text)
{
	struct newc_entry entry = {0};

	if (!newc_find(bench->out.data, bench->out.size, name, &entry))
		fail_msg("%s is not in the archive", name);
	assert_int_equal(entry.mode, mode);
	assert_int_equal(entry.size, strlen(text));
	assert_memory_equal(entry.data, text, entry.size);
}

/* wanted: what the error says, with "@" for the scratch folder. */
static void expect_error(struct bench *bench, const struct initramfs_request *request, int code,
			 enum exit_status status, const char *wanted)
{
	char text[sizeof(bench->err.text)] = "";

	for (const char *from = wanted; *from != '\0'; from++) {
		size_t used = strlen(text);

		if (*from == '@')
			strcat(text, bench->host.path);
		else
			text[used] = *from;
	}
	assert_int_equal(build(bench, request), code);
	assert_string_equal(bench->err.text, text);
	assert_int_equal(bench->err.status, status);
	assert_int_equal(archive_size(&bench->archive), 0);
}

static void bare_archive_has_init_and_console(void **state)
{
	struct bench *bench = *state;
	struct newc_entry entry = {0};

	assert_int_equal(build(bench, &(struct initramfs_request){0}), 0);
	assert_int_equal(bench->out.size % 4, 0);
	assert_true(newc_find(bench->out.data, bench->out.size, "init", &entry));
	assert_int_equal(entry.mode, S_IFREG | 0755);
	assert_int_equal(entry.size, guest_init_end - guest_init_start);
	assert_memory_equal(entry.data, guest_init_start, entry.size);
	assert_memory_equal(entry.data,
			    "\x7f"
			    "ELF",
			    4);
	assert_true(newc_find(bench->out.data, bench->out.size, "dev/console", &entry));
	assert_int_equal(entry.mode, S_IFCHR | 0600);
	assert_int_equal(entry.major, 5);
	assert_int_equal(entry.minor, 1);
	assert_false(newc_find(bench->out.data, bench->out.size, "bin/busybox", &entry));
}

static void scratch_xz(const struct scratch *scratch, const char *name, const char *text)
{
	uint8_t packed[1024];
	size_t used = 0;

	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, (const uint8_t *)text, strlen(text), packed,
						 &used, sizeof(packed)),
			 LZMA_OK);
	scratch_file(scratch, name, packed, used);
}

static void write_modules(const struct scratch *host)
{
	scratch_text(host, "6.1.0-x/modules.dep",
		     "kernel/dax_hmem.ko.xz:\n"
		     "kernel/pvpanic-mmio.ko: kernel/pvpanic.ko.xz\n"
		     "kernel/pvpanic.ko.xz:\n"
		     "kernel/other.ko:\n");
	scratch_text(host, "6.1.0-x/modules.builtin", "kernel/kmem.ko\n");
	scratch_xz(host, "6.1.0-x/kernel/dax_hmem.ko.xz", "the hmem module");
	scratch_xz(host, "6.1.0-x/kernel/pvpanic.ko.xz", "the pvpanic module");
	scratch_text(host, "6.1.0-x/kernel/pvpanic-mmio.ko", "the mmio module");
}

static void modules_are_unpacked_and_listed_in_order(void **state)
{
	struct bench *bench = *state;
	struct initramfs_request request = {.wishes = WISHES, .wish_count = WISH_COUNT};
	struct newc_entry entry = {0};

	write_modules(&bench->host);
	request.modules = scratch_path(&bench->host, "6.1.0-x/"); /* a closing slash does not matter */
	assert_int_equal(build(bench, &request), 0);
	expect_text(bench, "lib/modules/6.1.0-x/kernel/dax_hmem.ko", S_IFREG | 0644, "the hmem module");
	expect_text(bench, "lib/modules/6.1.0-x/kernel/pvpanic.ko", S_IFREG | 0644, "the pvpanic module");
	expect_text(bench, "lib/modules/6.1.0-x/kernel/pvpanic-mmio.ko", S_IFREG | 0644, "the mmio module");
	expect_text(bench, "etc/spmvm/modules", S_IFREG | 0644,
		    "/lib/modules/6.1.0-x/kernel/dax_hmem.ko\n"
		    "/lib/modules/6.1.0-x/kernel/pvpanic.ko\n"
		    "/lib/modules/6.1.0-x/kernel/pvpanic-mmio.ko\n");
	assert_false(newc_find(bench->out.data, bench->out.size, "lib/modules/6.1.0-x/kernel/other.ko", &entry));
}

/* Large files are not in the buffer, and in the archive all the same, each filled with zeros to a multiple of 4. */
static void large_files_come_from_their_files(void **state)
{
	enum { LARGE = ARCHIVE_PART_MIN + 3 };
	struct bench *bench = *state;
	static uint8_t bytes[LARGE];
	struct initramfs_request request = {.wishes = WISHES, .wish_count = 1, .file_count = 2};
	const char *files[2];
	char second[128];
	struct newc_entry entry = {0};
	struct error err;
	uint8_t *room;

	memset(bytes, 0x11, sizeof(bytes));
	scratch_file(&bench->host, "first", bytes, LARGE);
	scratch_file(&bench->host, "second", bytes, ARCHIVE_PART_MIN);
	memcpy(bytes,
	       "\x7f"
	       "ELF\x2\x1\x1\0\0\0\0\0\0\0\0\0\1\0\x3e",
	       20); /* an object file without program headers */
	memset(bytes + 20, 0, 64);
	scratch_text(&bench->host, "6.1.0-x/modules.dep", "kernel/dax_hmem.ko:\n");
	scratch_file(&bench->host, "6.1.0-x/kernel/dax_hmem.ko", bytes, LARGE);
	files[0] = scratch_path(&bench->host, "first");
	snprintf(second, sizeof(second), "%s/second:/2", bench->host.path);
	files[1] = second;
	request.files = files;
	request.modules = scratch_path(&bench->host, "6.1.0-x");
	assert_int_equal(build(bench, &request), 0);
	assert_int_equal(bench->archive.part_count, 3);
	assert_int_equal(archive_size(&bench->archive) % 4, 0);
	assert_true(newc_find(bench->out.data, bench->out.size, files[0] + 1, &entry));
	assert_int_equal(entry.size, LARGE);
	assert_int_equal(entry.data[LARGE - 1], 0x11);
	assert_int_equal(entry.data[LARGE], 0);
	assert_true(newc_find(bench->out.data, bench->out.size, "2", &entry));
	assert_int_equal(entry.size, ARCHIVE_PART_MIN);
	assert_true(newc_find(bench->out.data, bench->out.size, "lib/modules/6.1.0-x/kernel/dax_hmem.ko", &entry));
	assert_int_equal(entry.size, LARGE);
	assert_memory_equal(entry.data, bytes, LARGE);

	/* between the two looks at it */
	room = malloc(archive_size(&bench->archive));
	assert_non_null(room);
	scratch_file(&bench->host, "second", bytes, LARGE); /* a log that has grown: as much of it as there was */
	assert_int_equal(archive_write(&bench->archive, room, &err), 0);
	scratch_file(&bench->host, "second", bytes, 1);
	assert_int_equal(archive_write(&bench->archive, room, &err), -EIO);
	assert_non_null(strstr(err.text, "/second has changed while it was read; start again"));
	assert_int_equal(err.status, EXIT_STATUS_IMAGE);
	assert_int_equal(unlink(scratch_path(&bench->host, "second")), 0);
	assert_int_equal(archive_write(&bench->archive, room, &err), -ENOENT);
	assert_non_null(strstr(err.text, "cannot open /tmp/"));
	free(room);
}

static void same_request_same_bytes(void **state)
{
	struct bench *bench = *state;
	struct initramfs_request request = {.wishes = WISHES, .wish_count = WISH_COUNT};
	struct archive archive = {0};
	struct buf again = {0};

	write_modules(&bench->host);
	request.modules = scratch_path(&bench->host, "6.1.0-x");
	assert_int_equal(build(bench, &request), 0);
	assert_int_equal(initramfs_build(&archive, &request, &QUIET, &bench->err), 0);
	write_archive(&archive, &again);
	assert_int_equal(again.size, bench->out.size);
	assert_memory_equal(again.data, bench->out.data, again.size);
	buf_release(&again);
	archive_release(&archive);
}

static void folder_without_tables_is_refused(void **state)
{
	struct bench *bench = *state;
	struct initramfs_request request = {.wishes = WISHES, .wish_count = 1};
	char folder[80], wanted[256];

	snprintf(folder, sizeof(folder), "%s/gone", bench->host.path);
	request.modules = folder;
	expect_error(bench, &request, -ENOENT, EXIT_STATUS_IMAGE,
		     "cannot open the modules' folder @/gone: No such file or directory; --modules names the kernel's "
		     "/lib/modules/VERSION");
	mkdir(folder, 0755);
	snprintf(
		wanted, sizeof(wanted),
		"cannot open @/gone/modules.dep: No such file or directory; depmod writes it (depmod -b ROOT VERSION)");
	expect_error(bench, &request, -ENOENT, EXIT_STATUS_IMAGE, wanted);
	/* without the list of what is built in it works */
	scratch_text(&bench->host, "gone/modules.dep", "dax_hmem.ko:\n");
	scratch_text(&bench->host, "gone/dax_hmem.ko", "m");
	assert_int_equal(build(bench, &request), 0);
	expect_text(bench, "lib/modules/gone/dax_hmem.ko", S_IFREG | 0644, "m");
}

/* The tables that help to find more modules are read too, and the user's modules have to be found. */
static void more_modules_are_found_or_refused(void **state)
{
	const struct module_wish more[] = {{"ext4", true}, {"nothing", true}};
	struct bench *bench = *state;
	struct initramfs_request request = {.wishes = more, .wish_count = 1};

	write_modules(&bench->host);
	scratch_text(&bench->host, "6.1.0-x/modules.dep", "ext4.ko:\ncrc32c.ko:\n");
	scratch_text(&bench->host, "6.1.0-x/modules.alias", "alias crypto-crc32c crc32c\n");
	scratch_text(&bench->host, "6.1.0-x/modules.softdep", "softdep ext4 pre: crypto-crc32c\n");
	scratch_text(&bench->host, "6.1.0-x/ext4.ko", "e");
	scratch_text(&bench->host, "6.1.0-x/crc32c.ko", "c");
	request.modules = scratch_path(&bench->host, "6.1.0-x");
	assert_int_equal(build(bench, &request), 0);
	expect_text(bench, "etc/spmvm/modules", S_IFREG | 0644,
		    "/lib/modules/6.1.0-x/crc32c.ko\n/lib/modules/6.1.0-x/ext4.ko\n");
	request.modules = scratch_path(&bench->host, "6.1.0-x");
	request.wish_count = 2;
	expect_error(bench, &request, -ENOENT, EXIT_STATUS_IMAGE,
		     "--module nothing: kernel 6.1.0-x has no such module; their names are in @/6.1.0-x/modules.dep");
}

static void bad_modules_are_refused_by_name(void **state)
{
	struct bench *bench = *state;
	struct initramfs_request request = {.wishes = WISHES, .wish_count = 1};
	char folder[80];

	snprintf(folder, sizeof(folder), "%s/6.1.0-x", bench->host.path);
	request.modules = folder;
	write_modules(&bench->host);
	scratch_file(&bench->host, "6.1.0-x/kernel/dax_hmem.ko.xz",
		     "\xfd"
		     "7zXZ\0garbage",
		     13);
	expect_error(bench, &request, -EBADMSG, EXIT_STATUS_IMAGE,
		     "the kernel module @/6.1.0-x/kernel/dax_hmem.ko.xz is damaged: it cannot be unpacked");
	remove(scratch_path(&bench->host, "6.1.0-x/kernel/dax_hmem.ko.xz"));
	expect_error(bench, &request, -ENOENT, EXIT_STATUS_IMAGE,
		     "cannot open @/6.1.0-x/kernel/dax_hmem.ko.xz: No such file or directory");
	scratch_text(&bench->host, "6.1.0-x/modules.dep", "dax_hmem.ko: dax_hmem.ko\n");
	expect_error(bench, &request, -ELOOP, EXIT_STATUS_IMAGE,
		     "@/6.1.0-x/modules.dep: dax_hmem needs itself, or 128 others in a row; run depmod again");
}

static void module_that_unpacks_to_too_much_is_refused(void **state)
{
	struct bench *bench = *state;
	struct initramfs_request request = {.wishes = WISHES, .wish_count = 1};
	size_t plain_size = ((size_t)64 << 20) + 1, used = 0;
	uint8_t *plain = calloc(1, plain_size), *packed = malloc(1 << 20);
	char folder[80];

	assert_non_null(plain);
	assert_non_null(packed);
	assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, plain, plain_size, packed, &used, 1 << 20),
			 LZMA_OK);
	snprintf(folder, sizeof(folder), "%s/6.1.0-x", bench->host.path);
	request.modules = folder;
	write_modules(&bench->host);
	scratch_file(&bench->host, "6.1.0-x/kernel/dax_hmem.ko.xz", packed, used);
	expect_error(bench, &request, -EFBIG, EXIT_STATUS_IMAGE,
		     "the kernel module @/6.1.0-x/kernel/dax_hmem.ko.xz unpacks to more than 67108864 bytes");
	free(plain);
	free(packed);
}

static void script_and_busybox_come_along(void **state)
{
	struct bench *bench = *state;
	struct initramfs_request request = {0};

	scratch_text(&bench->host, "run.sh", "#!/bin/sh\nexit 3\n"); /* mode 0644: init needs it executable */
	scratch_text(&bench->host, "bb", "a busybox");
	request.script = scratch_path(&bench->host, "run.sh");
	request.busybox = scratch_path(&bench->host, "bb");
	assert_int_equal(build(bench, &request), 0);
	expect_text(bench, "etc/spmvm/script", S_IFREG | 0755, "#!/bin/sh\nexit 3\n");
	expect_text(bench, "bin/busybox", S_IFREG | 0755, "a busybox");

	request = (struct initramfs_request){.script = "/nonexistent/s.sh"};
	expect_error(bench, &request, -ENOENT, EXIT_STATUS_CONFIG,
		     "--script /nonexistent/s.sh: cannot open /nonexistent/s.sh: No such file or directory");
	request = (struct initramfs_request){.script = "/tmp"};
	expect_error(bench, &request, -EISDIR, EXIT_STATUS_CONFIG, "--script /tmp: cannot read /tmp: Is a directory");
	request = (struct initramfs_request){.busybox = "/nonexistent/bb"};
	expect_error(bench, &request, -ENOENT, EXIT_STATUS_CONFIG,
		     "busybox /nonexistent/bb: cannot open /nonexistent/bb: No such file or directory");
}

static void files_go_where_the_user_says(void **state)
{
	struct bench *bench = *state;
	char plain[128], renamed[128], folder[128], colon[128];
	const char *const files[] = {plain, renamed, folder, colon};
	const struct initramfs_request request = {.files = files, .file_count = 4};

	scratch_text(&bench->host, "data", "some data");
	scratch_text(&bench->host, "dir/x", "in a folder");
	scratch_text(&bench->host, "a:b", "colon");
	snprintf(plain, sizeof(plain), "%s/./data", bench->host.path);
	snprintf(renamed, sizeof(renamed), "%s/data:/srv//other/../name", bench->host.path);
	snprintf(folder, sizeof(folder), "%s/dir:/opt", bench->host.path);
	snprintf(colon, sizeof(colon), "%s/a:b:/colon", bench->host.path);
	assert_int_equal(build(bench, &request), 0);
	expect_text(bench, scratch_path(&bench->host, "data") + 1, S_IFREG | 0644, "some data");
	expect_text(bench, "srv/name", S_IFREG | 0644, "some data");
	expect_text(bench, "opt/x", S_IFREG | 0644, "in a folder");
	expect_text(bench, "colon", S_IFREG | 0644, "colon");
}

static void relative_path_counts_from_the_guests_root(void **state)
{
	struct bench *bench = *state;
	const char *const files[] = {"./sub/../data"};
	char before[4096];

	scratch_text(&bench->host, "data", "some data");
	scratch_text(&bench->host, "sub/x", "");
	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(bench->host.path), 0);
	assert_int_equal(build(bench, &(struct initramfs_request){.files = files, .file_count = 1}), 0);
	assert_int_equal(chdir(before), 0);
	expect_text(bench, "data", S_IFREG | 0644, "some data");
}

static void expect_file_error(struct bench *bench, const char *file, int code, const char *wanted)
{
	expect_error(bench, &(struct initramfs_request){.files = &file, .file_count = 1}, code, EXIT_STATUS_CONFIG,
		     wanted);
}

static void bad_files_are_refused_by_name(void **state)
{
	struct bench *bench = *state;

	expect_file_error(bench, "/nonexistent/f", -ENOENT,
			  "--file /nonexistent/f: cannot read /nonexistent/f: No such file or directory");
	expect_file_error(bench, "/nonexistent/f:/x", -ENOENT,
			  "--file /nonexistent/f:/x: cannot read /nonexistent/f: No such file or directory");
	expect_file_error(bench, "/etc/passwd:x", -EINVAL,
			  "--file /etc/passwd:x: the guest path 'x' does not start with '/'; for a path with a ':' in "
			  "it, write PATH:GUEST_PATH");
	expect_file_error(bench, "", -EINVAL, "--file : the path is empty; write PATH or PATH:GUEST_PATH");
	expect_file_error(bench, ":/x", -EINVAL, "--file :/x: the path is empty; write PATH or PATH:GUEST_PATH");
	expect_file_error(bench, "/etc/passwd:/init/x", -EEXIST,
			  "--file /etc/passwd:/init/x: /init would be a folder and a file in the guest; choose another "
			  "guest path");
}

static void failed_buffer_is_no_memory(void **state)
{
	struct bench *bench = *state;

	bench->archive.bytes.failed = true;
	assert_int_equal(initramfs_build(&bench->archive, &(struct initramfs_request){0}, &QUIET, &bench->err),
			 -ENOMEM);
	assert_string_equal(bench->err.text, "no memory for the initramfs");
	assert_int_equal(bench->err.status, EXIT_STATUS_HOST);
}

int main(void)
{
#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_BENCH(bare_archive_has_init_and_console),
		WITH_BENCH(modules_are_unpacked_and_listed_in_order),
		WITH_BENCH(large_files_come_from_their_files),
		WITH_BENCH(same_request_same_bytes),
		WITH_BENCH(folder_without_tables_is_refused),
		WITH_BENCH(more_modules_are_found_or_refused),
		WITH_BENCH(bad_modules_are_refused_by_name),
		WITH_BENCH(module_that_unpacks_to_too_much_is_refused),
		WITH_BENCH(script_and_busybox_come_along),
		WITH_BENCH(files_go_where_the_user_says),
		WITH_BENCH(relative_path_counts_from_the_guests_root),
		WITH_BENCH(bad_files_are_refused_by_name),
		WITH_BENCH(failed_buffer_is_no_memory),
	};
#undef WITH_BENCH

	return cmocka_run_group_tests(tests, NULL, NULL);
}
