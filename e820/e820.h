/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_E820_E820_H
#define SPMVM_E820_E820_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"
#include "vmm/base/range.h"

/*
 * The memory map that the guest boots with (ACPI 6.5 §15, "System Address Map Interfaces"): typed ranges, sorted, disjoint, never merged. Two touching entries
 * stay two, because each SPM block must stay one entry for one driver to claim it.
 */
enum e820_type {
	E820_RAM = 1,
	E820_RESERVED = 2,
	E820_ACPI = 3,
	/*
	 * Linux's E820_TYPE_SOFT_RESERVED (arch/x86/include/asm/e820/types.h): specific-purpose memory, what UEFI 2.10 §7.2 calls
	 * EFI_MEMORY_SP. RAM by nature, but a driver's and not the page allocator's.
	 */
	E820_SOFT_RESERVED = 0xefffffff
};

struct e820_entry {
	struct range range;
	enum e820_type type;
};

enum {
	E820_ENTRIES_MAX = 2048, /* Linux takes up to 3200 in all with 1024 nodes (E820_MAX_ENTRIES) */
	E820_BOOT_ENTRY_SIZE = 20
};

/* A value: copying it copies the map. A zeroed table is empty. */
struct e820_table {
	struct e820_entry entries[E820_ENTRIES_MAX];
	size_t count;
	bool sealed; /* nothing may be added any more; adding is a bug of ours */
};

/* -EEXIST when the range overlaps an entry, -EINVAL when it is empty or wraps, -ENOSPC when the table is full. */
int e820_add(struct e820_table *table, struct range range, enum e820_type type);

/*
 * Gives a part of one entry another type; what is left of the entry before and behind it stays.
 *
 *   before   |---------- RAM ----------|
 *   carve             |- ACPI -|
 *   after    |- RAM --|- ACPI -|- RAM -|
 *
 * -ENOENT unless the range lies wholly in one entry; -EINVAL, -ENOSPC as above.
 */
int e820_carve(struct e820_table *table, struct range range, enum e820_type type);

void e820_seal(struct e820_table *table);

/*
 * The highest start of size bytes, a multiple of alignment (a power of two), that lies in RAM and below limit. -ENOENT when there is
 * no such place.
 */
int e820_find_ram_below(const struct e820_table *table, uint64_t limit, uint64_t size, uint64_t alignment,
			uint64_t *start);

/* The lowest start of size bytes, a multiple of alignment, that lies in RAM and within span; -ENOENT as above. */
int e820_find_ram_within(const struct e820_table *table, struct range span, uint64_t size, uint64_t alignment,
			 uint64_t *start);

/* Whether the range lies wholly in one RAM entry. */
bool e820_is_ram(const struct e820_table *table, struct range range);

/* "RAM", "reserved", "ACPI data", "soft reserved". */
const char *e820_type_name(enum e820_type type);

/* Appends count entries from first in the form of Linux's struct boot_e820_entry: address, size, type; 20 bytes each (boot.rst, zero-page.rst). */
void e820_append_boot(const struct e820_table *table, size_t first, size_t count, struct buf *out);

#endif
