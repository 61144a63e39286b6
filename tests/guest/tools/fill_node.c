/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fill_node MIB NODE [hold]: takes that much memory, writes and verifies all of it, and fails unless every page is on NODE: by
 * move_pages(2), and by what the node's free memory lost meanwhile. With "hold" it then waits for a line on its standard input.
 * Run it under numactl --membind=NODE.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pattern.h"

enum { PAGE = 4096 };

/* Free memory of a node in KiB, or -1: "Node 1 MemFree:  1048576 kB". */
static int64_t free_kib(int node)
{
	char path[64], line[128];
	int64_t kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	file = fopen(path, "re");
	if (file == NULL)
		return -1;
	while (kib < 0 && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "Node %*d MemFree: %" SCNd64, &kib) != 1)
			kib = -1;
	}
	fclose(file);
	return kib;
}

/* How many of the pages are not on the node; says where the first one is. */
static size_t strangers(char *memory, size_t pages, int node)
{
	void **addresses = calloc(pages, sizeof(*addresses));
	int *where = calloc(pages, sizeof(*where));
	size_t wrong = 0;

	if (addresses == NULL || where == NULL) {
		puts("fill_node: out of memory for the page list");
		exit(2);
	}
	for (size_t i = 0; i < pages; i++) {
		addresses[i] = memory + i * PAGE;
		where[i] = -1;
	}
	if (syscall(SYS_move_pages, 0, pages, addresses, NULL, where, 0) != 0) {
		perror("fill_node: move_pages");
		exit(2);
	}
	for (size_t i = 0; i < pages; i++) {
		if (where[i] == node)
			continue;
		if (wrong++ == 0)
			printf("fill_node: page %zu is on node %d (a negative number is an error)\n", i, where[i]);
	}
	free(where);
	free(addresses);
	return wrong;
}

int main(int argc, char *argv[])
{
	size_t mib = argc >= 3 ? strtoul(argv[1], NULL, 10) : 0, size = mib << 20, bad, wrong;
	int node = argc >= 3 ? atoi(argv[2]) : -1;
	int64_t before, lost;
	char *memory;

	if (mib == 0 || node < 0) {
		puts("usage: fill_node MIB NODE [hold]");
		return 2;
	}
	before = free_kib(node);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("fill_node: mmap");
		return 2;
	}
	pattern_write((uint64_t *)(void *)memory, size / sizeof(uint64_t), 1);
	bad = pattern_verify((uint64_t *)(void *)memory, size / sizeof(uint64_t), 1);
	wrong = strangers(memory, size / PAGE, node);
	lost = before - free_kib(node);
	printf("fill_node: %zu pages, %zu not on node %d; its free memory went from %" PRId64 " KiB down by %" PRId64
	       " KiB\n",
	       size / PAGE, wrong, node, before, lost);
	if (bad != size / sizeof(uint64_t)) {
		printf("fill_node: byte %zu does not hold what was written\n", bad * sizeof(uint64_t));
		return 1;
	}
	/* the kernel's per-CPU lists hold some free pages that MemFree does not count */
	if (before < 0 || wrong > 0 || lost < (int64_t)(size >> 10) * 9 / 10)
		return 1;
	if (argc > 3 && strcmp(argv[3], "hold") == 0) {
		puts("fill_node: holding");
		fflush(stdout);
		for (int c = 0; c != EOF && c != '\n'; c = getchar())
			;
	}
	return 0;
}
