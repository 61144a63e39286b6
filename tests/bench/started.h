/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BENCH_STARTED_H
#define SPMVM_BENCH_STARTED_H

#include <jansson.h>
#include <stdint.h>

/*
 * What spmvm --log debug says of its start, on the way to the mark. Zeroed to begin with; nothing is said by other
 * programs.
 */
struct started {
	uint64_t run_at; /* CLOCK_MONOTONIC in ns: "first KVM_RUN at N ns of CLOCK_MONOTONIC" */
	json_t *stages;  /* {"NAME": microseconds}: "start, us: NAME N NAME N ...; ..."; owned */
};

/* Takes a line of such; any other does nothing. */
void started_hear(struct started *started, const char *line);

#endif
