/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_physical ADDRESS...: writes 64 KiB at each guest-physical address through /dev/mem, then reads all of them back. For ranges
 * that no driver has claimed.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "pattern.h"

enum { SIZE = 64 * 1024, WORDS = SIZE / 8, PLACES_MAX = 16 };

int main(int argc, char *argv[])
{
	uint64_t *places[PLACES_MAX];
	int fd = open("/dev/mem", O_RDWR | O_CLOEXEC);

	if (argc < 2 || argc - 1 > PLACES_MAX || fd < 0) {
		perror("map_physical: /dev/mem");
		return 2;
	}
	for (int i = 0; i < argc - 1; i++) {
		places[i] =
			mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)strtoull(argv[i + 1], NULL, 0));
		if (places[i] == MAP_FAILED) {
			perror(argv[i + 1]);
			return 1;
		}
		pattern_write(places[i], WORDS, (uint64_t)i + 1);
	}
	for (int i = 0; i < argc - 1; i++) {
		size_t bad = pattern_verify(places[i], WORDS, (uint64_t)i + 1);

		if (bad < WORDS) {
			printf("map_physical: %s + %zu holds %#llx\n", argv[i + 1], bad * sizeof(uint64_t),
			       (unsigned long long)places[i][bad]);
			return 1;
		}
	}
	printf("map_physical: %d places written and read back\n", argc - 1);
	return 0;
}
