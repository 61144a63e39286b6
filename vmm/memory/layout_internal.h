/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_LAYOUT_INTERNAL_H
#define SPMVM_MEMORY_LAYOUT_INTERNAL_H

#include <inttypes.h>

#include "vmm/memory/layout.h"

/* What layout.c (RAM, ACPI area) and layout_blocks.c (SPM blocks, window) share. Nobody else includes this. */
#define HEX "0x%" PRIx64

/* The layout while it is made. */
struct plan {
	const struct layout_request *request;
	struct mem_layout *layout;
	uint64_t limit; /* one behind the last address of the guest's MAXPHYADDR */
	uint64_t ram_bytes, spm_bytes;
};

/*
 * Refuses a size that is 0 or no multiple of 2 MiB and of the page size. id may be NULL: then the option's number, from
 * 0, names it.
 */
int plan_check_size(const char *option, const char *id, size_t number, uint64_t size, uint64_t page_size,
		    struct error *err);

/* Appends a region; there is room for all. Its owner's node is looked up. */
void plan_add_region(struct plan *plan, struct range gpa, enum mem_kind kind, size_t owner, uint64_t offset);

/* With all RAM placed: places every block and makes the window. On failure the caller releases the layout. */
int plan_blocks(struct plan *plan, struct error *err);

static inline uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
