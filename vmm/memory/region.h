/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_REGION_H
#define SPMVM_MEMORY_REGION_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/range.h"

/* What a stretch of guest-physical memory is for. */
enum mem_kind {
	MEM_RAM, /* ordinary memory, owned by the guest's page allocator */
	MEM_SPM  /* specific-purpose memory, owned by a driver */
};

/*
 * A stretch of guest-physical memory that one backend serves: all of an SPM block, or the part of a --mem on one side
 * of a hole. The layout makes the regions once, sorted by address and disjoint; every table and mapping is a view of
 * them.
 */
struct mem_region {
	struct range gpa;
	enum mem_kind kind;
	uint32_t node;
	size_t owner; /* which --mem (MEM_RAM) or --spm (MEM_SPM) of the configuration it belongs to, counted from 0 */
	uint64_t offset; /* of gpa.start in the owner's backend, in bytes */
};

#endif
