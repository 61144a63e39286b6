/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICE_TREE_H
#define SPMVM_DEVICE_TREE_H

#include <stdio.h>

#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/board.h"

/*
 * The machine's memory as a flattened device tree (Devicetree Specification 0.4, chapter 5). ACPI tells a slot's range
 * and its proximity domain but has no place for its name; here a guest finds the slot that the user called hbm0:
 *
 *	/ {
 *		model = "spmvm";
 *		#address-cells = <2>;
 *		#size-cells = <2>;
 *		memory@0 {                     one for each RAM entry of the E820 map
 *			device_type = "memory";
 *			reg = <address size>;
 *			numa-node-id = <0>;
 *		};
 *		spm@100000000 {                one for each slot, by address
 *			compatible = "spmvm,spm";
 *			id = "hbm0";           unique
 *			reg = <address size>;
 *			size = <size>;         once more by itself, in two cells
 *			numa-node-id = <1>;
 *		};
 *		distance-map {
 *			compatible = "numa-distance-map-v1";
 *			distance-matrix = <from to distance>, ...;
 *		};
 *	};
 *
 * The matrix has one triplet for each pair of nodes, in ascending order, and a second one where the way back differs:
 * by the binding, one triplet stands for both ways when they agree.
 *
 * The guest gets it as setup_data of type SETUP_DTB (vmm/boot/linux_boot.h), and Linux shows it under
 * /sys/kernel/boot_params/setup_data. The machine remains ACPI's: the tree repeats what its tables say. A kernel
 * without CONFIG_OF, as Debian's are on this architecture, does nothing else with it. One with CONFIG_OF looks in it
 * for interrupt controllers of Intel's CE4100 and finds none; ACPI has named its own by then. Because the root has no
 * "compatible", kernels from 6.10 on take the tree as not populated (of_have_populated_dt()) and do not even look.
 */
#define DEVICE_TREE_SLOT "spmvm,spm"

/*
 * Builds the tree of a board into an empty buffer, which the caller releases; after a failure it is empty. Fails for want
 * of memory only.
 */
int device_tree_build(const struct board *board, struct buf *blob, struct error *err);

/* Writes a tree's source, for a person or dtc: compiled, it is the same tree again. */
void device_tree_print(const struct buf *blob, FILE *out);

#endif
