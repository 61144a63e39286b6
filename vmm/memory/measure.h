/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_MEASURE_H
#define SPMVM_MEMORY_MEASURE_H

#include <sched.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/memory/backend.h"

/*
 * How fast host memory is, as one thread sees it that the caches do not help. A latency is that of loads of which each
 * depends on the one before, a bandwidth that of whole lines in ascending order.
 */
struct memory_speed {
	uint64_t latency;     /* picoseconds */
	uint64_t read, write; /* bytes a second */
};

/*
 * Measures memory as a backend of this source would have: of a memfd of its own, which has the slot's page size and
 * NUMA policy and is gone afterwards, so that the slot's own stays untouched. At most MEASURE_SIZE of it are used (the
 * pages are whole, though: one of 1G with hugetlb=1G), for about a fifth of a second; less of size when that is less.
 * cpus: where the thread runs, anywhere when there are none or this process may not use them. Errors are those of
 * backend_open(), backend_map() and backend_populate(). Main thread.
 */
#define MEASURE_SIZE (UINT64_C(64) << 20)
int memory_measure(struct memory_speed *speed, const struct backend_source *source, const char *option, uint64_t size,
		   const cpu_set_t *cpus, const struct log *log, struct error *err);

#endif
