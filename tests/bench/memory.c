/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/memory.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "55a5-66b0 rw-p 00000000 00:01 1025 /memfd:spmvm-ram0 (deleted)": a mapping's first line; the others are "Name: value". */
static bool is_mapping(const char *line, const char **name)
{
	uint64_t start, end, inode;
	int used = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %" SCNu64 " %n", &start, &end, &inode, &used) != 3 ||
	    used == 0)
		return false;
	*name = line + used;
	return true;
}

static void add_line(const char *line, bool guest, struct memory_use *use)
{
	uint64_t kib;
	char name[32];

	if (sscanf(line, "%31[^:]: %" SCNu64 " kB", name, &kib) != 2)
		return;
	if (guest) {
		if (strcmp(name, "Rss") == 0)
			use->guest += kib;
	} else if (strcmp(name, "Rss") == 0) {
		use->rss += kib;
	} else if (strcmp(name, "Pss") == 0) {
		use->pss += kib;
	} else if (strcmp(name, "Private_Clean") == 0 || strcmp(name, "Private_Dirty") == 0) {
		use->private_pages += kib;
	}
}

static int read_page_tables(pid_t pid, struct memory_use *use)
{
	char path[64], line[256];
	int result = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	if (file == NULL)
		return -1;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "VmPTE: %" SCNu64, &use->page_tables) == 1)
			result = 0;
	}
	fclose(file);
	return result;
}

int memory_sample(pid_t pid, const char *guest_prefix, struct memory_use *use)
{
	bool guest = false, seen = false;
	const char *name;
	size_t room = 0;
	char path[64], *line = NULL;
	FILE *file;

	*use = (struct memory_use){0};
	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	file = fopen(path, "re");
	if (file == NULL)
		return -1;
	while (getline(&line, &room, file) > 0) {
		if (is_mapping(line, &name)) {
			use->mappings++;
			guest = strncmp(name, guest_prefix, strlen(guest_prefix)) == 0;
			seen |= guest;
		} else {
			add_line(line, guest, use);
		}
	}
	free(line);
	fclose(file);
	return seen ? read_page_tables(pid, use) : -1;
}

static void raise_one(uint64_t *peak, uint64_t sample)
{
	if (sample > *peak)
		*peak = sample;
}

void memory_raise(struct memory_use *peak, const struct memory_use *sample)
{
	raise_one(&peak->pss, sample->pss);
	raise_one(&peak->private_pages, sample->private_pages);
	raise_one(&peak->rss, sample->rss);
	raise_one(&peak->guest, sample->guest);
	raise_one(&peak->page_tables, sample->page_tables);
	raise_one(&peak->mappings, sample->mappings);
}
