/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_TEST_ACPI_MACHINES_H
#define SPMVM_TESTS_UNIT_TEST_ACPI_MACHINES_H

#include "acpi/acpi.h"

#include <stddef.h>
#include <stdint.h>

/* The machines that the tests of acpi/ share, and a decoder that knows nothing of the builders. */

/* Where the tests put their blobs. */
#define MACHINE_BASE UINT64_C(0x9f000)

struct named_machine {
	const char *name;
	struct acpi_inputs inputs;
};

enum { NAMED_MACHINES = 4 };

/*
 * "one-node": one processor, RAM, COM1. "two-slots": RAM in two pieces, two SPM slots on nodes of their own, the rest
 * of the device-memory window hotpluggable at the highest node, every kind of device. "x2apic": sparse APIC ids around
 * 255. "figures": three slots, one with its accelerator, an accelerator without memory, an HMAT of all that it can
 * hold.
 */
extern const struct named_machine named_machines[NAMED_MACHINES];

/* A machine of any size that passes acpi_check(); memory must be at least localities - cpus. grown_free() releases it. */
struct grown_machine {
	struct acpi_inputs inputs;
	struct acpi_cpu *cpus;
	struct acpi_memory *memory;
	uint8_t *distances;
	struct acpi_device *devices;
	char (*names)[5];
	uint32_t *figures; /* of grown_with_figures() */
	uint32_t *attached;
	struct acpi_cache *caches;
};

void grown_new(struct grown_machine *machine, size_t cpus, size_t memory, uint32_t localities, size_t devices);

/* Adds an HMAT with figures of every kind, all different, and a cache before each range of memory. */
void grown_with_figures(struct grown_machine *machine);

void grown_free(struct grown_machine *machine);

/* A little-endian number of width bytes. */
uint64_t read_le(const uint8_t *bytes, size_t width);

/* The one table with this signature, found by the blob's list; fails the test when there is none. */
const uint8_t *find_table(const struct acpi_blob *blob, const char *signature, size_t *size);

#endif
