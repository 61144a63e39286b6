/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_VMLINUX_H
#define SPMVM_BOOT_VMLINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/boot/relocate.h"

/*
 * The kernel proper, as it is when unpacked (payload.h): an ELF file for x86-64 with its relocations behind it. Its
 * segments are copied to where they belong, and then it is entered; what a bzImage's own unpacker does in the guest
 * (parse_elf() in arch/x86/boot/compressed/misc.c). Everything in it comes from outside and is checked here, once.
 */
enum { VMLINUX_SEGMENTS_MAX = 16 };

struct vmlinux_segment {
	uint64_t offset;      /* behind the start of the image in memory */
	const uint8_t *bytes; /* of the file */
	uint64_t size;        /* of the bytes; what it has more in memory is its BSS */
};

struct vmlinux {
	struct vmlinux_segment segments[VMLINUX_SEGMENTS_MAX]; /* by offset, disjoint */
	size_t segment_count;
	uint64_t physical, virtual; /* addresses that the image's first byte was linked for */
	uint64_t size;              /* in memory, from the first segment's start to the last one's end */
	uint64_t entry;             /* startup_64, behind the start of the image */
	struct relocations relocations;
};

/* Linux maps itself within a GiB from here on (__START_KERNEL_map; KERNEL_IMAGE_SIZE when it can be relocated). */
#define VMLINUX_MAP      UINT64_C(0xffffffff80000000)
#define VMLINUX_MAP_SIZE (UINT64_C(1) << 30)

/* An image starts at such an address, physical and virtual: its first page tables map it by pages of this size. */
#define VMLINUX_ALIGNMENT (UINT64_C(2) << 20)

/*
 * Takes an unpacked kernel apart that has size_max bytes in memory at the most (bzimage.init_size).
 * EXIT_STATUS_IMAGE, -EBADMSG, saying what is wrong with it, for anything that it would not be safe to load. vmlinux
 * points into bytes. Any thread.
 */
int vmlinux_parse(struct vmlinux *vmlinux, const uint8_t *bytes, size_t size, uint64_t size_max, struct error *err);

/*
 * Copies the segments to an image of vmlinux->size bytes, for a virtual address that is delta above the one that it
 * was linked for. The gaps and the BSS stay as they are: Linux clears its BSS itself (clear_bss()), because its own
 * unpacker leaves scraps there. Where zeroed says that the image reads as zeros until somebody writes, pages of zeros are not copied: a
 * third of Debian's cloud kernel and half of its generic one are such, and memory that is not touched costs nothing.
 */
void vmlinux_load(const struct vmlinux *vmlinux, uint8_t *image, bool zeroed, uint64_t delta);

#endif
