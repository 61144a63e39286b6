/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_CONFIG_NODES_H
#define SPMVM_CONFIG_NODES_H

#include "vmm/config.h"

/*
 * The NUMA half of config_from(), for config.c only: which node each CPU is in, whether the nodes are ones that Linux keeps as they
 * are, who shares a node with an SPM block, and how far apart they are. Call in this order, after mem and spm are complete.
 * Each returns 0 or fails with EXIT_STATUS_CONFIG; what they allocate belongs to config.
 */

/* Fills cpu_count and cpu_nodes. */
int config_place_cpus(struct config *config, const struct config_raw *raw, struct error *err);

/* Fills accels and accel_count. */
int config_place_accels(struct config *config, const struct config_raw *raw, struct error *err);

/*
 * Fills node_count, cpu_node_count and initiator_count; refuses gaps and nodes that are not in this order: with CPUs,
 * with accelerators, others.
 */
int config_number_nodes(struct config *config, struct error *err);

/* Refuses an SPM block that is not alone on its node, or warns when all blocks there say mixed=on. */
int config_check_sharing(struct config *config, struct error *err);

/* Fills distances. */
int config_fill_distances(struct config *config, const struct config_raw *raw, struct error *err);

/* Appends a warning; -ENOMEM. In config.c. */
int config_warn(struct config *config, struct error *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
