/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_GUEST_PATTERN_H
#define SPMVM_TESTS_GUEST_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* What belongs at word i of the memory with this seed: no two words of a test share a value but by a rare accident. */
static inline uint64_t pattern_word(uint64_t seed, uint64_t i)
{
	return (i + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ seed << 56;
}

static inline void pattern_write(volatile uint64_t *words, size_t count, uint64_t seed)
{
	for (size_t i = 0; i < count; i++)
		words[i] = pattern_word(seed, i);
}

/* The first word that differs, or count. */
static inline size_t pattern_verify(const volatile uint64_t *words, size_t count, uint64_t seed)
{
	size_t i = 0;

	while (i < count && words[i] == pattern_word(seed, i))
		i++;
	return i;
}

#endif
