/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_COUNTED_H
#define SPMVM_TESTS_UNIT_COUNTED_H

/* What a virtio device has counted under a name, found as a report finds it. */
#include <string.h>

#include "devices/virtio/virtio.h"

#define NOT_COUNTED UINT64_MAX

struct counted {
	const char *name, *label;
	uint64_t value;
};

static inline void counted_add(void *context, const struct counter_table *table, const void *counters,
			       const char *label)
{
	struct counted *wanted = context;

	if ((wanted->label == NULL) != (label == NULL) || (label != NULL && strcmp(label, wanted->label) != 0))
		return;
	for (size_t i = 0; i < table->count; i++) {
		if (strcmp(table->fields[i].name, wanted->name) == 0)
			wanted->value = counter_read((const struct counter *)(const void *)((const char *)counters +
											    table->fields[i].offset));
	}
}

/* label: NULL for a counter that has none. NOT_COUNTED when the device shows no such counter. */
static inline uint64_t counted(const struct virtio_device *device, const char *name, const char *label)
{
	struct counted wanted = {name, label, NOT_COUNTED};

	virtio_show_counters(device, &(struct counter_sink){counted_add, &wanted});
	return wanted.value;
}

#endif
