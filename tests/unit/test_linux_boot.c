/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest finds in its memory, read back with the kernel's own declarations (asm/bootparam.h), not with the offsets of the
 * code that wrote it.
 */
#include "tests/unit/kernel_image.h"
#include "tests/unit/vmlinux_image.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <stdbool.h>

#include "vmm/boot/linux_boot.h"

#define RSDP UINT64_C(0x3ffe0000)

enum { CODE_SIZE = 5000 };

/* A guest: memory without content, one range of RAM but for the legacy hole, a kernel, and what linux_boot_load() made of them. */
struct guest {
	struct guest_mem memory;
	struct e820_table e820;
	struct kernel_image image;
	struct memory_file file;
	struct bzimage kernel;
	struct linux_initrd initrd;
	const char *cmdline;
	struct buf tree;
	uint8_t unpacked[KERNEL_FILE_SIZE];
	struct vmlinux vmlinux; /* no segments: none is handed over */
	uint64_t random[2];
	struct range window;
	struct linux_boot boot;
	struct error err;
};

static uint8_t code_byte(size_t i)
{
	return (uint8_t)(i * 7 + 3);
}

static void map_memory(struct guest *guest, uint64_t size)
{
	struct range range = {0, size};
	struct error err;
	void *at;

	if (guest_mem_reserve(&guest->memory, range, &err) < 0)
		fail_msg("%s", err.text);
	at = guest_mem_at(&guest->memory, 0, size);
	assert_ptr_equal(
		mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0),
		at);
}

/* The image may be spoiled before guest_open_kernel(). */
static struct guest *guest_new(uint64_t ram)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	uint8_t code[CODE_SIZE];

	assert_non_null(guest);
	for (size_t i = 0; i < sizeof(code); i++)
		code[i] = code_byte(i);
	guest->image = image_new(code, sizeof(code));
	guest->kernel.fd = -1;
	guest->initrd = (struct linux_initrd){.option = "--initrd", .fd = -1};
	guest->cmdline = "console=ttyS0 quiet";
	map_memory(guest, ram);
	assert_int_equal(e820_add(&guest->e820, (struct range){0, 0xa0000}, E820_RAM), 0);
	assert_int_equal(e820_add(&guest->e820, range_between(MIB, ram), E820_RAM), 0);
	return guest;
}

static void guest_open_kernel(struct guest *guest)
{
	guest->file = memory_file_new(guest->image.bytes, guest->image.size);
	if (bzimage_open(&guest->kernel, guest->file.path, &guest->err) < 0)
		fail_msg("%s", guest->err.text);
}

static int guest_try(struct guest *guest)
{
	const struct linux_boot_request request = {
		.kernel = &guest->kernel,
		.initrd = &guest->initrd,
		.cmdline = guest->cmdline,
		.e820 = &guest->e820,
		.rsdp = RSDP,
		.device_tree = &guest->tree,
		.vmlinux = guest->vmlinux.segment_count > 0 ? &guest->vmlinux : NULL,
		.random = {guest->random[0], guest->random[1]},
		.window = guest->window,
	};

	if (guest->kernel.fd < 0)
		guest_open_kernel(guest);
	e820_seal(&guest->e820);
	guest->err = (struct error){0};
	return linux_boot_load(&guest->boot, &request, &guest->memory, &guest->err);
}

static void guest_load(struct guest *guest)
{
	if (guest_try(guest) != 0)
		fail_msg("%s", guest->err.text);
	assert_int_equal(guest->err.text[0], '\0');
}

static void guest_refused(struct guest *guest, int code, const char *text)
{
	assert_int_equal(guest_try(guest), code);
	assert_string_equal(guest->err.text, text);
	assert_int_equal(guest->err.status, EXIT_STATUS_IMAGE);
}

static void guest_free(struct guest *guest)
{
	guest_mem_release(&guest->memory);
	bzimage_release(&guest->kernel);
	if (guest->file.fd > 0)
		close(guest->file.fd);
	image_free(&guest->image);
	buf_release(&guest->tree);
	free(guest);
}

static const uint8_t *at(const struct guest *guest, uint64_t gpa, uint64_t size)
{
	const uint8_t *bytes = guest_mem_at(&guest->memory, gpa, size);

	assert_non_null(bytes);
	return bytes;
}

static const struct boot_params *zero_page(const struct guest *guest)
{
	_Static_assert(sizeof(struct boot_params) == 4096, "the zero page is a page");
	return (const void *)at(guest, guest->boot.zero_page, sizeof(struct boot_params));
}

static void assert_code_loaded(const struct guest *guest)
{
	const uint8_t *code = at(guest, guest->boot.entry, CODE_SIZE);

	for (size_t i = 0; i < CODE_SIZE; i++)
		assert_int_equal(code[i], code_byte(i));
}

/* -------------------------------------------------------------------------------------------- zero page */

static void zero_page_tells_all(void **state)
{
	struct guest *guest = guest_new(GIB);
	const struct boot_params *params;

	(void)state;
	guest->initrd.bytes = "initramfs";
	guest->initrd.size = 9;
	guest_load(guest);
	params = zero_page(guest);
	assert_true(params->acpi_rsdp_addr == RSDP);
	assert_int_equal(params->hdr.type_of_loader, 0xff);
	assert_int_equal(params->hdr.vid_mode, 0xffff);
	assert_true(params->hdr.ramdisk_image == (uint32_t)guest->boot.initrd.start);
	assert_int_equal(params->ext_ramdisk_image, 0);
	assert_int_equal(params->hdr.ramdisk_size, 9);
	assert_int_equal(params->ext_ramdisk_size, 0);
	assert_string_equal((const char *)at(guest, params->hdr.cmd_line_ptr, 20), "console=ttyS0 quiet");
	assert_int_equal(params->ext_cmd_line_ptr, 0);
	assert_true(params->hdr.setup_data == 0);
	assert_int_equal(params->e820_entries, 2);
	assert_true(params->e820_table[0].addr == 0 && params->e820_table[0].size == 0xa0000);
	assert_int_equal(params->e820_table[0].type, 1);
	assert_true(params->e820_table[1].addr == MIB && params->e820_table[1].size == GIB - MIB);
	assert_int_equal(params->e820_table[1].type, 1);
	/* the rest of the header is the kernel's own */
	assert_int_equal(params->hdr.boot_flag, 0xaa55);
	assert_int_equal(params->hdr.header, 0x53726448);
	assert_int_equal(params->hdr.version, 0x020f);
	assert_int_equal(params->hdr.loadflags, 1);
	assert_int_equal(params->hdr.xloadflags, 3);
	assert_int_equal(params->hdr.setup_sects, IMAGE_SETUP_SECTS);
	assert_true(params->hdr.pref_address == IMAGE_PREFERRED);
	assert_true(params->hdr.init_size == IMAGE_INIT_SIZE);
	guest_free(guest);
}

/* Outside of what is documented here, the page is zero: whatever else Linux finds there it believes. */
static void zero_page_holds_nothing_else(void **state)
{
	static const struct {
		size_t start, size;
	} USED[] = {{0x070, 8}, {0x1e8, 1}, {0x1f1, 0x268 - 0x1f1}, {0x2d0, 40}};
	struct guest *guest = guest_new(GIB);
	uint8_t page[4096];

	(void)state;
	/* what stands before and behind the header in the file is not the header */
	memset(guest->image.bytes, 0xa5, 0x1f1);
	memset(guest->image.bytes + 0x268, 0xa5, 0x100);
	guest_load(guest);
	memcpy(page, at(guest, guest->boot.zero_page, sizeof(page)), sizeof(page));
	for (size_t i = 0; i < sizeof(USED) / sizeof(USED[0]); i++)
		memset(page + USED[i].start, 0, USED[i].size);
	for (size_t i = 0; i < sizeof(page); i++)
		assert_int_equal(page[i], 0);
	guest_free(guest);
}

/* A kernel's file says nothing about this machine, whatever stands in these fields. */
static void a_kernel_does_not_fill_in_the_loaders_fields(void **state)
{
	struct guest *guest = guest_new(GIB);
	const struct boot_params *params;

	(void)state;
	image_put(&guest->image, 0x210, 0x21, 1);
	image_put(&guest->image, 0x218, 0x11223344, 4);
	image_put(&guest->image, 0x21c, 0x1000, 4);
	image_put(&guest->image, 0x228, 0x90000, 4);
	image_put(&guest->image, 0x250, UINT64_C(0xdead0000), 8);
	guest_load(guest);
	params = zero_page(guest);
	assert_int_equal(params->hdr.type_of_loader, 0xff);
	assert_int_equal(params->hdr.ramdisk_image, 0);
	assert_int_equal(params->hdr.ramdisk_size, 0);
	assert_int_equal(params->hdr.cmd_line_ptr, LINUX_BOOT_CMDLINE);
	assert_true(params->hdr.setup_data == 0);
	guest_free(guest);
}

/* ------------------------------------------------------------------------------------------------- E820 */

/* RAM below 1 MiB and above, then blocks of 2 MiB at 4 GiB that alternate in type and touch each other. */
static struct guest *guest_with_entries(size_t count)
{
	struct guest *guest = guest_new(64 * MIB);

	for (size_t i = 2; i < count; i++) {
		struct range range = {4 * GIB + (i - 2) * 2 * MIB, 2 * MIB};

		assert_int_equal(e820_add(&guest->e820, range, i % 2 != 0 ? E820_SOFT_RESERVED : E820_RESERVED), 0);
	}
	assert_int_equal(guest->e820.count, count);
	return guest;
}

static void assert_entry(const struct boot_e820_entry *entry, size_t i)
{
	if (i < 2)
		return;
	assert_true(entry->addr == 4 * GIB + (i - 2) * 2 * MIB);
	assert_true(entry->size == 2 * MIB);
	assert_true(entry->type == (i % 2 != 0 ? 0xefffffffu : 2u));
}

static void check_entries(size_t count)
{
	struct guest *guest = guest_with_entries(count);
	size_t in_page = count < 128 ? count : 128;
	const struct boot_params *params;
	const struct setup_data *data;

	guest_load(guest);
	params = zero_page(guest);
	assert_int_equal(params->e820_entries, in_page);
	for (size_t i = 0; i < in_page; i++)
		assert_entry(&params->e820_table[i], i);
	if (count <= 128) {
		assert_true(params->hdr.setup_data == 0);
		guest_free(guest);
		return;
	}
	data = (const void *)at(guest, params->hdr.setup_data, sizeof(*data));
	assert_true(data->next == 0);
	assert_int_equal(data->type, SETUP_E820_EXT);
	assert_int_equal(data->len, (count - 128) * sizeof(struct boot_e820_entry));
	for (size_t i = 128; i < count; i++) {
		uint64_t place = params->hdr.setup_data + sizeof(*data) + (i - 128) * sizeof(struct boot_e820_entry);

		assert_entry((const void *)at(guest, place, sizeof(struct boot_e820_entry)), i);
	}
	guest_free(guest);
}

static void many_entries_go_on_in_setup_data(void **state)
{
	static const size_t COUNTS[] = {2, 127, 128, 129, 130, 300, 1300, E820_ENTRIES_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(COUNTS) / sizeof(COUNTS[0]); i++)
		check_entries(COUNTS[i]);
}

/* --------------------------------------------------------------------------------------- command line */

static char *text_of(size_t length)
{
	char *text = malloc(length + 1);

	assert_non_null(text);
	memset(text, 'a', length);
	text[length] = '\0';
	return text;
}

static void the_kernel_bounds_its_command_line(void **state)
{
	struct guest *guest = guest_new(GIB);
	char *longest = text_of(IMAGE_CMDLINE_MAX), *longer = text_of(IMAGE_CMDLINE_MAX + 1);

	(void)state;
	guest->cmdline = longest;
	guest_load(guest);
	assert_string_equal((const char *)at(guest, LINUX_BOOT_CMDLINE, IMAGE_CMDLINE_MAX + 1), longest);
	guest->cmdline = longer;
	guest_refused(guest, -E2BIG,
		      "--append: the kernel's command line would have 2048 characters, this kernel takes at most "
		      "2047; shorten it");
	free(longest);
	free(longer);
	guest_free(guest);
}

/* A kernel may claim to take any length; the place for it ends all the same. */
static void the_place_bounds_the_command_line(void **state)
{
	struct guest *guest = guest_new(GIB);
	char *longest = text_of(0xffff), *longer = text_of(0x10000);

	(void)state;
	image_put(&guest->image, 0x238, 0xffffffff, 4);
	guest->cmdline = longest;
	guest_load(guest);
	assert_int_equal(*at(guest, LINUX_BOOT_CMDLINE + 0xfffe, 1), 'a');
	assert_int_equal(*at(guest, LINUX_BOOT_CMDLINE + 0xffff, 1), '\0');
	guest->cmdline = longer;
	guest_refused(guest, -E2BIG,
		      "--append: the kernel's command line would have 65536 characters, this kernel takes at most "
		      "65535; shorten it");
	free(longest);
	free(longer);
	guest_free(guest);
}

/* ----------------------------------------------------------------------------------------------- kernel */

static void the_kernel_goes_where_it_prefers(void **state)
{
	struct guest *guest = guest_new(GIB);

	(void)state;
	guest_load(guest);
	assert_true(guest->boot.kernel.start == IMAGE_PREFERRED);
	assert_true(guest->boot.kernel.size == IMAGE_INIT_SIZE);
	assert_true(guest->boot.entry == IMAGE_PREFERRED + 0x200);
	assert_code_loaded(guest);
	/* all of the code, and nothing of the setup: what is before the entry is the 32-bit one, zero in our image */
	for (size_t i = 0; i < 0x200; i++)
		assert_int_equal(*at(guest, IMAGE_PREFERRED + i, 1), 0);
	guest_free(guest);
}

static void check_relocated(uint64_t ram, uint64_t preferred, uint32_t alignment, uint64_t expected)
{
	struct guest *guest = guest_new(ram);

	image_put(&guest->image, 0x258, preferred, 8);
	image_put(&guest->image, 0x230, alignment, 4);
	guest_load(guest);
	assert_true(guest->boot.kernel.start == expected);
	assert_true(guest->boot.entry == expected + 0x200);
	assert_code_loaded(guest);
	guest_free(guest);
}

static void the_kernel_moves_when_it_must(void **state)
{
	(void)state;
	check_relocated(64 * MIB, 64 * MIB, 0x200000, 2 * MIB);       /* behind the end of RAM */
	check_relocated(64 * MIB, 62 * MIB, 0x200000, 2 * MIB);       /* across it */
	check_relocated(64 * MIB, 61 * MIB, 0x200000, 61 * MIB);      /* just below it */
	check_relocated(64 * MIB, 5 * GIB, 0x1000, MIB);              /* where the page tables do not reach */
	check_relocated(64 * MIB, 0, 4096, MIB);                      /* where the zero page is */
	check_relocated(64 * MIB, 0x90000, 0x1000000, 16 * MIB);      /* across the legacy hole */
	check_relocated(64 * MIB, UINT64_MAX & ~0xfffull, 4096, MIB); /* an address whose end wraps */
	check_relocated(64 * MIB, UINT64_C(3) << 30, 0x400000, 4 * MIB);
}

/* RAM is in pieces: the first one that is large enough is taken. */
static void the_kernel_looks_for_a_piece_that_holds_it(void **state)
{
	struct guest *guest = guest_new(64 * MIB);

	(void)state;
	assert_int_equal(e820_carve(&guest->e820, (struct range){3 * MIB, MIB}, E820_RESERVED), 0);
	assert_int_equal(e820_carve(&guest->e820, (struct range){16 * MIB, MIB}, E820_ACPI), 0);
	guest_load(guest);
	assert_true(guest->boot.kernel.start == 4 * MIB);
	assert_code_loaded(guest);
	guest_free(guest);
}

static void a_kernel_that_cannot_move_is_refused(void **state)
{
	struct guest *guest = guest_new(64 * MIB);
	char text[200];

	(void)state;
	image_put(&guest->image, 0x234, 0, 1);
	image_put(&guest->image, 0x258, 128 * MIB, 8);
	guest_open_kernel(guest);
	snprintf(text, sizeof(text),
		 "--kernel %s: needs 3 MiB of RAM in one piece to unpack itself; give the guest more, such as --mem "
		 "128M",
		 guest->file.path);
	guest_refused(guest, -ENOSPC, text);
	guest_free(guest);
}

/* The figure that a message gives must be one that does. */
static uint64_t advised(const struct guest *guest)
{
	const char *mem = strstr(guest->err.text, "such as --mem ");
	char *end;
	uint64_t mib;

	assert_non_null(mem);
	mib = strtoull(mem + strlen("such as --mem "), &end, 10);
	assert_string_equal(end, "M");
	return mib * MIB;
}

static void advice_for_a_large_kernel_is_good(void **state)
{
	struct prng prng = prng_new("advice_for_a_large_kernel_is_good");

	(void)state;
	for (int round = 0; round < 100; round++) {
		uint32_t init_size = (uint32_t)(64 * MIB + prng_below(&prng, GIB));
		struct guest *guest = guest_new(64 * MIB);
		uint64_t more;

		image_put(&guest->image, 0x260, init_size, 4);
		assert_int_equal(guest_try(guest), -ENOSPC);
		assert_int_equal(guest->err.status, EXIT_STATUS_IMAGE);
		more = advised(guest);
		guest_free(guest);
		guest = guest_new(more < 3 * GIB ? more : 3 * GIB);
		image_put(&guest->image, 0x260, init_size, 4);
		guest_load(guest);
		assert_true(guest->boot.kernel.size == init_size);
		guest_free(guest);
	}
}

/* ----------------------------------------------------------------------------------------------- initrd */

static void an_initrd_from_memory_goes_to_the_top(void **state)
{
	struct guest *guest = guest_new(GIB);
	uint8_t bytes[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 5 + 1);
	guest->initrd.bytes = bytes;
	guest->initrd.size = sizeof(bytes);
	guest_load(guest);
	assert_true(guest->boot.initrd.start == GIB - 8192);
	assert_int_equal(guest->boot.initrd.size, sizeof(bytes));
	assert_memory_equal(at(guest, GIB - 8192, sizeof(bytes)), bytes, sizeof(bytes));
	assert_int_equal(*at(guest, GIB - 8192 + sizeof(bytes), 1), 0);
	assert_int_equal(zero_page(guest)->hdr.ramdisk_image, GIB - 8192);
	guest_free(guest);
}

/* What is in the archive's buffer, and a file in between, straight from it to its place. */
static void an_initrd_from_an_archive_is_put_together(void **state)
{
	struct guest *guest = guest_new(GIB);
	struct archive archive = {0};
	struct memory_file file;
	uint8_t bytes[4097];

	(void)state;
	memset(bytes, 0x5a, sizeof(bytes));
	file = memory_file_new(bytes, sizeof(bytes));
	buf_text(&archive.bytes, "head");
	assert_int_equal(archive_add_part(&archive, file.path, sizeof(bytes)), 0);
	buf_text(&archive.bytes, "tail");
	guest->initrd.archive = &archive;
	guest->initrd.size = archive_size(&archive);
	assert_int_equal(guest->initrd.size, 4 + 4100 + 4);
	memset(guest_mem_at(&guest->memory, GIB - 8192, 8192), 0xa5, 8192); /* a file's memory need not be zero */
	guest_load(guest);
	assert_true(guest->boot.initrd.start == GIB - 8192);
	assert_memory_equal(at(guest, GIB - 8192, 5), "head\x5a", 5);
	assert_memory_equal(at(guest, GIB - 8192 + 4 + 4096, 8), "\x5a\0\0\0tail", 8);
	archive_release(&archive);
	archive_release(NULL);
	close(file.fd);
	guest_free(guest);
}

/* From its first byte, wherever the descriptor stands. */
static void an_initrd_from_a_file_is_the_same(void **state)
{
	struct guest *guest = guest_new(GIB);
	uint8_t bytes[5000];
	struct memory_file file;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 5 + 1);
	file = memory_file_new(bytes, sizeof(bytes));
	assert_int_equal(lseek(file.fd, 100, SEEK_SET), 100);
	guest->initrd.fd = file.fd;
	guest->initrd.size = sizeof(bytes);
	guest_load(guest);
	assert_memory_equal(at(guest, GIB - 8192, sizeof(bytes)), bytes, sizeof(bytes));
	close(file.fd);
	guest_free(guest);
}

static void an_initrd_that_shrinks_is_an_error(void **state)
{
	struct guest *guest = guest_new(GIB);
	struct memory_file file = memory_file_new("abc", 3);

	(void)state;
	guest->initrd.fd = file.fd;
	guest->initrd.size = 4;
	guest_refused(guest, -EIO, "--initrd: cannot read: Input/output error");
	close(file.fd);
	guest_free(guest);
}

static void a_kernel_that_shrinks_is_an_error(void **state)
{
	struct guest *guest = guest_new(GIB);
	char text[100];

	(void)state;
	guest_open_kernel(guest);
	assert_int_equal(ftruncate(guest->file.fd, (off_t)guest->image.size - 1), 0);
	snprintf(text, sizeof(text), "--kernel %s: cannot read: Input/output error", guest->file.path);
	guest_refused(guest, -EIO, text);
	guest_free(guest);
}

static void no_initrd_is_no_initrd(void **state)
{
	struct guest *guest = guest_new(GIB);

	(void)state;
	guest_load(guest);
	assert_true(guest->boot.initrd.start == 0 && guest->boot.initrd.size == 0);
	assert_int_equal(zero_page(guest)->hdr.ramdisk_image, 0);
	assert_int_equal(zero_page(guest)->hdr.ramdisk_size, 0);
	guest_free(guest);
}

/* An old kernel says how high its initrd may lie. */
static void the_kernel_bounds_its_initrd(void **state)
{
	static const struct {
		uint64_t highest;
		uint16_t xloadflags;
		uint64_t expected;
	} CASES[] = {
		{0x37ffffff, 1, 0x38000000 - 4096},
		{0x37ffefff, 1, 0x37fff000 - 4096},
		{0x37ffffff, 3, GIB - 4096},
		{0xffffffff, 1, GIB - 4096},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		struct guest *guest = guest_new(GIB);

		image_put(&guest->image, 0x22c, CASES[i].highest, 4);
		image_put(&guest->image, 0x236, CASES[i].xloadflags, 2);
		guest->initrd.bytes = "x";
		guest->initrd.size = 1;
		guest_load(guest);
		assert_true(guest->boot.initrd.start == CASES[i].expected);
		guest_free(guest);
	}
}

/* More RAM than lies below the hole: everything is loaded below it, where the page tables reach and nothing else is. */
static void nothing_is_loaded_above_the_hole(void **state)
{
	struct guest *guest = guest_new(3 * GIB);

	(void)state;
	assert_int_equal(e820_add(&guest->e820, (struct range){4 * GIB, 8 * GIB}, E820_RAM), 0);
	guest->initrd.bytes = "x";
	guest->initrd.size = 1;
	guest_load(guest);
	assert_true(guest->boot.initrd.start == 3 * GIB - 4096);
	guest_free(guest);
}

/* 64 MiB of RAM and 3 MiB of kernel at 16 MiB leave 45 MiB above it. */
static void an_initrd_fits_to_the_byte(void **state)
{
	const uint64_t room = 64 * MIB - IMAGE_PREFERRED - IMAGE_INIT_SIZE;
	struct guest *guest = guest_new(64 * MIB);
	struct memory_file file = memory_file_new("", 0);

	(void)state;
	assert_int_equal(ftruncate(file.fd, 64 * MIB), 0);
	guest->initrd.fd = file.fd;
	guest->initrd.size = room;
	guest_load(guest);
	assert_true(guest->boot.initrd.start == range_end(guest->boot.kernel));
	assert_code_loaded(guest);
	guest->initrd.size = room + 1;
	guest_refused(guest, -ENOSPC,
		      "--initrd: 46 MiB do not fit in RAM below 3072 MiB beside the kernel's 3 MiB; give the guest "
		      "more, such as --mem 192M");
	close(file.fd);
	guest_free(guest);
}

static void advice_for_a_large_initrd_is_good(void **state)
{
	struct prng prng = prng_new("advice_for_a_large_initrd_is_good");
	struct memory_file file = memory_file_new("", 0);

	(void)state;
	assert_int_equal(ftruncate(file.fd, 256 * MIB), 0);
	for (int round = 0; round < 20; round++) {
		uint64_t size = 46 * MIB + prng_below(&prng, 128 * MIB);
		struct guest *guest = guest_new(64 * MIB);
		uint64_t more;

		guest->initrd.fd = file.fd;
		guest->initrd.size = size;
		assert_int_equal(guest_try(guest), -ENOSPC);
		more = advised(guest);
		guest_free(guest);
		guest = guest_new(more);
		guest->initrd.fd = file.fd;
		guest->initrd.size = size;
		guest_load(guest);
		guest_free(guest);
	}
	close(file.fd);
}

/* ------------------------------------------------------------------------------------------ device tree */

/* The loader does not look into it: any bytes do. */
static void give_tree(struct guest *guest, size_t size)
{
	for (size_t i = 0; i < size; i++)
		buf_u8(&guest->tree, (uint8_t)(i * 11 + 5));
	assert_false(buf_failed(&guest->tree));
}

static void assert_tree_at(const struct guest *guest, uint64_t start)
{
	const struct setup_data *data = (const void *)at(guest, start, sizeof(*data) + guest->tree.size);

	assert_true(guest->boot.device_tree.start == start);
	assert_true(guest->boot.device_tree.size == sizeof(*data) + guest->tree.size);
	assert_true(data->next == 0);
	assert_int_equal(data->type, SETUP_DTB);
	assert_int_equal(data->len, guest->tree.size);
	assert_memory_equal(data->data, guest->tree.data, guest->tree.size);
}

static void a_device_tree_goes_behind_the_kernel(void **state)
{
	struct guest *guest = guest_new(GIB);

	(void)state;
	give_tree(guest, 5000);
	guest_load(guest);
	assert_tree_at(guest, IMAGE_PREFERRED + IMAGE_INIT_SIZE);
	assert_true(zero_page(guest)->hdr.setup_data == guest->boot.device_tree.start);
	assert_code_loaded(guest);
	guest_free(guest);
}

/* From the start of a page on, and wholly in one piece of RAM. */
static void a_device_tree_goes_to_ram(void **state)
{
	const uint64_t end = IMAGE_PREFERRED + IMAGE_INIT_SIZE;
	struct guest *guest = guest_new(GIB);

	(void)state;
	/* two pages, then one that is no RAM, then one and a half, then what is no RAM up to the middle of a page */
	assert_int_equal(e820_carve(&guest->e820, (struct range){end + 0x2000, 0x1000}, E820_RESERVED), 0);
	assert_int_equal(e820_carve(&guest->e820, (struct range){end + 0x4800, 0x1000}, E820_ACPI), 0);
	give_tree(guest, 0x2000 - 15);
	guest_load(guest);
	assert_tree_at(guest, end + 0x6000);
	guest->tree.size--;
	guest_load(guest);
	assert_tree_at(guest, end);
	guest_free(guest);
}

static void a_device_tree_follows_the_rest_of_the_map(void **state)
{
	struct guest *guest = guest_with_entries(300);
	const struct setup_data *data;

	(void)state;
	give_tree(guest, 70000); /* more than the first piece of setup_data has room for */
	guest_load(guest);
	data = (const void *)at(guest, zero_page(guest)->hdr.setup_data, sizeof(*data));
	assert_int_equal(data->type, SETUP_E820_EXT);
	assert_int_equal(data->len, (300 - 128) * sizeof(struct boot_e820_entry));
	assert_true(data->next == guest->boot.device_tree.start);
	assert_tree_at(guest, data->next);
	guest_free(guest);
}

/* Between kernel and initrd it fits to the byte; what cannot be is refused with the size that does. */
static void a_device_tree_stays_below_the_initrd(void **state)
{
	const uint64_t room = 64 * MIB - IMAGE_PREFERRED - IMAGE_INIT_SIZE;
	struct memory_file file = memory_file_new("", 0);
	struct guest *guest = guest_new(64 * MIB);
	uint64_t more;

	(void)state;
	assert_int_equal(ftruncate(file.fd, 64 * MIB), 0);
	guest->initrd.fd = file.fd;
	guest->initrd.size = room - 8192;
	give_tree(guest, 8192 - 16);
	guest_load(guest);
	assert_tree_at(guest, IMAGE_PREFERRED + IMAGE_INIT_SIZE);
	assert_true(range_end(guest->boot.device_tree) == guest->boot.initrd.start);
	give_tree(guest, 1);
	guest_refused(
		guest, -ENOSPC,
		"the device tree: 9 KiB do not fit in RAM between the kernel's 3 MiB and the initrd's 45 MiB; give "
		"the guest more, such as --mem 192M");
	more = advised(guest);
	guest_free(guest);
	guest = guest_new(more);
	guest->initrd.fd = file.fd;
	guest->initrd.size = room - 8192;
	give_tree(guest, 8192);
	guest_load(guest);
	close(file.fd);
	guest_free(guest);
}

/* --------------------------------------------------------------------------------------------- unpacked */

static struct guest *guest_unpacked(uint64_t ram)
{
	struct guest *guest = guest_new(ram);

	kernel_write(guest->unpacked);
	if (vmlinux_parse(&guest->vmlinux, guest->unpacked, KERNEL_FILE_SIZE, IMAGE_INIT_SIZE, &guest->err) < 0)
		fail_msg("%s", guest->err.text);
	return guest;
}

/* Its text is where it says, and its addresses are those that it runs at. */
static void assert_unpacked(const struct guest *guest)
{
	const uint64_t start = guest->boot.kernel.start;
	uint64_t wide;

	assert_null(guest->boot.no_unpack);
	assert_true(guest->boot.entry == start + KERNEL_ENTRY);
	assert_true(guest->boot.kernel.size == IMAGE_INIT_SIZE);
	assert_int_equal(*at(guest, start + KERNEL_ENTRY, 1), kernel_text_byte(KERNEL_ENTRY));
	memcpy(&wide, at(guest, start + KERNEL_WIDE, 8), 8);
	assert_true(wide == guest->boot.virtual + 0x123);
}

static void assert_packed(const struct guest *guest)
{
	assert_non_null(guest->boot.no_unpack);
	assert_true(guest->boot.virtual == 0);
	assert_false(guest->boot.random);
	assert_true(guest->boot.entry == guest->boot.kernel.start + 0x200);
	assert_code_loaded(guest);
}

static void an_unpacked_kernel_goes_where_it_was_linked_for(void **state)
{
	struct guest *guest = guest_unpacked(GIB);

	(void)state;
	guest->cmdline = "quiet nokaslr";
	guest->random[0] = guest->random[1] = 5;
	/* a kernel's file cannot say that its addresses are random */
	image_put(&guest->image, 0x211, 0x03, 1);
	guest_load(guest);
	assert_unpacked(guest);
	assert_true(guest->boot.kernel.start == KERNEL_PHYSICAL);
	assert_true(guest->boot.virtual == KERNEL_VIRTUAL);
	assert_false(guest->boot.random);
	assert_int_equal(zero_page(guest)->hdr.loadflags, LOADED_HIGH);
	guest_free(guest);
}

static void an_unpacked_kernel_goes_anywhere(void **state)
{
	struct guest *guest = guest_unpacked(GIB);

	(void)state;
	guest->random[0] = 3;
	guest->random[1] = 7;
	guest_load(guest);
	assert_unpacked(guest);
	assert_true(guest->boot.kernel.start == KERNEL_PHYSICAL + 3 * 2 * MIB);
	assert_true(guest->boot.virtual == KERNEL_VIRTUAL + 7 * 2 * MIB);
	assert_int_equal(zero_page(guest)->hdr.loadflags, LOADED_HIGH | KASLR_FLAG);
	/* two draws are two places */
	guest->random[0] = UINT64_MAX;
	guest_load(guest);
	assert_unpacked(guest);
	assert_false(guest->boot.kernel.start == KERNEL_PHYSICAL + 3 * 2 * MIB);
	guest_free(guest);
}

/* What Linux would weigh when it chooses by itself, we do not: then the physical address is not random. */
static void options_about_memory_fix_the_physical_address(void **state)
{
	struct guest *guest = guest_unpacked(GIB);

	(void)state;
	guest->cmdline = "mem=512M";
	guest->random[0] = guest->random[1] = 5;
	guest_load(guest);
	assert_unpacked(guest);
	assert_true(guest->boot.kernel.start == KERNEL_PHYSICAL);
	assert_true(guest->boot.virtual == KERNEL_VIRTUAL + 10 * MIB);
	assert_true(guest->boot.random && !guest->boot.random_physical);
	guest_free(guest);
}

static void a_kernel_without_relocations_stays(void **state)
{
	struct guest *guest = guest_unpacked(64 * MIB);

	(void)state;
	guest->random[0] = guest->random[1] = 5;
	guest->vmlinux.relocations = (struct relocations){0};
	guest_load(guest);
	assert_unpacked(guest);
	assert_true(guest->boot.kernel.start == KERNEL_PHYSICAL && guest->boot.virtual == KERNEL_VIRTUAL);
	assert_false(guest->boot.random);
	/* unless its place is no RAM: physically it can move */
	guest_free(guest);
	guest = guest_unpacked(64 * MIB);
	guest->vmlinux.relocations = (struct relocations){0};
	assert_int_equal(e820_carve(&guest->e820, (struct range){18 * MIB, MIB}, E820_RESERVED), 0);
	guest_load(guest);
	assert_unpacked(guest);
	assert_true(guest->boot.kernel.start == 20 * MIB && guest->boot.virtual == KERNEL_VIRTUAL);
	guest_free(guest);
}

/* Maps, initrds and trees of all kinds: nothing lies on anything else, and all of it in RAM. */
static void what_is_loaded_never_overlaps(void **state)
{
	struct prng prng = prng_new("what_is_loaded_never_overlaps");
	struct memory_file file = memory_file_new("", 0);
	uint64_t lowest = UINT64_MAX, highest = 0, unpacked = 0;

	(void)state;
	assert_int_equal(ftruncate(file.fd, 64 * MIB), 0);
	for (int round = 0; round < 400; round++) {
		struct guest *guest = guest_unpacked(64 * MIB);
		const struct linux_boot *boot = &guest->boot;

		guest->initrd.fd = file.fd;
		guest->initrd.size = prng_below(&prng, 30 * MIB);
		if (prng_below(&prng, 2) != 0)
			give_tree(guest, 1 + (size_t)prng_below(&prng, MIB));
		if (prng_below(&prng, 2) != 0)
			e820_carve(&guest->e820,
				   (struct range){MIB + 4096 * prng_below(&prng, 16000), 4096 * prng_below(&prng, 900)},
				   prng_below(&prng, 2) != 0 ? E820_SOFT_RESERVED : E820_ACPI);
		guest->random[0] = prng_next(&prng);
		guest->random[1] = prng_next(&prng);
		if (guest_try(guest) < 0) {
			/* that is no fault of the place that was chosen: packed it does not fit either */
			guest->vmlinux.segment_count = 0;
			assert_true(guest_try(guest) < 0);
			guest_free(guest);
			continue;
		}
		assert_false(range_overlaps(boot->kernel, boot->initrd));
		assert_false(range_overlaps(boot->kernel, boot->device_tree));
		assert_false(range_overlaps(boot->initrd, boot->device_tree));
		assert_true(e820_is_ram(&guest->e820, boot->kernel));
		if (boot->no_unpack == NULL) {
			unpacked++;
			assert_unpacked(guest);
			assert_true(is_aligned(boot->kernel.start, 2 * MIB) && is_aligned(boot->virtual, 2 * MIB));
			lowest = boot->kernel.start < lowest ? boot->kernel.start : lowest;
			highest = boot->kernel.start > highest ? boot->kernel.start : highest;
		}
		guest_free(guest);
	}
	assert_true(unpacked > 300);
	assert_true(lowest == KERNEL_PHYSICAL);
	assert_true(highest >= 56 * MIB); /* 58 is the most with an initrd */
	close(file.fd);
}

static void a_kernel_that_fits_nowhere_unpacks_itself(void **state)
{
	struct guest *guest = guest_unpacked(64 * MIB);

	(void)state;
	assert_int_equal(e820_carve(&guest->e820, (struct range){18 * MIB, 45 * MIB}, E820_RESERVED), 0);
	guest_load(guest);
	assert_packed(guest);
	guest_free(guest);
	/* nor can one that may not move */
	guest = guest_unpacked(64 * MIB);
	image_put(&guest->image, 0x234, 0, 1);
	image_put(&guest->image, 0x258, 32 * MIB, 8);
	assert_int_equal(e820_carve(&guest->e820, (struct range){18 * MIB, MIB}, E820_RESERVED), 0);
	guest_load(guest);
	assert_packed(guest);
	assert_true(guest->boot.kernel.start == 32 * MIB);
	guest_free(guest);
}

/* Only the kernel's own unpacker turns 5-level paging on. */
static void beyond_64_tib_a_kernel_unpacks_itself(void **state)
{
	struct guest *guest = guest_unpacked(64 * MIB);

	(void)state;
	guest->window = range_between(4 * GIB, 64 * TIB);
	guest_load(guest);
	assert_unpacked(guest);
	guest->window.size++;
	guest_load(guest);
	assert_packed(guest);
	guest->window.size = 0;
	guest->e820.sealed = false;
	assert_int_equal(e820_add(&guest->e820, (struct range){64 * TIB - GIB, GIB}, E820_SOFT_RESERVED), 0);
	guest_load(guest);
	assert_unpacked(guest);
	guest->e820.sealed = false;
	assert_int_equal(e820_add(&guest->e820, (struct range){64 * TIB, GIB}, E820_SOFT_RESERVED), 0);
	guest_load(guest);
	assert_packed(guest);
	guest_free(guest);
}

/* ----------------------------------------------------------------------------- page tables, first MiB */

static uint64_t entry_at(const struct guest *guest, uint64_t table, uint64_t index)
{
	uint64_t entry;

	memcpy(&entry, at(guest, table + index * 8, 8), 8);
	return entry;
}

/* As the processor walks (Intel SDM vol. 3 §4.5); fails the test where it would fault. */
static uint64_t walk(const struct guest *guest, uint64_t address)
{
	const uint64_t FRAME = UINT64_C(0x000ffffffffff000);
	uint64_t pml4e = entry_at(guest, guest->boot.page_table, address >> 39 & 511), pdpte, pde;

	assert_int_equal(pml4e & 0xfff, 3);
	pdpte = entry_at(guest, pml4e & FRAME, address >> 30 & 511);
	assert_int_equal(pdpte & 0xfff, 3);
	pde = entry_at(guest, pdpte & FRAME, address >> 21 & 511);
	assert_int_equal(pde & 0x1fffff, 0x83);
	return (pde & FRAME) + (address & 0x1fffff);
}

static void four_gib_are_mapped_one_to_one(void **state)
{
	struct guest *guest = guest_new(GIB);
	uint64_t pdpt;

	(void)state;
	guest_load(guest);
	for (uint64_t address = 0; address < 4 * GIB; address += 2 * MIB) {
		assert_true(walk(guest, address) == address);
		assert_true(walk(guest, address + 2 * MIB - 1) == address + 2 * MIB - 1);
	}
	pdpt = entry_at(guest, guest->boot.page_table, 0) & ~UINT64_C(0xfff);
	for (uint64_t i = 1; i < 512; i++)
		assert_true(entry_at(guest, guest->boot.page_table, i) == 0);
	for (uint64_t i = 4; i < 512; i++)
		assert_true(entry_at(guest, pdpt, i) == 0);
	guest_free(guest);
}

static void the_first_mib_is_as_documented(void **state)
{
	static const struct range USED[] = {
		{LINUX_BOOT_ZERO_PAGE, 4096},
		{LINUX_BOOT_PAGE_TABLES, 6 * 4096},
		{LINUX_BOOT_SETUP_DATA, LINUX_BOOT_AREA_SIZE},
		{LINUX_BOOT_CMDLINE, LINUX_BOOT_AREA_SIZE},
	};
	struct guest *guest = guest_with_entries(300);

	(void)state;
	guest->initrd.bytes = "x";
	guest->initrd.size = 1;
	guest_load(guest);
	assert_true(guest->boot.zero_page == 0x7000 && guest->boot.stack == 0x8ff0);
	assert_true(guest->boot.page_table == 0x9000);
	for (uint64_t gpa = 0; gpa < MIB; gpa++) {
		bool used = false;

		for (size_t i = 0; i < sizeof(USED) / sizeof(USED[0]); i++)
			used = used || range_holds(USED[i], gpa);
		if (!used && *at(guest, gpa, 1) != 0)
			fail_msg("a byte at 0x%" PRIx64 " was written", gpa);
	}
	for (size_t i = 0; i < sizeof(USED) / sizeof(USED[0]); i++) {
		assert_false(range_holds(USED[i], guest->boot.stack - 1));
		assert_true(range_end(USED[i]) <= 0xa0000);
		for (size_t j = 0; j < i; j++)
			assert_false(range_overlaps(USED[i], USED[j]));
	}
	guest_free(guest);
}

/* A map that promises RAM which is not there is our own fault, and is said to be. */
static void ram_that_is_not_there_is_an_internal_error(void **state)
{
	struct guest *guest = guest_new(64 * MIB);

	(void)state;
	assert_int_equal(e820_add(&guest->e820, (struct range){64 * MIB, GIB}, E820_RAM), 0);
	guest->initrd.bytes = "x";
	guest->initrd.size = 1;
	assert_int_equal(guest_try(guest), -EFAULT);
	assert_string_equal(guest->err.text, "the initrd's place is not in guest memory");
	assert_int_equal(guest->err.status, EXIT_STATUS_INTERNAL);
	guest->kernel.preferred_address = 128 * MIB;
	assert_int_equal(guest_try(guest), -EFAULT);
	assert_string_equal(guest->err.text, "the kernel's place is not in guest memory");
	guest_mem_release(&guest->memory);
	assert_int_equal(guest_try(guest), -EFAULT);
	assert_string_equal(guest->err.text, "the command line's place is not in guest memory");
	assert_int_equal(guest->err.status, EXIT_STATUS_INTERNAL);
	guest_free(guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zero_page_tells_all),
		cmocka_unit_test(zero_page_holds_nothing_else),
		cmocka_unit_test(a_kernel_does_not_fill_in_the_loaders_fields),
		cmocka_unit_test(many_entries_go_on_in_setup_data),
		cmocka_unit_test(the_kernel_bounds_its_command_line),
		cmocka_unit_test(the_place_bounds_the_command_line),
		cmocka_unit_test(the_kernel_goes_where_it_prefers),
		cmocka_unit_test(the_kernel_moves_when_it_must),
		cmocka_unit_test(the_kernel_looks_for_a_piece_that_holds_it),
		cmocka_unit_test(a_kernel_that_cannot_move_is_refused),
		cmocka_unit_test(advice_for_a_large_kernel_is_good),
		cmocka_unit_test(an_initrd_from_memory_goes_to_the_top),
		cmocka_unit_test(an_initrd_from_an_archive_is_put_together),
		cmocka_unit_test(an_initrd_from_a_file_is_the_same),
		cmocka_unit_test(an_initrd_that_shrinks_is_an_error),
		cmocka_unit_test(a_kernel_that_shrinks_is_an_error),
		cmocka_unit_test(no_initrd_is_no_initrd),
		cmocka_unit_test(the_kernel_bounds_its_initrd),
		cmocka_unit_test(nothing_is_loaded_above_the_hole),
		cmocka_unit_test(an_initrd_fits_to_the_byte),
		cmocka_unit_test(advice_for_a_large_initrd_is_good),
		cmocka_unit_test(a_device_tree_goes_behind_the_kernel),
		cmocka_unit_test(a_device_tree_goes_to_ram),
		cmocka_unit_test(a_device_tree_follows_the_rest_of_the_map),
		cmocka_unit_test(a_device_tree_stays_below_the_initrd),
		cmocka_unit_test(an_unpacked_kernel_goes_where_it_was_linked_for),
		cmocka_unit_test(an_unpacked_kernel_goes_anywhere),
		cmocka_unit_test(options_about_memory_fix_the_physical_address),
		cmocka_unit_test(a_kernel_without_relocations_stays),
		cmocka_unit_test(what_is_loaded_never_overlaps),
		cmocka_unit_test(a_kernel_that_fits_nowhere_unpacks_itself),
		cmocka_unit_test(beyond_64_tib_a_kernel_unpacks_itself),
		cmocka_unit_test(four_gib_are_mapped_one_to_one),
		cmocka_unit_test(the_first_mib_is_as_documented),
		cmocka_unit_test(ram_that_is_not_there_is_an_internal_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
