/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_RELOCATE_H
#define SPMVM_BOOT_RELOCATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where a kernel names its own virtual addresses, so that it can run at others than it was linked for. The kernel's
 * build puts lists of such places behind the ELF file, before both are packed (arch/x86/tools/relocs.c;
 * handle_relocations() in arch/x86/boot/compressed/misc.c applies them):
 *
 *   0, places of 64-bit addresses,
 *   0, places of 32-bit numbers to subtract from (this list is gone from the newest kernels),
 *   0, places of 32-bit addresses
 *
 * A place is the low half of a virtual address as linked, whose high half is all ones.
 */
struct relocation_list {
	const uint8_t *words; /* 32 bits each, little-endian, not aligned */
	size_t count;
};

struct relocations {
	struct relocation_list wide, inverse, narrow;
};

/* Splits the lists, which point into bytes; no bytes are no relocations. -EBADMSG for anything else. */
int relocations_find(struct relocations *relocations, const uint8_t *bytes, size_t size);

bool relocations_none(const struct relocations *relocations);

/* Whether every place is in an image of size bytes that was linked for the virtual address link. */
bool relocations_are_within(const struct relocations *relocations, uint64_t link, uint64_t size);

/* Moves the image's addresses up by delta. relocations_are_within() holds for it. */
void relocations_apply(const struct relocations *relocations, uint8_t *image, uint64_t link, uint64_t delta);

#endif
