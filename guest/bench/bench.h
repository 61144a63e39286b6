/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_GUEST_BENCH_H
#define SPMVM_GUEST_BENCH_H

/*
 * What tests/bench/spmvm-bench measures with, in a guest and on the host alike: so that what is compared is the memory
 * and not two programs. It reads one job a line from standard input and answers each with one JSON object a line, at
 * once: so the script that asks can take turns between machines.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);

/* The answer to a job that failed; printf's format. The program goes on: the script judges. */
void answer_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * A job: what it is called, what it wants, and its work, which answers. Arguments are words; work gets at least `least`.
 */
struct job {
	const char *name;
	const char *arguments; /* for --help */
	int least;
	void (*work)(int count, char **words);
	const char *what;
};

/* memory.c: mappings by name, and passes over them */
extern const struct job memory_jobs[];
/* claim.c: blocks of the spm_claim driver, and dax devices as system RAM */
extern const struct job claim_jobs[];

/* "256M" as bytes; false when it is no size. */
bool parse_size(const char *text, uint64_t *size);
bool parse_count(const char *text, unsigned int least, unsigned int most, unsigned int *count);

#endif
