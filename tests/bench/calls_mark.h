/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BENCH_CALLS_MARK_H
#define SPMVM_BENCH_CALLS_MARK_H

/*
 * The line that bench_calls (calls.c, preloaded into a program) writes at the program's first KVM_RUN:
 *   bench-calls: main=NS run=NS NAME=COUNT/NS NAME=COUNT/NS ...
 * main and run are times of CLOCK_MONOTONIC, the rest counts and sums of time.
 */
#define CALLS_MARK "bench-calls: "

#endif
