/* SPDX-License-Identifier: Apache-2.0 */
#include "e820/e820.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The index of the first entry that ends behind address; count when there is none. */
static size_t first_ending_behind(const struct e820_table *table, uint64_t address)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (range_end(table->entries[middle].range) > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void insert_at(struct e820_table *table, size_t index, struct range range, enum e820_type type)
{
	memmove(&table->entries[index + 1], &table->entries[index], (table->count - index) * sizeof(table->entries[0]));
	table->entries[index] = (struct e820_entry){range, type};
	table->count++;
}

int e820_add(struct e820_table *table, struct range range, enum e820_type type)
{
	size_t index;

	assert(!table->sealed);
	if (range.size == 0 || !range_is_valid(range))
		return -EINVAL;
	index = first_ending_behind(table, range.start);
	if (index < table->count && range_overlaps(table->entries[index].range, range))
		return -EEXIST;
	if (table->count == E820_ENTRIES_MAX)
		return -ENOSPC;
	insert_at(table, index, range, type);
	return 0;
}

int e820_carve(struct e820_table *table, struct range range, enum e820_type type)
{
	struct e820_entry old;
	struct range before, behind;
	size_t index;

	assert(!table->sealed);
	if (range.size == 0 || !range_is_valid(range))
		return -EINVAL;
	index = first_ending_behind(table, range.start);
	if (index == table->count || !range_contains(table->entries[index].range, range))
		return -ENOENT;
	old = table->entries[index];
	before = range_between(old.range.start, range.start);
	behind = range_between(range_end(range), range_end(old.range));
	if (table->count + (before.size > 0) + (behind.size > 0) > E820_ENTRIES_MAX)
		return -ENOSPC;
	table->entries[index] = (struct e820_entry){range, type};
	if (behind.size > 0)
		insert_at(table, index + 1, behind, old.type);
	if (before.size > 0)
		insert_at(table, index, before, old.type);
	return 0;
}

void e820_seal(struct e820_table *table)
{
	table->sealed = true;
}

int e820_find_ram_below(const struct e820_table *table, uint64_t limit, uint64_t size, uint64_t alignment,
			uint64_t *start)
{
	for (size_t i = table->count; i-- > 0;) {
		const struct e820_entry *entry = &table->entries[i];
		uint64_t end = range_end(entry->range) < limit ? range_end(entry->range) : limit;
		uint64_t candidate;

		if (entry->type != E820_RAM || end < size)
			continue;
		candidate = align_down(end - size, alignment);
		if (candidate >= entry->range.start) {
			*start = candidate;
			return 0;
		}
	}
	return -ENOENT;
}

int e820_find_ram_within(const struct e820_table *table, struct range span, uint64_t size, uint64_t alignment,
			 uint64_t *start)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct e820_entry *entry = &table->entries[i];
		uint64_t first = entry->range.start < span.start ? span.start : entry->range.start;
		struct range candidate;

		if (entry->type != E820_RAM || first > UINT64_MAX - alignment)
			continue;
		candidate = (struct range){align_up(first, alignment), size};
		if (range_contains(entry->range, candidate) && range_end(candidate) <= range_end(span)) {
			*start = candidate.start;
			return 0;
		}
	}
	return -ENOENT;
}

bool e820_is_ram(const struct e820_table *table, struct range range)
{
	size_t index = first_ending_behind(table, range.start);

	return index < table->count && table->entries[index].type == E820_RAM &&
	       range_contains(table->entries[index].range, range);
}

const char *e820_type_name(enum e820_type type)
{
	switch (type) {
	case E820_RAM:
		return "RAM";
	case E820_RESERVED:
		return "reserved";
	case E820_ACPI:
		return "ACPI data";
	case E820_SOFT_RESERVED:
		return "soft reserved";
	}
	return "unknown";
}

void e820_append_boot(const struct e820_table *table, size_t first, size_t count, struct buf *out)
{
	assert(first <= table->count && count <= table->count - first);
	for (size_t i = first; i < first + count; i++) {
		buf_u64(out, table->entries[i].range.start);
		buf_u64(out, table->entries[i].range.size);
		buf_u32(out, (uint32_t)table->entries[i].type);
	}
}
