/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BENCH_CALLS_READ_H
#define SPMVM_BENCH_CALLS_READ_H

#include <jansson.h>
#include <stdint.h>

/*
 * What bench_calls said (calls_mark.h), as {NAME: {"count": N, "ns": N}, ...}: where the time from start, the exec, to the first KVM_RUN
 * went. "own-code" is what was in none of the calls. NULL when the line is not a whole one. The caller owns the result.
 */
json_t *calls_read(const char *line, uint64_t start);

#endif
