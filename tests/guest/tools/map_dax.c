/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_dax DEVICE SIZE [DEVICE SIZE]...: maps each device whole, writes every word of all of them, and only then reads all of them
 * back: so memory that two devices share, or that wraps around inside of one, is found.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pattern.h"

enum { DEVICES_MAX = 16 };

struct device {
	const char *path;
	uint64_t *words;
	size_t count;
};

static int map(struct device *device, const char *path, const char *size_text)
{
	size_t size = strtoull(size_text, NULL, 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *memory = MAP_FAILED;

	if (fd >= 0) {
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (size == 0 || memory == MAP_FAILED) {
		perror(path);
		return -1;
	}
	*device = (struct device){.path = path, .words = memory, .count = size / sizeof(uint64_t)};
	return 0;
}

int main(int argc, char *argv[])
{
	struct device devices[DEVICES_MAX];
	size_t count = (size_t)(argc - 1) / 2;

	if (argc < 3 || argc % 2 == 0 || count > DEVICES_MAX) {
		puts("usage: map_dax DEVICE SIZE [DEVICE SIZE]...");
		return 2;
	}
	for (size_t i = 0; i < count; i++) {
		if (map(&devices[i], argv[1 + 2 * i], argv[2 + 2 * i]) < 0)
			return 1;
	}
	for (size_t i = 0; i < count; i++)
		pattern_write(devices[i].words, devices[i].count, i + 1);
	for (size_t i = 0; i < count; i++) {
		size_t bad = pattern_verify(devices[i].words, devices[i].count, i + 1);

		if (bad < devices[i].count) {
			printf("map_dax: %s: byte %zu holds %#llx, not %#llx\n", devices[i].path,
			       bad * sizeof(uint64_t), (unsigned long long)devices[i].words[bad],
			       (unsigned long long)pattern_word(i + 1, bad));
			return 1;
		}
		printf("map_dax: %s: %zu bytes written and read back\n", devices[i].path,
		       devices[i].count * sizeof(uint64_t));
	}
	return 0;
}
