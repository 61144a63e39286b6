/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_LINUX_BOOT_H
#define SPMVM_BOOT_LINUX_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "e820/e820.h"
#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/boot/archive.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/vmlinux.h"
#include "vmm/memory/guest_mem.h"

/*
 * Puts a kernel, its command line, its initrd and the zero page into guest memory and says with which registers to start (boot.rst, "64-bit
 * Boot Protocol"; zero-page.rst).
 *
 * Where things are in the first megabyte, with room to spare; all of it is free again for Linux once it has read its parameters:
 *
 *   0x00500  GDT (32 bytes, written by the caller)
 *   0x07000  zero page (boot_params), 4 KiB
 *   0x08000  stack, growing down from 0x8ff0
 *   0x09000  page tables, 6 pages: the first 4 GiB mapped one to one with 2 MiB pages
 *   0x10000  setup_data: E820 entries from the 129th on, at most 64 KiB
 *   0x20000  command line, at most 64 KiB
 *
 * The initrd is as high as it may be, and the device tree as low as it can be behind the kernel: there it takes no part
 * of the kernel's own room, nor of the last pages of RAM, by which Linux knows where RAM ends. It is setup_data as well,
 * the last of that list, and E820 RAM like all that is loaded: Linux reserves its pages by itself, and for good.
 *
 * A kernel is entered in one of two ways. Packed, at the bzImage's 64-bit entry, it unpacks itself in the guest.
 * Unpacked here, it is entered at the ELF file's entry (startup_64), in the state that its own unpacker leaves: the
 * same registers, and all that it reads before it has its own page tables mapped one to one. One thing that the
 * unpacker does is not done here: it would turn on 5-level paging where the processor has it. Linux takes the paging
 * that it finds, so it runs with 4 levels, by which it reaches 64 TiB of memory; a machine with more is entered packed.
 */
#define LINUX_BOOT_GDT         UINT64_C(0x500)
#define LINUX_BOOT_ZERO_PAGE   UINT64_C(0x7000)
#define LINUX_BOOT_STACK       UINT64_C(0x8ff0)
#define LINUX_BOOT_PAGE_TABLES UINT64_C(0x9000)
#define LINUX_BOOT_SETUP_DATA  UINT64_C(0x10000)
#define LINUX_BOOT_CMDLINE     UINT64_C(0x20000)
#define LINUX_BOOT_AREA_SIZE   UINT64_C(0x10000) /* of setup_data and of the command line each */

/* An initrd from a file, an archive or memory; size 0 means none. */
struct linux_initrd {
	const char *option; /* for messages: "--initrd PATH" or "the built-in initramfs" */
	int fd;             /* read from its start; -1: take the archive, or bytes when there is none */
	const struct archive *archive;
	const void *bytes;
	uint64_t size;
};

struct linux_boot_request {
	const struct bzimage *kernel;
	const struct linux_initrd *initrd;
	const char *cmdline;
	const struct e820_table *e820; /* sealed */
	uint64_t rsdp;                 /* GPA of the ACPI root pointer */
	const struct buf *device_tree; /* flattened; empty: none */
	const struct vmlinux *vmlinux; /* the same kernel, unpacked; NULL: it unpacks itself */
	uint64_t random[2];            /* of vmlinux's KASLR, see kaslr.h */
	struct range window;           /* of device memory, which E820 does not tell in full */
	bool zeroed;                   /* RAM reads as zeros where nobody has written */
};

/* Registers of the boot processor, and where things went. */
struct linux_boot {
	uint64_t entry, stack, page_table, zero_page;
	struct range kernel, initrd;
	struct range device_tree; /* with its setup_data header before it */
	/* of a kernel that was entered unpacked */
	uint64_t virtual; /* the address that it runs at; 0: it was entered packed, and chooses by itself */
	bool random, random_physical;
	const char *no_unpack; /* why request.vmlinux was not taken; NULL: it was, or there is none */
};

/*
 * Loads everything. EXIT_STATUS_IMAGE: a command line that is too long for this kernel; a kernel, initrd or device tree
 * that does not fit in RAM below 3 GiB (with the size that would do).
 */
int linux_boot_load(struct linux_boot *boot, const struct linux_boot_request *request, const struct guest_mem *mem,
		    struct error *err);

#endif
