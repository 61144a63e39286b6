/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_KASLR_H
#define SPMVM_BOOT_KASLR_H

#include <stdbool.h>
#include <stdint.h>

#include "e820/e820.h"
#include "vmm/boot/vmlinux.h"

/*
 * Where a kernel goes that is loaded unpacked. Its own unpacker would choose physical and virtual address at random,
 * each by itself (arch/x86/boot/compressed/kaslr.c); when it does not run, this does, by the same rules. Pure: the
 * caller brings the random numbers.
 */

/* What the command line leaves to chance. */
struct kaslr_wish {
	bool randomise; /* no "nokaslr" */
	/*
	 * Nor anything that tells Linux of other memory than the E820 map does (mem=, memmap=), or to keep places in it
	 * for huge pages (hugepages=). Linux weighs those when it chooses an address; we do not.
	 */
	bool physical;
};

struct kaslr_wish kaslr_wish_of(const char *cmdline);

/*
 * One of the addresses in span, each as likely as any other, that are multiples of alignment (a power of two) and have
 * size bytes of E820 RAM in one piece behind them, within span as well. -ENOENT when there is none.
 */
int kaslr_physical(const struct e820_table *e820, struct range span, uint64_t size, uint64_t alignment, uint64_t random,
		   uint64_t *start);

/*
 * How far above the virtual address link an image of size bytes is to run, a multiple of alignment: from 0 up to the
 * end of what Linux maps itself in (VMLINUX_MAP). 0 when there is no more room.
 */
uint64_t kaslr_virtual_delta(uint64_t link, uint64_t size, uint64_t alignment, uint64_t random);

struct kaslr_request {
	const struct vmlinux *vmlinux;
	const struct e820_table *e820;
	const char *cmdline;
	uint64_t size;   /* of what the kernel uses from its start on before it knows its memory: bzimage.init_size */
	uint64_t behind; /* more bytes that are to fit behind it */
	uint64_t alignment; /* bzimage.alignment */
	uint64_t limit;     /* everything lies below it */
	bool relocatable;   /* in physical memory */
	uint64_t random[2]; /* for the physical and for the virtual address */
};

struct kaslr_place {
	uint64_t physical;
	uint64_t delta;       /* of the virtual address, above the one that the kernel was linked for */
	bool randomised;      /* the virtual address is random, and Linux is to randomise what else it maps */
	bool random_physical; /* the physical address is random, too */
};

/*
 * The place for an unpacked kernel: random as far as the command line and the kernel allow, else where it was linked
 * for, else the lowest that there is. Never below the address that it was linked for, as its own unpacker has it.
 * -ENOENT when it fits nowhere.
 */
int kaslr_choose(const struct kaslr_request *request, struct kaslr_place *place);

#endif
