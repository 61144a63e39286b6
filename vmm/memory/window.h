/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_WINDOW_H
#define SPMVM_MEMORY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/range.h"

/*
 * The device-memory window: the span of guest-physical addresses above all RAM in which memory devices live. Its
 * partition covers the span exactly once; SRAT, the plan and the E820 table are made from it.
 */
enum mem_chunk_kind {
	MEM_CHUNK_OWNED,    /* a memory device's range */
	MEM_CHUNK_FREE,     /* nobody's: room for hotplug when the user asked for a hotplug window */
	MEM_CHUNK_FORBIDDEN /* addresses that no memory may have (AMD's HyperTransport hole) */
};

struct mem_chunk {
	struct range range;
	enum mem_chunk_kind kind;
	size_t owner; /* of a MEM_CHUNK_OWNED: the number that window_insert() was given */
};

struct mem_window {
	struct range span;          /* empty when the machine has no device memory and no --maxmem */
	struct mem_chunk *children; /* owned and forbidden chunks, sorted, disjoint, within span; heap, owned here */
	size_t count, capacity;
};

/* An empty window over span; nothing is allocated until the first child. */
void window_init(struct mem_window *window, struct range span);

/* Takes NULL and a zeroed window too; leaves it zeroed. */
void window_release(struct mem_window *window);

/*
 * Adds an owned or forbidden child. -EEXIST when it overlaps one that is there (its index in children goes to *conflict
 * unless that is NULL), -ERANGE when it is empty or not wholly in the span, -ENOMEM; on failure the window is as it
 * was.
 */
int window_insert(struct mem_window *window, struct mem_chunk child, size_t *conflict);

/*
 * The partition: children and the free chunks between them, in ascending order, that together cover the span exactly
 * once. Gives the first chunk that starts at or behind *at and moves *at to its end; false when there is none. So for
 * (at = window->span.start; window_next(window, &at, &chunk);) sees each once. No allocation.
 */
bool window_next(const struct mem_window *window, uint64_t *at, struct mem_chunk *chunk);

#endif
