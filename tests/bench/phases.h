/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BENCH_PHASES_H
#define SPMVM_BENCH_PHASES_H

#include <jansson.h>
#include <sys/types.h>

/*
 * The parts of a guest's run that are measured, each between two lines on its console: "@start NAME" and "@end NAME KEY=NUMBER...". After each
 * of them the guest waits for a line, so that the counters can be read while it rests.
 */
struct phases {
	json_t *parts;  /* {"NAME": [{"KEY": NUMBER, ..., "exits": as exits_read() has them}, one a run]}; owned */
	json_t *before; /* the counters at "@start"; owned */
};

/* Takes such a line of the VM of process pid and answers through fd. Other lines do nothing. -1 for an end without its start, and when nobody hears. */
int phases_hear(struct phases *phases, const char *line, pid_t pid, int fd);

#endif
