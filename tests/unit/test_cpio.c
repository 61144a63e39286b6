/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <string.h>
#include <sys/stat.h>

#include "tests/unit/newc_reader.h"
#include "vmm/boot/cpio.h"

static void header_is_byte_exact(void **state)
{
	static const char wanted[] = "070701"
				     "00000001" /* inode */
				     "000081ED" /* S_IFREG | 0755 */
				     "00000000"
				     "00000000" /* owner */
				     "00000001" /* links */
				     "00000000" /* time */
				     "00000003" /* size */
				     "00000000"
				     "00000000"
				     "00000000"
				     "00000000" /* devices */
				     "00000005" /* "init" and its zero */
				     "00000000" /* checksum */
				     "init\0"
				     "\0" /* 115 bytes so far, 116 is the next multiple of 4 */
				     "abc\0";
	struct buf out = {0};
	struct cpio cpio;

	(void)state;
	cpio_init(&cpio, &out);
	cpio_file(&cpio, "/init", 0755, "abc", 3);
	assert_int_equal(out.size, sizeof(wanted) - 1);
	assert_memory_equal(out.data, wanted, sizeof(wanted) - 1);
	buf_release(&out);
}

static void every_kind_reads_back(void **state)
{
	struct buf out = {0};
	struct newc_entry entry = {0};
	struct cpio cpio;
	size_t at = 0;

	(void)state;
	cpio_init(&cpio, &out);
	cpio_directory(&cpio, "/dev", 01777);
	cpio_char_device(&cpio, "/dev/console", 0600, 5, 1);
	cpio_symlink(&cpio, "/link", "dev/console");
	cpio_file(&cpio, "/empty", 04711, "", 0);
	cpio_finish(&cpio);

	assert_true(newc_next(out.data, out.size, &at, &entry));
	assert_string_equal(entry.name, "dev");
	assert_int_equal(entry.mode, S_IFDIR | 01777);
	assert_int_equal(entry.links, 2);
	assert_int_equal(entry.inode, 1);
	assert_true(newc_next(out.data, out.size, &at, &entry));
	assert_string_equal(entry.name, "dev/console");
	assert_int_equal(entry.mode, S_IFCHR | 0600);
	assert_int_equal(entry.major, 5);
	assert_int_equal(entry.minor, 1);
	assert_int_equal(entry.inode, 2);
	assert_true(newc_next(out.data, out.size, &at, &entry));
	assert_int_equal(entry.mode, S_IFLNK | 0777);
	assert_int_equal(entry.size, strlen("dev/console"));
	assert_memory_equal(entry.data, "dev/console", entry.size);
	assert_true(newc_next(out.data, out.size, &at, &entry));
	assert_int_equal(entry.mode, S_IFREG | 04711);
	assert_int_equal(entry.size, 0);
	assert_true(newc_next(out.data, out.size, &at, &entry));
	assert_string_equal(entry.name, "TRAILER!!!");
	assert_int_equal(entry.mode, 0);
	assert_int_equal(at, out.size);
	assert_int_equal(entry.uid | entry.gid | entry.time, 0);
	buf_release(&out);
}

static void all_sizes_are_padded(void **state)
{
	(void)state;
	for (size_t name = 1; name <= 5; name++) {
		for (size_t size = 0; size <= 5; size++) {
			char path[8] = "/";
			struct newc_entry entry = {0};
			struct buf out = {0};
			struct cpio cpio;

			memset(path + 1, 'x', name);
			cpio_init(&cpio, &out);
			cpio_file(&cpio, path, 0644, "12345", size);
			cpio_finish(&cpio);
			assert_int_equal(out.size % 4, 0);
			assert_true(newc_find(out.data, out.size, path + 1, &entry));
			assert_int_equal(entry.size, size);
			assert_memory_equal(entry.data, "12345", size);
			buf_release(&out);
		}
	}
}

static void file_may_be_written_in_place(void **state)
{
	struct buf out = {0};
	struct newc_entry entry = {0};
	struct cpio cpio;

	(void)state;
	cpio_init(&cpio, &out);
	cpio_file_begin(&cpio, "/big", 0600);
	for (int i = 0; i < 70000; i++)
		buf_u8(&out, (uint8_t)i);
	assert_int_equal(out.size - cpio.data, 70000);
	cpio_file_end(&cpio);
	cpio_file(&cpio, "/next", 0600, "n", 1);
	cpio_finish(&cpio);
	assert_true(newc_find(out.data, out.size, "big", &entry));
	assert_int_equal(entry.size, 70000);
	assert_int_equal(entry.data[69999], 69999 & 0xff);
	assert_true(newc_find(out.data, out.size, "next", &entry));
	assert_int_equal(entry.inode, 2);
	buf_release(&out);
}

/* The kernel passes over zeros between archives, and takes an archive at a multiple of 4 only. */
static void starts_aligned_behind_other_bytes(void **state)
{
	struct newc_entry entry = {0};
	struct buf out = {0};
	struct cpio cpio;

	(void)state;
	buf_text(&out, "12345");
	cpio_init(&cpio, &out);
	cpio_file(&cpio, "/f", 0600, "x", 1);
	cpio_finish(&cpio);
	assert_memory_equal(out.data, "12345\0\0\0", 8);
	assert_true(newc_find(out.data + 8, out.size - 8, "f", &entry));
	buf_release(&out);
}

static void failed_buffer_stays_failed(void **state)
{
	struct buf out = {.failed = true};
	struct cpio cpio;

	(void)state;
	cpio_init(&cpio, &out);
	cpio_directory(&cpio, "/d", 0755);
	cpio_file(&cpio, "/d/f", 0600, "x", 1);
	cpio_symlink(&cpio, "/l", "d");
	cpio_finish(&cpio);
	assert_true(buf_failed(&out));
	assert_int_equal(out.size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_is_byte_exact),
		cmocka_unit_test(every_kind_reads_back),
		cmocka_unit_test(all_sizes_are_padded),
		cmocka_unit_test(file_may_be_written_in_place),
		cmocka_unit_test(starts_aligned_behind_other_bytes),
		cmocka_unit_test(failed_buffer_stays_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
