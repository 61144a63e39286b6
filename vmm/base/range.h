/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_RANGE_H
#define SPMVM_BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

/* A span of addresses, in bytes. A range never wraps: start + size is at most 2^64 - 1. Size 0 is empty. */
struct range {
	uint64_t start, size;
};

static inline bool range_is_valid(struct range r)
{
	return r.size <= UINT64_MAX - r.start;
}

/* The first address behind the range. */
static inline uint64_t range_end(struct range r)
{
	return r.start + r.size;
}

static inline struct range range_between(uint64_t start, uint64_t end)
{
	return (struct range){start, end - start};
}

static inline bool range_holds(struct range r, uint64_t address)
{
	return address >= r.start && address - r.start < r.size;
}

/* Whether inner lies wholly in outer; an empty inner does when its start is in outer or just behind it. */
static inline bool range_contains(struct range outer, struct range inner)
{
	return inner.start >= outer.start && inner.size <= outer.size &&
	       inner.start - outer.start <= outer.size - inner.size;
}

/* Whether the two share at least one byte. */
static inline bool range_overlaps(struct range a, struct range b)
{
	return a.size > 0 && b.size > 0 && a.start < range_end(b) && b.start < range_end(a);
}

/* For alignments that are powers of two. */
static inline uint64_t align_down(uint64_t value, uint64_t alignment)
{
	return value & ~(alignment - 1);
}

/* The caller knows that value is at most 2^64 - alignment. */
static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
	return align_down(value + alignment - 1, alignment);
}

static inline bool is_aligned(uint64_t value, uint64_t alignment)
{
	return (value & (alignment - 1)) == 0;
}

#endif
