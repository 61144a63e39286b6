/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poison_page FILE OFFSET: makes the host's kernel take the page behind a byte of a file for broken (madvise(2),
 * MADV_HWPOISON), as a machine check would. Root's, and the page stays out of use until the host is booted again: for the
 * lab only. The SIGBUS that the kernel has for whoever poisons is expected.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif

static void on_bus_error(int number)
{
	(void)number;
	_exit(0);
}

int main(int argc, char *argv[])
{
	unsigned long offset = argc == 3 ? strtoul(argv[2], NULL, 0) & ~4095ul : 0;
	int fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	signal(SIGBUS, on_bus_error);
	if (page == MAP_FAILED || madvise(page, 4096, MADV_HWPOISON) < 0) {
		perror("poison_page FILE OFFSET");
		return 1;
	}
	return 0;
}
