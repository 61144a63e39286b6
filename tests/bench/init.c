/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark's first process in the guest: says on the console that it runs, and how old the kernel is, and stops. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	struct timespec now;

	/* the kernel has opened /dev/console for us, from the initramfs that is built into it */
	clock_gettime(CLOCK_BOOTTIME, &now);
	dprintf(STDOUT_FILENO, "bench-init: %lld ns after the kernel's clock started\n",
		(long long)now.tv_sec * 1000000000 + now.tv_nsec);
	for (;;)
		pause();
}
