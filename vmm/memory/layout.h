/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_LAYOUT_H
#define SPMVM_MEMORY_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/range.h"
#include "vmm/memory/region.h"
#include "vmm/memory/window.h"

/*
 * Every decision about guest-physical addresses, made once, from facts only (no KVM, no host).
 *
 *   0                        start of RAM, in the order of the nodes
 *   LAYOUT_HOLE_START 3 GiB  32-bit hole: interrupt controllers, virtio-mmio, anything with 32-bit addresses
 *   LAYOUT_HOLE_END   4 GiB  RAM goes on
 *   window                   above both 4 GiB and the end of RAM: SPM blocks and the free room of --maxmem
 *   AMD's HyperTransport range (LAYOUT_HT_*) holds nothing: RAM flows around it, blocks stay clear of it.
 *
 * Blocks with an address get exactly that or the plan fails. The others then go, in the order of the command line, each
 * to the lowest free multiple of 2 GiB (first fit: a small block may land in a gap that a larger one left).
 *
 * The window spans the blocks, from the start of the lowest to the end of the highest, and is empty without any. When
 * --maxmem asks for more than RAM and blocks, it starts no higher than the first 2 GiB boundary above RAM and ends where
 * its free chunks, counted in whole multiples of 2 GiB, come to the difference, rounded up to 2 GiB. Its start is a
 * multiple of 2 GiB, unless it is that of a block with an address.
 */
#define LAYOUT_LOW_RAM_END UINT64_C(0xa0000) /* RAM stops for the legacy video and BIOS area ... */
#define LAYOUT_HIGH_RAM_START                                                                                          \
	UINT64_C(0x100000) /* ... and goes on at 1 MiB; the bytes between are mapped but no E820 RAM */
#define LAYOUT_HOLE_START UINT64_C(0xc0000000)
#define LAYOUT_HOLE_END   UINT64_C(0x100000000)
#define LAYOUT_HT_START   UINT64_C(0xfd00000000) /* AMD64 Architecture Programmer's Manual: reserved for HyperTransport */
#define LAYOUT_HT_END     UINT64_C(0x10000000000)
#define LAYOUT_BLOCK_ALIGN                                                                                             \
	(2 * GIB) /* the largest memory block that Linux uses, so that onlining never strands a part */
#define LAYOUT_SIZE_ALIGN (2 * MIB) /* every --mem and --spm size is a multiple of it (device-dax's smallest mapping) */
#define LAYOUT_RAM_MIN    (64 * MIB) /* RAM below 3 GiB that a Debian kernel needs to come up at all */

struct layout_ram {
	uint64_t size;      /* multiple of LAYOUT_SIZE_ALIGN and of page_size */
	uint64_t page_size; /* of its backend: the GPA of each piece is aligned to it; 0 means 4 KiB */
	uint32_t node;
};

struct layout_spm {
	uint64_t size;      /* multiple of LAYOUT_SIZE_ALIGN and of page_size */
	uint64_t page_size; /* as above; an address asked for must be aligned to it */
	uint64_t address;   /* asked for; only with has_address */
	bool has_address;
	uint32_t node;
	const char *id; /* for error messages */
};

struct layout_request {
	const struct layout_ram *ram; /* at least one; placed in ascending order of (node, position) */
	size_t ram_count;
	const struct layout_spm *spm; /* placed in the order given, those with an address first */
	size_t spm_count;
	uint64_t maxmem;    /* RAM, blocks and hotplug room together; 0 when there is no hotplug window */
	unsigned phys_bits; /* the guest's MAXPHYADDR */
	uint64_t
		acpi_budget; /* bytes to carve from the top of RAM below 3 GiB for the ACPI tables; multiple of 4 KiB */
};

struct mem_layout {
	struct mem_region *regions; /* sorted by address, disjoint; heap, owned here */
	size_t region_count;
	/* At the end of the last RAM region below LAYOUT_HOLE_START that is larger than it. */
	struct range acpi;
	struct mem_window window;
	bool hotplug;     /* the window's free chunks are room for hotplug: --maxmem asks for more than is there */
	uint64_t ram_end; /* one behind the last RAM byte */
	/*
	 * Linux's memory block in this guest, what it onlines at once: 128 MiB while RAM ends below 64 GiB, else the
	 * largest power of two up to 2 GiB that the end of RAM is a multiple of (arch/x86/mm/init_64.c,
	 * probe_memory_block_size).
	 */
	uint64_t block_size;
};

/*
 * Plans the layout. On success the caller owns *layout and calls layout_release(); on failure nothing is allocated and
 * *layout is zeroed. Errors are EXIT_STATUS_CONFIG, name the option ("--spm id=hbm1: addr=0x80000000 overlaps the RAM
 * of node 1 at ..."), and say which bound was hit and the remedy: overlap with RAM, with another block or AMD's range;
 * below 4 GiB or below the end of RAM; misaligned; above phys_bits; too little RAM below 3 GiB; maxmem smaller than
 * what is there. Pure; any thread.
 */
int layout_plan(struct mem_layout *layout, const struct layout_request *request, struct error *err);

/* Takes NULL and a zeroed layout too; leaves it zeroed. */
void layout_release(struct mem_layout *layout);

/*
 * Runs: maximal sequences of regions that touch each other in guest-physical addresses. One run is one KVM memslot.
 * Returns the number of regions of the run that starts at regions[first], and its range.
 */
size_t layout_run(const struct mem_layout *layout, size_t first, struct range *run);

#endif
