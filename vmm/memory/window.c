/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/window.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void window_init(struct mem_window *window, struct range span)
{
	assert(range_is_valid(span));
	*window = (struct mem_window){.span = span};
}

void window_release(struct mem_window *window)
{
	if (window == NULL)
		return;
	free(window->children);
	*window = (struct mem_window){0};
}

/* The first child that ends behind address, or count. Children are disjoint, so their ends ascend like their starts. */
static size_t first_ending_after(const struct mem_window *window, uint64_t address)
{
	size_t low = 0, high = window->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (range_end(window->children[middle].range) > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int grow(struct mem_window *window)
{
	size_t capacity = window->capacity == 0 ? 8 : 2 * window->capacity;
	struct mem_chunk *children;

	if (window->count < window->capacity)
		return 0;
	children = reallocarray(window->children, capacity, sizeof(*children));
	if (children == NULL)
		return -ENOMEM;
	window->children = children;
	window->capacity = capacity;
	return 0;
}

int window_insert(struct mem_window *window, struct mem_chunk child, size_t *conflict)
{
	size_t at;

	assert(child.kind != MEM_CHUNK_FREE); /* free room is what no child covers */
	if (child.range.size == 0 || !range_contains(window->span, child.range))
		return -ERANGE;
	at = first_ending_after(window, child.range.start);
	if (at < window->count && range_overlaps(window->children[at].range, child.range)) {
		if (conflict != NULL)
			*conflict = at;
		return -EEXIST;
	}
	if (grow(window) < 0)
		return -ENOMEM;
	memmove(&window->children[at + 1], &window->children[at], (window->count - at) * sizeof(child));
	window->children[at] = child;
	window->count++;
	return 0;
}

bool window_next(const struct mem_window *window, uint64_t *at, struct mem_chunk *chunk)
{
	uint64_t end = range_end(window->span), from;
	size_t next;

	if (*at < window->span.start)
		*at = window->span.start;
	next = first_ending_after(window, *at);
	/* Inside a child: its start is past, so go on behind it. */
	if (next < window->count && window->children[next].range.start < *at)
		*at = range_end(window->children[next++].range);
	/* Inside free room: likewise. Free room starts where the child before it ends. */
	from = next == 0 ? window->span.start : range_end(window->children[next - 1].range);
	if (*at > from)
		*at = next < window->count ? window->children[next].range.start : end;
	if (*at >= end)
		return false;
	if (next < window->count && window->children[next].range.start == *at) {
		*chunk = window->children[next];
	} else {
		uint64_t until = next < window->count ? window->children[next].range.start : end;

		*chunk = (struct mem_chunk){.range = range_between(*at, until), .kind = MEM_CHUNK_FREE};
	}
	*at = range_end(chunk->range);
	return true;
}
