/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEASURE_FIGURES_H
#define SPMVM_MEASURE_FIGURES_H

#include "vmm/base/log.h"
#include "vmm/config.h"

/*
 * --hmat measure: measures the memory of every --mem and --spm of config from every node with CPUs, and makes what
 * config_raw.measured is to point at (*measured, heap, the caller's). The CPUs of such a node are taken to be on the
 * host node behind its own memory; where there is none, the measuring thread runs anywhere. Memory of one source
 * (host-nodes, policy, hugetlb) is measured once, and what has all four figures by its option not at all. Latencies
 * are rounded to ns, as Linux shows them, bandwidths to three digits of MB/s. Errors are those of memory_measure().
 * Main thread, before the machine has memory of its own.
 */
int measure_figures(struct memory_figures **measured, const struct config *config, const struct host_nodes *host,
		    const struct log *log, struct error *err);

/*
 * What became of them in config: at level info a line for each memory that was measured, with the very figures of its
 * node, as a person would type them into its option.
 */
void measure_tell(const struct config *config, const struct host_nodes *host, const struct log *log);

#endif
