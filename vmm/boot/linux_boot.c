/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/linux_boot.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "vmm/base/io.h"
#include "vmm/boot/kaslr.h"

/* Offsets in the zero page (zero-page.rst) and, from 0x1f1 on, in the setup header (boot.rst). */
enum {
	ACPI_RSDP_ADDR = 0x070,
	EXT_RAMDISK_IMAGE = 0x0c0,
	EXT_RAMDISK_SIZE = 0x0c4,
	EXT_CMD_LINE_PTR = 0x0c8,
	E820_ENTRIES = 0x1e8,
	VID_MODE = 0x1fa,
	TYPE_OF_LOADER = 0x210,
	LOADFLAGS = 0x211,
	RAMDISK_IMAGE = 0x218,
	RAMDISK_SIZE = 0x21c,
	CMD_LINE_PTR = 0x228,
	SETUP_DATA = 0x250,
	E820_TABLE = 0x2d0,
	ZERO_PAGE_SIZE = 0x1000
};

enum {
	E820_ENTRIES_IN_ZERO_PAGE = 128, /* E820_MAX_ENTRIES_ZEROPAGE */
	SETUP_E820_EXT = 1,              /* setup_data types (asm/bootparam.h) */
	SETUP_DTB = 2,
	SETUP_DATA_HEADER = 16,  /* next, type, length */
	LOADER_UNDEFINED = 0xff, /* type_of_loader; with 0 Linux ignores the initrd */
	KASLR_FLAG = 1 << 1,     /* loadflags: set by who unpacks the kernel when its addresses are random */
	VID_MODE_NORMAL = 0xffff,
	ENTRY_64 = 0x200, /* the 64-bit entry, behind the start of the protected-mode code */
};

#define LOAD_LIMIT UINT64_C(0xc0000000) /* everything is loaded below the 32-bit hole, where the page tables reach */

#define MEMORY_OF_4_LEVELS (64 * TIB) /* MAX_PHYSMEM_BITS without LA57 */

static void put(uint8_t *page, size_t offset, uint64_t value, size_t width)
{
	for (size_t i = 0; i < width; i++)
		page[offset + i] = (uint8_t)(value >> (8 * i));
}

static uint64_t mib_up(uint64_t bytes)
{
	return (bytes + MIB - 1) / MIB;
}

static int load_kernel(struct linux_boot *boot, const struct bzimage *kernel, const struct e820_table *e820,
		       const struct guest_mem *mem, struct error *err)
{
	struct range range = {kernel->preferred_address, kernel->init_size};
	void *at;
	int code;

	/* below 1 MiB it would lie on what this file puts there */
	if (range.start < MIB || range.start > LOAD_LIMIT || range_end(range) > LOAD_LIMIT ||
	    !e820_is_ram(e820, range)) {
		if (!kernel->relocatable || e820_find_ram_within(e820, range_between(MIB, LOAD_LIMIT), range.size,
								 kernel->alignment, &range.start) < 0)
			return error_set(err, EXIT_STATUS_IMAGE, ENOSPC,
					 "--kernel %s: needs %llu MiB of RAM in one piece to unpack itself; give the "
					 "guest more, such as --mem %lluM",
					 kernel->path, (unsigned long long)mib_up(range.size),
					 (unsigned long long)align_up(2 * mib_up(range.size) + 64, 64));
	}
	at = guest_mem_at(mem, range.start, range.size);
	if (at == NULL)
		return error_set(err, EXIT_STATUS_INTERNAL, EFAULT, "the kernel's place is not in guest memory");
	code = io_pread_mapped(kernel->fd, at, (size_t)kernel->code_size, kernel->code_offset);
	if (code < 0)
		return error_set(err, EXIT_STATUS_IMAGE, -code, "--kernel %s: cannot read: %s", kernel->path,
				 strerror(-code));
	boot->kernel = range;
	boot->entry = range.start + ENTRY_64;
	return 0;
}

/* As high as the kernel takes it. */
static int place_initrd(const struct bzimage *kernel, const struct linux_initrd *initrd, const struct e820_table *e820,
			uint64_t *limit, uint64_t *start)
{
	*limit = kernel->initrd_above_4g || kernel->initrd_limit > LOAD_LIMIT ? LOAD_LIMIT : kernel->initrd_limit;
	return e820_find_ram_below(e820, *limit, initrd->size, 4096, start);
}

/* -ENOENT, and boot->no_unpack says why, when the kernel has to unpack itself. */
static int place_unpacked(struct linux_boot *boot, const struct linux_boot_request *request, struct kaslr_place *place)
{
	const struct bzimage *kernel = request->kernel;
	const struct e820_table *e820 = request->e820;
	const struct buf *tree = request->device_tree;
	struct kaslr_request choice = {
		.vmlinux = request->vmlinux,
		.e820 = e820,
		.cmdline = request->cmdline,
		.size = align_up(kernel->init_size, VMLINUX_ALIGNMENT), /* its last 2 MiB page is mapped as a whole */
		.behind = tree != NULL && tree->size > 0 ? SETUP_DATA_HEADER + tree->size : 0,
		.alignment = kernel->alignment,
		.limit = LOAD_LIMIT,
		.relocatable = kernel->relocatable,
		.random = {request->random[0], request->random[1]},
	};
	uint64_t initrd, ignored;

	if ((e820->count > 0 && range_end(e820->entries[e820->count - 1].range) > MEMORY_OF_4_LEVELS) ||
	    range_end(request->window) > MEMORY_OF_4_LEVELS) {
		boot->no_unpack = "memory beyond 64 TiB takes 5-level paging, which only its own unpacker turns on";
		return -ENOENT;
	}
	/* what the initrd and the device tree need is kept for them */
	if (request->initrd->size > 0 && place_initrd(kernel, request->initrd, e820, &ignored, &initrd) == 0)
		choice.limit = initrd;
	if (kaslr_choose(&choice, place) == 0)
		return 0;
	boot->no_unpack = "no place in RAM between the address that it was linked for and the initrd";
	return -ENOENT;
}

static int load_unpacked(struct linux_boot *boot, const struct linux_boot_request *request, const struct guest_mem *mem,
			 struct error *err)
{
	const struct vmlinux *vmlinux = request->vmlinux;
	struct kaslr_place place;
	void *at;
	int code = place_unpacked(boot, request, &place);

	if (code < 0)
		return code;
	boot->kernel = (struct range){place.physical, request->kernel->init_size};
	at = guest_mem_at(mem, boot->kernel.start, boot->kernel.size);
	if (at == NULL)
		return error_set(err, EXIT_STATUS_INTERNAL, EFAULT, "the kernel's place is not in guest memory");
	vmlinux_load(vmlinux, at, request->zeroed, place.delta);
	boot->entry = place.physical + vmlinux->entry;
	boot->virtual = vmlinux->virtual + place.delta;
	boot->random = place.randomised;
	boot->random_physical = place.random_physical;
	return 0;
}

/* The initrd goes away from the kernel, which unpacks itself upwards. */
static int load_initrd(struct linux_boot *boot, const struct bzimage *kernel, const struct linux_initrd *initrd,
		       const struct e820_table *e820, const struct guest_mem *mem, struct error *err)
{
	struct range range = {0, initrd->size};
	uint64_t limit;
	void *at;

	boot->initrd = (struct range){0, 0};
	if (initrd->size == 0)
		return 0;
	if (place_initrd(kernel, initrd, e820, &limit, &range.start) < 0 || range.start < range_end(boot->kernel))
		return error_set(
			err, EXIT_STATUS_IMAGE, ENOSPC,
			"%s: %llu MiB do not fit in RAM below %llu MiB beside the kernel's %llu MiB; give the "
			"guest more, such as --mem %lluM",
			initrd->option, (unsigned long long)mib_up(initrd->size), (unsigned long long)(limit / MIB),
			(unsigned long long)mib_up(boot->kernel.size),
			(unsigned long long)align_up(2 * (mib_up(initrd->size) + mib_up(boot->kernel.size)) + 64, 64));
	at = guest_mem_at(mem, range.start, range.size);
	if (at == NULL)
		return error_set(err, EXIT_STATUS_INTERNAL, EFAULT, "the initrd's place is not in guest memory");
	if (initrd->archive != NULL) {
		int code = archive_write(initrd->archive, at, err);

		if (code < 0)
			return code;
	} else if (initrd->fd < 0) {
		memcpy(at, initrd->bytes, (size_t)range.size);
	} else {
		int code = io_pread_mapped(initrd->fd, at, (size_t)range.size, 0);

		if (code < 0)
			return error_set(err, EXIT_STATUS_IMAGE, -code, "%s: cannot read: %s", initrd->option,
					 strerror(-code));
	}
	boot->initrd = range;
	return 0;
}

/* Behind the kernel, see the header; below the initrd where there is one. */
static int load_device_tree(struct linux_boot *boot, const struct linux_boot_request *request,
			    const struct guest_mem *mem, struct error *err)
{
	uint64_t limit = boot->initrd.size > 0 ? boot->initrd.start : LOAD_LIMIT;
	const struct buf *tree = request->device_tree;
	struct buf header = {0};
	struct range range;
	int code;

	if (tree == NULL || tree->size == 0)
		return 0;
	range.size = SETUP_DATA_HEADER + tree->size;
	if (e820_find_ram_within(request->e820, range_between(range_end(boot->kernel), limit), range.size, 4096,
				 &range.start) < 0)
		return error_set(
			err, EXIT_STATUS_IMAGE, ENOSPC,
			"the device tree: %llu KiB do not fit in RAM between the kernel's %llu MiB and the initrd's "
			"%llu MiB; give the guest more, such as --mem %lluM",
			(unsigned long long)((range.size + KIB - 1) / KIB),
			(unsigned long long)mib_up(boot->kernel.size), (unsigned long long)mib_up(boot->initrd.size),
			(unsigned long long)align_up(
				2 * (mib_up(range.size) + mib_up(boot->initrd.size) + mib_up(boot->kernel.size)) + 64,
				64));
	buf_u64(&header, 0);
	buf_u32(&header, SETUP_DTB);
	buf_u32(&header, (uint32_t)tree->size);
	code = buf_failed(&header) ? -ENOMEM : guest_mem_write(mem, range.start, header.data, header.size);
	buf_release(&header);
	if (code == 0)
		code = guest_mem_write(mem, range.start + SETUP_DATA_HEADER, tree->data, tree->size);
	if (code < 0)
		return error_set(err, code == -ENOMEM ? EXIT_STATUS_HOST : EXIT_STATUS_INTERNAL, -code,
				 "cannot write the device tree: %s", strerror(-code));
	boot->device_tree = range;
	return 0;
}

/* PML4 -> one PDPT -> four page directories of 2 MiB pages (Intel SDM vol. 3 §4.5). */
static int write_page_tables(const struct guest_mem *mem)
{
	enum { PRESENT = 1, WRITABLE = 2, LARGE = 0x80, PAGES = 6, ENTRIES = 512 };
	uint8_t *tables = guest_mem_at(mem, LINUX_BOOT_PAGE_TABLES, PAGES * 4096);

	if (tables == NULL)
		return -EFAULT;
	memset(tables, 0, PAGES * 4096);
	put(tables, 0, (LINUX_BOOT_PAGE_TABLES + 4096) | PRESENT | WRITABLE, 8);
	for (uint64_t i = 0; i < 4; i++)
		put(tables + 4096, i * 8, (LINUX_BOOT_PAGE_TABLES + (2 + i) * 4096) | PRESENT | WRITABLE, 8);
	for (uint64_t i = 0; i < 4 * ENTRIES; i++)
		put(tables + 2 * 4096, i * 8, (i * 2 * MIB) | PRESENT | WRITABLE | LARGE, 8);
	return 0;
}

/*
 * E820 entries that the zero page has no room for (struct setup_data: next, type, length, then the entries). They come
 * before the setup_data at next, 0 when there is none.
 */
static int write_e820_rest(const struct e820_table *e820, const struct guest_mem *mem, uint64_t next,
			   uint8_t *zero_page)
{
	struct buf data = {0};
	size_t rest;
	int code;

	if (e820->count <= E820_ENTRIES_IN_ZERO_PAGE)
		return 0;
	rest = e820->count - E820_ENTRIES_IN_ZERO_PAGE;
	buf_u64(&data, next);
	buf_u32(&data, SETUP_E820_EXT);
	buf_u32(&data, (uint32_t)(rest * E820_BOOT_ENTRY_SIZE));
	e820_append_boot(e820, E820_ENTRIES_IN_ZERO_PAGE, rest, &data);
	_Static_assert(E820_ENTRIES_MAX * E820_BOOT_ENTRY_SIZE + SETUP_DATA_HEADER <= LINUX_BOOT_AREA_SIZE,
		       "setup_data must fit");
	code = buf_failed(&data) ? -ENOMEM : guest_mem_write(mem, LINUX_BOOT_SETUP_DATA, data.data, data.size);
	buf_release(&data);
	put(zero_page, SETUP_DATA, LINUX_BOOT_SETUP_DATA, 8);
	return code;
}

static int write_zero_page(const struct linux_boot *boot, const struct linux_boot_request *request,
			   const struct guest_mem *mem)
{
	const struct bzimage *kernel = request->kernel;
	size_t entries = request->e820->count;
	uint8_t page[ZERO_PAGE_SIZE] = {0};
	struct buf map = {0};
	int code;

	if (entries > E820_ENTRIES_IN_ZERO_PAGE)
		entries = E820_ENTRIES_IN_ZERO_PAGE;
	memcpy(page + BZIMAGE_HEADER_START, kernel->header, kernel->header_size);
	put(page, TYPE_OF_LOADER, LOADER_UNDEFINED, 1);
	put(page, LOADFLAGS, (page[LOADFLAGS] & ~(unsigned)KASLR_FLAG) | (boot->random ? KASLR_FLAG : 0), 1);
	put(page, VID_MODE, VID_MODE_NORMAL, 2);
	put(page, ACPI_RSDP_ADDR, request->rsdp, 8);
	put(page, RAMDISK_IMAGE, boot->initrd.start, 4);
	put(page, EXT_RAMDISK_IMAGE, boot->initrd.start >> 32, 4);
	put(page, RAMDISK_SIZE, boot->initrd.size, 4);
	put(page, EXT_RAMDISK_SIZE, boot->initrd.size >> 32, 4);
	put(page, CMD_LINE_PTR, LINUX_BOOT_CMDLINE, 4);
	put(page, EXT_CMD_LINE_PTR, LINUX_BOOT_CMDLINE >> 32, 4);
	put(page, SETUP_DATA, boot->device_tree.start, 8);
	put(page, E820_ENTRIES, entries, 1);
	e820_append_boot(request->e820, 0, entries, &map);
	if (buf_failed(&map)) {
		buf_release(&map);
		return -ENOMEM;
	}
	memcpy(page + E820_TABLE, map.data, map.size);
	buf_release(&map);
	code = write_e820_rest(request->e820, mem, boot->device_tree.start, page);
	if (code < 0)
		return code;
	return guest_mem_write(mem, LINUX_BOOT_ZERO_PAGE, page, sizeof(page));
}

static int write_cmdline(const struct linux_boot_request *request, const struct guest_mem *mem, struct error *err)
{
	size_t length = strlen(request->cmdline);
	uint64_t bound = request->kernel->cmdline_max;

	if (bound >= LINUX_BOOT_AREA_SIZE)
		bound = LINUX_BOOT_AREA_SIZE - 1;
	if (length > bound)
		return error_set(
			err, EXIT_STATUS_IMAGE, E2BIG,
			"--append: the kernel's command line would have %zu characters, this kernel takes at most "
			"%llu; shorten it",
			length, (unsigned long long)bound);
	if (guest_mem_write(mem, LINUX_BOOT_CMDLINE, request->cmdline, length + 1) < 0)
		return error_set(err, EXIT_STATUS_INTERNAL, EFAULT, "the command line's place is not in guest memory");
	return 0;
}

int linux_boot_load(struct linux_boot *boot, const struct linux_boot_request *request, const struct guest_mem *mem,
		    struct error *err)
{
	int code;

	assert(request->e820->sealed);
	*boot = (struct linux_boot){
		.stack = LINUX_BOOT_STACK,
		.page_table = LINUX_BOOT_PAGE_TABLES,
		.zero_page = LINUX_BOOT_ZERO_PAGE,
	};
	code = write_cmdline(request, mem, err);
	if (code < 0)
		return code;
	code = request->vmlinux != NULL ? load_unpacked(boot, request, mem, err) : -ENOENT;
	if (code == -ENOENT)
		code = load_kernel(boot, request->kernel, request->e820, mem, err);
	if (code < 0)
		return code;
	code = load_initrd(boot, request->kernel, request->initrd, request->e820, mem, err);
	if (code < 0)
		return code;
	code = load_device_tree(boot, request, mem, err);
	if (code < 0)
		return code;
	code = write_page_tables(mem);
	if (code == 0)
		code = write_zero_page(boot, request, mem);
	if (code < 0)
		return error_set(err, code == -ENOMEM ? EXIT_STATUS_HOST : EXIT_STATUS_INTERNAL, -code,
				 "cannot write the boot parameters: %s", strerror(-code));
	return 0;
}
