/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_CONFIG_HOST_H
#define SPMVM_CONFIG_HOST_H

#include "vmm/config.h"

/*
 * Figures of the host for the guest's nodes, for config_nodes.c and config_figures.c only. The host node behind a
 * node of the guest is the one that all of its memory must or should come from (host-nodes= with one node); behind
 * memory that may come from several there is none, unless the host has only one. Pure: the host was asked before
 * (vmm/host_nodes.h).
 */

/*
 * --distance host: fills the distances of pairs of which nothing was said in either direction and that have host nodes
 * behind both, with the host's. Nodes that are different in the guest are at 11 at least and 254 at most, as SLIT
 * demands. Warns of nodes without. EXIT_STATUS_HOST when the host does not say.
 */
int config_enter_host_distances(struct config *config, const struct config_raw *raw, struct error *err);

/*
 * --hmat: fills figures that nobody gave. host: those of the host node behind each node, from all nodes with CPUs what
 * the host's best CPUs get, from an accelerator to its own block what the host's best initiator gets; a block without
 * is an error (EXIT_STATUS_HOST), RAM without a warning. measure: those in raw->measured.
 */
int config_enter_host_figures(struct config *config, const struct config_raw *raw, struct error *err);

/* The host node behind a node of the guest; NULL when there is none. */
const struct host_node *config_host_node(const struct config *config, const struct host_nodes *host, uint32_t node);

#endif
