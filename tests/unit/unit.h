/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_UNIT_H
#define SPMVM_TESTS_UNIT_UNIT_H

/* What every CMocka test includes, in the order that cmocka.h asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A small generator for property tests (xorshift64*, Vigna 2016): the same seed gives the same numbers everywhere. */
struct prng {
	uint64_t state;
};

/* The seed is SPMVM_SEED or a fixed one, printed so that a failure can be repeated. */
static inline struct prng prng_new(const char *test)
{
	const char *text = getenv("SPMVM_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : UINT64_C(0x5b3a9f1dc2e44701);

	print_message("%s: SPMVM_SEED=0x%" PRIx64 "\n", test, seed);
	return (struct prng){seed != 0 ? seed : 1};
}

static inline uint64_t prng_next(struct prng *prng)
{
	prng->state ^= prng->state >> 12;
	prng->state ^= prng->state << 25;
	prng->state ^= prng->state >> 27;
	return prng->state * UINT64_C(0x2545f4914f6cdd1d);
}

/* From 0 to bound - 1. */
static inline uint64_t prng_below(struct prng *prng, uint64_t bound)
{
	return prng_next(prng) % bound;
}

#endif
