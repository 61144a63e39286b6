/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/bus.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The number of entries that start at or below address: the last of them is the only one that can hold it. */
static size_t entries_up_to(const struct bus *bus, uint64_t address)
{
	size_t low = 0, high = bus->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bus->entries[middle].range.start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int bus_add(struct bus *bus, struct range range, const struct bus_ops *ops, void *device)
{
	assert(ops->read != NULL && ops->write != NULL && ops->widths > 0 && ops->widths <= 15);
	if (range.size == 0 || !range_is_valid(range))
		return -EINVAL;

	size_t place = entries_up_to(bus, range.start);

	/* Entries are disjoint, so only the two neighbours can be in the way. */
	if (place > 0 && range_overlaps(bus->entries[place - 1].range, range))
		return -EEXIST;
	if (place < bus->count && range_overlaps(bus->entries[place].range, range))
		return -EEXIST;
	if (bus->count == BUS_ENTRIES_MAX)
		return -ENOSPC;
	memmove(&bus->entries[place + 1], &bus->entries[place], (bus->count - place) * sizeof(bus->entries[0]));
	bus->entries[place] = (struct bus_entry){range, ops, device};
	bus->count++;
	return 0;
}

/* Who takes the whole access, at this width; NULL when nobody does. */
static const struct bus_entry *find(const struct bus *bus, uint64_t address, unsigned size)
{
	size_t place = entries_up_to(bus, address);

	if (place == 0)
		return NULL;

	const struct bus_entry *entry = &bus->entries[place - 1];
	bool one_width = size > 0 && (size & (size - 1)) == 0;

	if (!one_width || (entry->ops->widths & size) == 0)
		return NULL;
	return range_contains(entry->range, (struct range){address, size}) ? entry : NULL;
}

static uint64_t ones(unsigned size)
{
	return size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;
}

bool bus_read(const struct bus *bus, uint64_t address, unsigned size, uint64_t *value)
{
	const struct bus_entry *entry = find(bus, address, size);

	*value = ones(size);
	if (entry != NULL)
		*value &= entry->ops->read(entry->device, address - entry->range.start, size);
	return entry != NULL;
}

bool bus_write(const struct bus *bus, uint64_t address, unsigned size, uint64_t value)
{
	const struct bus_entry *entry = find(bus, address, size);

	if (entry != NULL)
		entry->ops->write(entry->device, address - entry->range.start, size, value & ones(size));
	return entry != NULL;
}
