/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BENCH_MEMORY_H
#define SPMVM_BENCH_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

/* What a process has of the host's memory, in KiB. Guest memory is the mappings whose name starts with what was given. */
struct memory_use {
	uint64_t pss;           /* all but guest memory; pages that several processes share count in parts */
	uint64_t private_pages; /* all but guest memory, and nobody else's */
	uint64_t rss;           /* all but guest memory, shared libraries in full */
	uint64_t guest;         /* guest memory that is there (Rss) */
	uint64_t page_tables;   /* VmPTE: of both */
	uint64_t mappings;      /* their number */
};

/* Reads /proc/PID/smaps and status. Returns 0, or -1 when the process is gone or nothing of it is guest memory yet. */
int memory_sample(pid_t pid, const char *guest_prefix, struct memory_use *use);

/* Raises each figure of peak to the sample's. */
void memory_raise(struct memory_use *peak, const struct memory_use *sample);

#endif
