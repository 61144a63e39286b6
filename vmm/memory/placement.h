/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_PLACEMENT_H
#define SPMVM_MEMORY_PLACEMENT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/base/log.h"
#include "vmm/memory/backend.h"

/*
 * Where the pages of a populated backend are, asked of the kernel page by page (move_pages(2) without a wish), because
 * a policy is a request: pages that a file had before stay where they are, and a full node hands over to the next.
 */
struct placement {
	uint64_t size;               /* bytes looked at; the others add up to it */
	uint64_t absent;             /* not resident */
	uint64_t on_node[NODES_MAX]; /* by host node */
	uint64_t huge;               /* mapped with pages of 2 MiB or more; the caller's, see placement_huge() */
	bool sampled;                /* not every page was looked at: the figures are estimates */
};

/* Samples for who asks once: of a mapping with no more pages than that every one is looked at. */
#define PLACEMENT_SAMPLES (UINT64_C(1) << 18)

/*
 * Adds what a mapping of the backend has, size bytes of it. At most samples pages are looked at, one at random in each
 * of as many equal parts of a larger mapping. -errno of move_pages() (-ENOSYS without NUMA, -EPERM in
 * some containers), and then *placement is useless. Not for BACKEND_DAX, whose pages have no node. Zero *placement
 * first.
 */
int placement_look(struct placement *placement, const struct mem_backend *backend, const void *at, uint64_t size,
		   uint64_t samples);

/*
 * Calls found for each mapping of this process that has transparent huge pages, with its start and how many bytes of it
 * are mapped so (ROOT/proc/self/smaps). -errno when that cannot be read.
 */
int placement_huge(const char *root, void (*found)(void *context, uint64_t start, uint64_t bytes), void *context);

/* The same in the smaps file of a process that is open already. */
int placement_huge_in(int smaps, void (*found)(void *context, uint64_t start, uint64_t bytes), void *context);

/*
 * One line about the backend: what is resident, on which host nodes, how much in huge pages (level info when prealloc=on
 * was asked for, else debug). A warning when that is not what was asked for: pages beside the nodes of bind or
 * interleave, or not resident.
 */
void placement_report(const struct placement *placement, const struct mem_backend *backend, const struct log *log);

#endif
