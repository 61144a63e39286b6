/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold_memory MIB SEED: takes that much memory, writes all of it, and from then on verifies and rewrites it MiB by MiB, until
 * SIGTERM. Then it verifies all of it once more. Says "filled" when all is written, and at the end how much it has rewritten.
 * Fails at the first word that is not what was written last.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pattern.h"

enum {
	MIB = 1 << 20,
	WORDS = MIB / sizeof(uint64_t),
	PAUSE_US = 10000, /* on an emulated processor, all else would wait */
};

static volatile sig_atomic_t ends;

static void end(int signal)
{
	(void)signal;
	ends = 1;
}

static bool holds(const uint64_t *words, size_t mib, uint64_t seed)
{
	size_t bad = pattern_verify(words, WORDS, seed);

	if (bad == WORDS)
		return true;
	printf("hold_memory: MiB %zu, byte %zu holds %#llx, not %#llx\n", mib, bad * sizeof(uint64_t),
	       (unsigned long long)words[bad], (unsigned long long)pattern_word(seed, bad));
	return false;
}

int main(int argc, char *argv[])
{
	size_t count = argc == 3 ? strtoul(argv[1], NULL, 0) : 0, rewritten = 0;
	uint64_t first = argc == 3 ? strtoull(argv[2], NULL, 0) : 0;
	uint64_t *words, *seeds;

	if (count == 0) {
		puts("usage: hold_memory MIB SEED");
		return 2;
	}
	signal(SIGTERM, end);
	words = mmap(NULL, count * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	seeds = calloc(count, sizeof(*seeds));
	if (words == MAP_FAILED || seeds == NULL) {
		perror("hold_memory: out of memory");
		return 2;
	}
	for (size_t i = 0; i < count; i++) {
		seeds[i] = first + i * 7;
		pattern_write(words + i * WORDS, WORDS, seeds[i]);
	}
	puts("filled");
	fflush(stdout);
	for (size_t i = 0; !ends; i = (i + 1) % count) {
		if (!holds(words + i * WORDS, i, seeds[i]))
			return 1;
		pattern_write(words + i * WORDS, WORDS, ++seeds[i]);
		rewritten++;
		usleep(PAUSE_US);
	}
	for (size_t i = 0; i < count; i++) {
		if (!holds(words + i * WORDS, i, seeds[i]))
			return 1;
	}
	printf("hold_memory: %zu MiB are as written, after %zu MiB of rewriting\n", count, rewritten);
	return 0;
}
