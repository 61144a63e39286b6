/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_HOST_NODES_H
#define SPMVM_HOST_NODES_H

#include <sched.h>
#include <stddef.h>
#include <stdint.h>

#include "acpi/figures.h"
#include "vmm/base/error.h"

/*
 * What the host's kernel says of its NUMA nodes in /sys/devices/system/node: their CPUs, how far they are from each
 * other and how fast their memory is (Linux Documentation/admin-guide/mm/numaperf.rst). Plain data: the one place that
 * reads it is host_nodes_read().
 */
struct host_node {
	uint32_t number;
	cpu_set_t cpus; /* empty where there are none */
	/*
	 * In HMAT's units, ps and MB/s, each 0 when the host does not say: from the best CPUs (access1; access0 where the
	 * kernel has no other), and from whatever is best, an accelerator too (access0).
	 */
	uint32_t from_cpus[ACPI_FIGURES];
	uint32_t from_any[ACPI_FIGURES];
};

struct host_nodes {
	struct host_node *nodes; /* those that are online, ascending; heap, owned */
	size_t count;
	uint8_t *distances; /* count * count, row "from"; a row of 0 when the host does not say; heap, owned */
};

/*
 * Reads it all. root goes before every path: "" is the host itself, tests give a folder of their own. What is missing
 * or no number that the kernel would write is as if the host did not say it; a host without NUMA has no nodes. Fails
 * for want of memory only; on failure nothing is left to release.
 */
int host_nodes_read(struct host_nodes *host, const char *root, struct error *err);

/* Takes a zeroed one too. */
void host_nodes_release(struct host_nodes *host);

/* The node of a number; NULL when it is not online. */
const struct host_node *host_nodes_find(const struct host_nodes *host, uint32_t number);

/* From one node of host->nodes to another; 0 when the host does not say. */
uint8_t host_nodes_distance(const struct host_nodes *host, const struct host_node *from, const struct host_node *to);

#endif
