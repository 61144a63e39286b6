/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/gzip.h"
#include "tests/unit/kernel_image.h"
#include "tests/unit/vmlinux_image.h"

#include "vmm/base/io.h"
#include "vmm/kernel_unpack.h"

enum { PACKED_MAX = 8192 };

/* A bzImage with the small kernel packed by gzip, and a log that can be read. */
struct fixture {
	uint8_t plain[KERNEL_FILE_SIZE];
	struct kernel_image image;
	struct memory_file file, lines;
	struct bzimage kernel;
	struct log log;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	uint8_t packed[PACKED_MAX];
	size_t size;

	assert_non_null(fixture);
	kernel_write(fixture->plain);
	size = gzip_pack(fixture->plain, KERNEL_FILE_SIZE, packed, sizeof(packed));
	fixture->image = image_new_payload(packed, size);
	fixture->kernel.fd = fixture->file.fd = -1;
	fixture->lines = memory_file_new("", 0);
	fixture->log = (struct log){.level = LOG_DEBUG, .fd = fixture->lines.fd};
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	bzimage_release(&fixture->kernel);
	image_free(&fixture->image);
	io_close(&fixture->file.fd);
	io_close(&fixture->lines.fd);
	free(fixture);
	return 0;
}

static const struct vmlinux *unpack(struct fixture *fixture, struct kernel_unpack *unpack)
{
	struct error err = {0};

	fixture->file = memory_file_new(fixture->image.bytes, fixture->image.size);
	assert_int_equal(bzimage_open(&fixture->kernel, fixture->file.path, &err), 0);
	assert_int_equal(kernel_unpack_start(unpack, &fixture->kernel, "off", &fixture->log, &err), 0);
	return kernel_unpack_wait(unpack);
}

static void assert_line(struct fixture *fixture, const char *line)
{
	char text[1024] = "";

	assert_true(pread(fixture->lines.fd, text, sizeof(text) - 1, 0) >= 0);
	if (strstr(text, line) == NULL || (*line == '\0' && *text != '\0'))
		fail_msg("\"%s\" is not in: %s", line, text);
}

static void a_kernel_is_unpacked_and_taken_apart(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_unpack job;
	const struct vmlinux *vmlinux = unpack(fixture, &job);

	assert_non_null(vmlinux);
	assert_int_equal(vmlinux->entry, KERNEL_ENTRY);
	assert_int_equal(vmlinux->segments[0].size, KERNEL_TEXT_SIZE);
	assert_memory_equal(vmlinux->segments[0].bytes, fixture->plain + KERNEL_TEXT_AT, KERNEL_TEXT_SIZE);
	assert_line(fixture, "");
	kernel_unpack_release(&job);
	kernel_unpack_release(&job);
}

static void a_truncated_payload_is_a_line_of_the_log(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_unpack job;

	image_put(&fixture->image, IMAGE_PAYLOAD_LENGTH, 100, 4);
	assert_null(unpack(fixture, &job));
	assert_line(fixture, "debug: the kernel unpacks itself: --kernel /proc/self/fd/");
	kernel_unpack_release(&job);
}

/* Unpacked it is well, but it is not what the header promises. */
static void a_kernel_that_is_too_large_is_a_line_of_the_log(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_unpack job;

	image_put(&fixture->image, 0x260, KERNEL_SIZE - 1, 4);
	assert_null(unpack(fixture, &job));
	assert_line(fixture, "debug: the kernel unpacks itself: the unpacked kernel: it is larger than the header of "
			     "its bzImage says");
	kernel_unpack_release(&job);
}

static void what_was_not_started_gives_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_unpack job = {0};

	assert_null(kernel_unpack_wait(&job));
	assert_line(fixture, "");
	kernel_unpack_release(&job);
	/* one that nobody waits for is no leak, of memory or of a thread */
	assert_non_null(unpack(fixture, &job));
	kernel_unpack_release(&job);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_kernel_is_unpacked_and_taken_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(a_truncated_payload_is_a_line_of_the_log, setup, teardown),
		cmocka_unit_test_setup_teardown(a_kernel_that_is_too_large_is_a_line_of_the_log, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_not_started_gives_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
