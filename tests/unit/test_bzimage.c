/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/entries.h"
#include "tests/unit/kernel_image.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "vmm/boot/bzimage.h"

/* Some code that is no multiple of 16 bytes. */
enum { CODE_SIZE = 100 };

static struct kernel_image new_image(void)
{
	uint8_t code[CODE_SIZE];

	for (size_t i = 0; i < sizeof(code); i++)
		code[i] = (uint8_t)(i + 1);
	return image_new(code, sizeof(code));
}

/* Opens the image's first size bytes; the caller closes file.fd and, on success, releases kernel. */
static int open_bytes(struct bzimage *kernel, const struct kernel_image *image, size_t size, struct memory_file *file,
		      struct error *err)
{
	*file = memory_file_new(image->bytes, size);
	*err = (struct error){0};
	return bzimage_open(kernel, file->path, err);
}

static void assert_refused(const struct kernel_image *image, size_t size, const char *why)
{
	struct memory_file file;
	struct bzimage kernel;
	struct error err;
	char text[300];

	assert_true(open_bytes(&kernel, image, size, &file, &err) < 0);
	snprintf(text, sizeof(text), "--kernel %s: %s", file.path, why);
	assert_string_equal(err.text, text);
	assert_int_equal(err.status, EXIT_STATUS_IMAGE);
	assert_int_equal(kernel.fd, -1);
	close(file.fd);
}

/* Opens it, which must succeed, and closes the file that it came from: the image has its own descriptor. */
static struct bzimage opened(const struct kernel_image *image, size_t size)
{
	struct memory_file file;
	struct bzimage kernel;
	struct error err;

	if (open_bytes(&kernel, image, size, &file, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(err.text[0], '\0');
	close(file.fd);
	return kernel;
}

static void reads_every_field(void **state)
{
	struct kernel_image image = new_image();
	uint8_t code[CODE_SIZE] = {0};
	struct bzimage kernel;

	(void)state;
	kernel = opened(&image, image.size);
	assert_int_equal(kernel.code_offset, IMAGE_CODE);
	assert_int_equal(kernel.code_size, IMAGE_ENTRY_64 + CODE_SIZE);
	assert_true(kernel.preferred_address == IMAGE_PREFERRED);
	assert_true(kernel.init_size == IMAGE_INIT_SIZE);
	assert_int_equal(kernel.alignment, 0x200000);
	assert_true(kernel.relocatable);
	assert_true(kernel.initrd_above_4g);
	assert_true(kernel.initrd_limit == UINT64_C(0x80000000));
	assert_int_equal(kernel.cmdline_max, IMAGE_CMDLINE_MAX);
	assert_string_equal(kernel.release, "6.1.0-test-amd64");
	assert_int_equal(kernel.header_size, 0x268 - 0x1f1);
	assert_memory_equal(kernel.header, image.bytes + 0x1f1, kernel.header_size);
	for (size_t i = kernel.header_size; i < sizeof(kernel.header); i++)
		assert_int_equal(kernel.header[i], 0);
	/* the descriptor is of the file */
	assert_int_equal(pread(kernel.fd, code, sizeof(code), (off_t)kernel.code_offset + IMAGE_ENTRY_64), CODE_SIZE);
	assert_int_equal(code[CODE_SIZE - 1], CODE_SIZE);
	bzimage_release(&kernel);
	assert_int_equal(kernel.fd, -1);
	bzimage_release(&kernel);
	image_free(&image);
}

static void reads_what_differs(void **state)
{
	struct kernel_image image = new_image();
	struct bzimage kernel;

	(void)state;
	image_put(&image, 0x234, 0, 1);
	image_put(&image, 0x236, 0x0001, 2);
	image_put(&image, 0x22c, 0xffffffff, 4);
	image_put(&image, 0x258, UINT64_C(0x123456789000), 8);
	image_put(&image, 0x206, 0x020c, 2); /* the oldest protocol that will do */
	kernel = opened(&image, image.size);
	assert_false(kernel.relocatable);
	assert_false(kernel.initrd_above_4g);
	assert_true(kernel.initrd_limit == UINT64_C(0x100000000));
	assert_true(kernel.preferred_address == UINT64_C(0x123456789000));
	bzimage_release(&kernel);
	image_free(&image);
}

/* The memory that the kernel asks for never is less than its own bytes. */
static void init_size_covers_the_code(void **state)
{
	struct kernel_image image = new_image();
	struct bzimage kernel;

	(void)state;
	image_put(&image, 0x260, 16, 4);
	kernel = opened(&image, image.size);
	assert_true(kernel.init_size == kernel.code_size);
	bzimage_release(&kernel);
	image_free(&image);
}

static void refuses_other_files(void **state)
{
	static const struct {
		size_t offset, width;
		uint64_t value;
		const char *why;
	} CASES[] = {
		{0, 4, 0x464c457f,
		 "this is an ELF file (a vmlinux?), not a bzImage; give the /boot/vmlinuz-* of a kernel"},
		{0x1fe, 2, 0x55aa, "not a bzImage (no setup header); give the /boot/vmlinuz-* of a kernel"},
		{0x202, 1, 'h', "not a bzImage (no setup header); give the /boot/vmlinuz-* of a kernel"},
		{0x205, 1, 's', "not a bzImage (no setup header); give the /boot/vmlinuz-* of a kernel"},
		{0x206, 2, 0x020b,
		 "too old for the 64-bit entry: boot protocol 2.11, needed is 2.12 (Linux 3.8); take a newer kernel"},
		{0x206, 2, 0x0105,
		 "too old for the 64-bit entry: boot protocol 1.05, needed is 2.12 (Linux 3.8); take a newer kernel"},
		{0x211, 1, 0xfe, "a zImage that loads below 1 MiB, not a bzImage; take a newer kernel"},
		{0x236, 2, 0xfffe, "a 32-bit kernel (no 64-bit entry); take an amd64 kernel"},
		{0x201, 1, 0x61, "damaged: the setup header's length is out of bounds"},
		{0x201, 1, 0x8f, "damaged: the setup header's length is out of bounds"},
		{0x201, 1, 0x00, "damaged: the setup header's length is out of bounds"},
		{0x201, 1, 0xff, "damaged: the setup header's length is out of bounds"},
		{0x230, 4, 0, "damaged: the header's alignment or address is out of bounds"},
		{0x230, 4, 2048, "damaged: the header's alignment or address is out of bounds"},
		{0x230, 4, 0x300000, "damaged: the header's alignment or address is out of bounds"},
		{0x230, 4, 0x80000000, "damaged: the header's alignment or address is out of bounds"},
		{0x258, 8, 0x1000800, "damaged: the header's alignment or address is out of bounds"},
		{0x1f4, 4, 0, "truncated: its header tells of 1536 bytes, the file has 2148"},
		{0x1f1, 1, 255, "truncated: its header tells of 131696 bytes, the file has 2148"},
		{0x1f4, 4, 0xffffffff, "truncated: its header tells of 68719478256 bytes, the file has 2148"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		struct kernel_image image = new_image();

		image_put(&image, CASES[i].offset, CASES[i].value, CASES[i].width);
		assert_refused(&image, image.size, CASES[i].why);
		image_free(&image);
	}
}

/* The header's end may be anywhere from the last field that we read to the field of the zero page that follows. */
static void header_length_has_bounds(void **state)
{
	static const uint8_t JUMPS[] = {0x62, 0x8e};

	(void)state;
	for (size_t i = 0; i < sizeof(JUMPS); i++) {
		struct kernel_image image = new_image();
		struct bzimage kernel;

		memset(image.bytes + 0x264, 0xa5, 0x40);
		image_put(&image, 0x201, JUMPS[i], 1);
		kernel = opened(&image, image.size);
		assert_int_equal(kernel.header_size, 0x202 + JUMPS[i] - 0x1f1);
		assert_memory_equal(kernel.header, image.bytes + 0x1f1, kernel.header_size);
		for (size_t j = kernel.header_size; j < sizeof(kernel.header); j++)
			assert_int_equal(kernel.header[j], 0);
		bzimage_release(&kernel);
		image_free(&image);
	}
}

/* syssize counts in 16 bytes, so up to 15 bytes of the last may be missing. */
static void a_truncated_file_is_found_to_the_byte(void **state)
{
	struct kernel_image image = new_image();
	uint64_t told = (IMAGE_ENTRY_64 + CODE_SIZE + 15) / 16 * 16;
	size_t least = IMAGE_CODE + told - 15;
	struct bzimage kernel;
	char why[100];

	(void)state;
	kernel = opened(&image, least);
	assert_true(kernel.code_size == told - 15);
	bzimage_release(&kernel);
	snprintf(why, sizeof(why), "truncated: its header tells of %" PRIu64 " bytes, the file has %zu",
		 IMAGE_CODE + told, least - 1);
	assert_refused(&image, least - 1, why);
	snprintf(why, sizeof(why), "truncated: its header tells of %" PRIu64 " bytes, the file has %d",
		 IMAGE_CODE + told, 0x400);
	assert_refused(&image, 0x400, why);
	image_free(&image);
}

static void what_follows_the_code_is_not_loaded(void **state)
{
	struct kernel_image image = new_image();
	struct bzimage kernel;

	(void)state;
	image_put(&image, 0x1f4, 3, 4); /* a signature may follow, as in a kernel for Secure Boot */
	kernel = opened(&image, image.size);
	assert_int_equal(kernel.code_size, 48);
	bzimage_release(&kernel);
	image_free(&image);
}

static void no_sectors_mean_four(void **state)
{
	struct kernel_image image = image_new((uint8_t[4096]){0}, 4096);
	struct bzimage kernel;

	(void)state;
	image_put(&image, 0x1f1, 0, 1);
	image_put(&image, 0x1f4, 1, 4);
	kernel = opened(&image, image.size);
	assert_int_equal(kernel.code_offset, 5 * 512);
	bzimage_release(&kernel);
	image_free(&image);
}

static void refuses_what_is_no_file(void **state)
{
	char folder[] = "/tmp/test_bzimage.XXXXXX", path[40];
	struct kernel_image image = new_image();
	struct bzimage kernel;
	struct error err;

	(void)state;
	assert_refused(&image, 0, "not a bzImage: the file is shorter than a setup header");
	assert_refused(&image, 0x3ff, "not a bzImage: the file is shorter than a setup header");
	assert_int_equal(bzimage_open(&kernel, "/nowhere/vmlinuz", &err), -ENOENT);
	assert_string_equal(err.text, "--kernel /nowhere/vmlinuz: No such file or directory");
	assert_int_equal(err.status, EXIT_STATUS_IMAGE);
	assert_int_equal(kernel.fd, -1);
	assert_int_equal(bzimage_open(&kernel, "/proc/self", &err), -EINVAL);
	assert_string_equal(err.text, "--kernel /proc/self: not a regular file");
	assert_int_equal(kernel.fd, -1);
	assert_int_equal(bzimage_open(&kernel, "/dev/zero", &err), -EINVAL);
	assert_string_equal(err.text, "--kernel /dev/zero: not a regular file");
	/* one that nobody writes to is not waited for */
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/fifo", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(10);
	assert_int_equal(bzimage_open(&kernel, path, &err), -EINVAL);
	alarm(0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
	image_free(&image);
}

/* The release becomes part of a path below /lib/modules. */
static void release_is_fit_for_a_path(void **state)
{
	static const struct {
		const char *text, *release;
	} CASES[] = {
		{"6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) #1", "6.1.0-56-cloud-amd64"},
		{"6.12.95", "6.12.95"},
		{"", ""},
		{" 6.1", ""},
		{"../../etc", ""},
		{"6.1\tx y", ""},
		{"6.1\177 y", ""},
		{"6.1\303\244 y", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		struct kernel_image image = new_image();
		struct bzimage kernel;

		image_text(&image, IMAGE_RELEASE, CASES[i].text);
		kernel = opened(&image, image.size);
		assert_string_equal(kernel.release, CASES[i].release);
		bzimage_release(&kernel);
		image_free(&image);
	}
}

static void release_stays_within_the_setup(void **state)
{
	struct kernel_image image = new_image();
	struct bzimage kernel;
	char longest[72];

	(void)state;
	image_put(&image, 0x20e, 0, 2); /* none */
	kernel = opened(&image, image.size);
	assert_string_equal(kernel.release, "");
	bzimage_release(&kernel);
	image_put(&image, 0x20e, IMAGE_CODE - 0x200, 2); /* behind the setup */
	memset(image.bytes + IMAGE_CODE, 'x', 16);
	kernel = opened(&image, image.size);
	assert_string_equal(kernel.release, "");
	bzimage_release(&kernel);
	image_put(&image, 0x20e, 0xffff, 2); /* behind the file */
	kernel = opened(&image, image.size);
	assert_string_equal(kernel.release, "");
	bzimage_release(&kernel);
	image_put(&image, 0x20e, IMAGE_CODE - 3 - 0x200, 2); /* ends with the setup, no zero behind it */
	memcpy(image.bytes + IMAGE_CODE - 3, "6.1", 3);
	kernel = opened(&image, image.size);
	assert_string_equal(kernel.release, "6.1");
	bzimage_release(&kernel);
	image_put(&image, 0x20e, IMAGE_RELEASE - 0x200, 2); /* without an end */
	memset(image.bytes + IMAGE_RELEASE, 'v', IMAGE_CODE - IMAGE_RELEASE);
	memset(longest, 'v', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	kernel = opened(&image, image.size);
	assert_string_equal(kernel.release, longest);
	bzimage_release(&kernel);
	image_free(&image);
}

static void check_accepted(const struct bzimage *kernel, size_t file_size)
{
	assert_true(kernel->header_size >= 0x264 - 0x1f1 && kernel->header_size <= sizeof(kernel->header));
	assert_true(kernel->code_size > 0 && kernel->code_offset + kernel->code_size <= file_size);
	assert_true(kernel->init_size >= kernel->code_size);
	assert_true(kernel->alignment >= 4096 && (kernel->alignment & (kernel->alignment - 1)) == 0);
	assert_true(kernel->preferred_address % 4096 == 0);
	assert_true(kernel->initrd_limit >= 1);
	assert_null(strchr(kernel->release, '/'));
	assert_non_null(memchr(kernel->release, '\0', sizeof(kernel->release)));
}

/* Whatever bytes the header has: refused with a line and nothing left open, or every number in its bounds. */
static void hostile_headers_do_no_harm(void **state)
{
	struct prng prng = prng_new("hostile_headers_do_no_harm");
	size_t accepted = 0, before = entries_in("/proc/self/fd");

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct kernel_image image = new_image();
		size_t spoiled = 1 + prng_below(&prng, 4), size = image.size;
		struct memory_file file;
		struct bzimage kernel;
		struct error err;

		for (size_t i = 0; i < spoiled; i++)
			image.bytes[0x1f1 + prng_below(&prng, 0x77)] = (uint8_t)prng_next(&prng);
		if (prng_below(&prng, 8) == 0)
			size = prng_below(&prng, image.size);
		if (open_bytes(&kernel, &image, size, &file, &err) == 0) {
			check_accepted(&kernel, size);
			bzimage_release(&kernel);
			accepted++;
		} else {
			assert_int_equal(err.status, EXIT_STATUS_IMAGE);
			assert_int_equal(strncmp(err.text, "--kernel /proc/self/fd/", 23), 0);
			assert_int_equal(kernel.fd, -1);
		}
		close(file.fd);
		image_free(&image);
	}
	assert_int_equal(entries_in("/proc/self/fd"), before);
	/* the generator makes both kinds */
	assert_in_range(accepted, 300, 2700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_field),
		cmocka_unit_test(reads_what_differs),
		cmocka_unit_test(init_size_covers_the_code),
		cmocka_unit_test(refuses_other_files),
		cmocka_unit_test(header_length_has_bounds),
		cmocka_unit_test(a_truncated_file_is_found_to_the_byte),
		cmocka_unit_test(what_follows_the_code_is_not_loaded),
		cmocka_unit_test(no_sectors_mean_four),
		cmocka_unit_test(refuses_what_is_no_file),
		cmocka_unit_test(release_is_fit_for_a_path),
		cmocka_unit_test(release_stays_within_the_setup),
		cmocka_unit_test(hostile_headers_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
