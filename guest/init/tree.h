/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_GUEST_INIT_TREE_H
#define SPMVM_GUEST_INIT_TREE_H

#include <stddef.h>
#include <stdint.h>

/* A slot as the machine's device tree has it: what the user calls it, and where it starts. */
enum { TREE_ID_SIZE = 64 };

struct tree_slot {
	uint64_t start;
	char id[TREE_ID_SIZE];
};

/*
 * Takes the slots out of a flattened device tree (Devicetree Specification 0.4, chapter 5) of the form that
 * vmm/device_tree.h shows: nodes below the root whose "compatible" is "spmvm,spm", addresses of two cells. Fills at most
 * room elements and returns how many slots there are, so that a first call with room 0 tells how many it takes. A slot
 * whose id could not be a file's name is left out. Reads nothing outside of the size bytes, whatever is in them; what
 * does not make sense ends the search.
 */
size_t tree_slots(const void *tree, size_t size, struct tree_slot *slots, size_t room);

#endif
