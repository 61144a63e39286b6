/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_NODE_SET_H
#define SPMVM_BASE_NODE_SET_H

#include <stdbool.h>
#include <stdint.h>

/* Linux's MAX_NUMNODES on x86-64 with NODES_SHIFT=10, the value of Debian's kernels, for guests and hosts alike. */
enum { NODES_MAX = 1024 };

/* A set of node numbers, laid out like the node masks of mbind(2) on a 64-bit machine. A zeroed set is empty. */
struct node_set {
	uint64_t words[NODES_MAX / 64];
};

static inline void node_set_add(struct node_set *set, uint32_t node)
{
	set->words[node / 64] |= UINT64_C(1) << (node % 64);
}

static inline bool node_set_has(const struct node_set *set, uint32_t node)
{
	return node < NODES_MAX && (set->words[node / 64] >> (node % 64) & 1) != 0;
}

static inline bool node_set_is_empty(const struct node_set *set)
{
	for (int i = 0; i < NODES_MAX / 64; i++) {
		if (set->words[i] != 0)
			return false;
	}
	return true;
}

#endif
