/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_BUS_H
#define SPMVM_DEVICES_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/range.h"

/*
 * Who answers a port or a memory-mapped register; a zeroed struct bus is empty and ready. Filled while the machine is built,
 * frozen before the first vcpu runs; then look-ups are a binary search without a lock, from any vcpu thread. Handlers
 * do their own locking.
 */
enum bus_space { BUS_PIO, BUS_MMIO };

/*
 * What a device's registers do; both functions are there. offset counts from the start of the range, the access lies wholly in
 * it, and size is 1, 2, 4 or 8 bytes and one of widths. A written value has no bits above size; those of a value that is
 * read are cut off by the bus.
 */
struct bus_ops {
	unsigned widths; /* sum of the access sizes that are handled: 1 | 2 | 4 | 8 */
	uint64_t (*read)(void *device, uint64_t offset, unsigned size);
	void (*write)(void *device, uint64_t offset, unsigned size, uint64_t value);
};

struct bus_entry {
	struct range range;
	const struct bus_ops *ops;
	void *device;
};

enum { BUS_ENTRIES_MAX = 64 };

struct bus {
	struct bus_entry entries[BUS_ENTRIES_MAX]; /* sorted by address, disjoint; ops and device are borrowed */
	size_t count;
};

/*
 * Gives range to a device; ops and device outlive the bus. Not once a vcpu runs. -EEXIST when the range overlaps another's,
 * -EINVAL when it is empty or wraps, -ENOSPC when the bus is full; then the bus is as it was.
 */
int bus_add(struct bus *bus, struct range range, const struct bus_ops *ops, void *device);

/*
 * An access by the guest, of size bytes. One that nobody answers, that crosses the end of a range or whose width the device
 * does not take is ignored, and reads as all ones (of that size), as on a real bus. Returns whether a device answered.
 */
bool bus_read(const struct bus *bus, uint64_t address, unsigned size, uint64_t *value);
bool bus_write(const struct bus *bus, uint64_t address, unsigned size, uint64_t value);

#endif
