/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_to_dax DISK DAX SIZE: reads the disk's first SIZE bytes past the page cache straight into the mapped dax device, which is DMA of a
 * virtio device into specific-purpose memory, and writes them to standard output from there.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STEP = 1 << 20 };

int main(int argc, char *argv[])
{
	size_t size = argc == 4 ? strtoull(argv[3], NULL, 0) : 0;
	int disk, dax;
	char *memory;

	if (size == 0 || size % STEP != 0) {
		fprintf(stderr, "usage: disk_to_dax DISK DAX SIZE (whole MiB)\n");
		return 2;
	}
	disk = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
	dax = open(argv[2], O_RDWR | O_CLOEXEC);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dax, 0);
	if (disk < 0 || dax < 0 || memory == MAP_FAILED) {
		perror("disk_to_dax: open or map");
		return 1;
	}
	for (size_t at = 0; at < size; at += STEP) {
		if (pread(disk, memory + at, STEP, (off_t)at) != STEP) {
			perror("disk_to_dax: read into the dax device");
			return 1;
		}
	}
	for (size_t at = 0; at < size;) {
		ssize_t put = write(STDOUT_FILENO, memory + at, size - at);

		if (put < 0) {
			perror("disk_to_dax: write");
			return 1;
		}
		at += (size_t)put;
	}
	return 0;
}
