/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KERNEL_UNPACK_H
#define SPMVM_KERNEL_UNPACK_H

#include <pthread.h>
#include <stdbool.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/kernel_cache.h"
#include "vmm/boot/vmlinux.h"

/*
 * Unpacks a kernel, or takes it from the cache, in a thread of its own, beside the making of initramfs and machine, which take about as long.
 * Zeroed, it has nothing to do and nothing to release.
 */
struct kernel_unpack {
	const struct bzimage *image; /* borrowed; NULL when not started */
	const struct log *log;       /* borrowed */
	int cache;                   /* folder of the cache, or -1 */
	pthread_t thread;
	bool started;
	/* the thread's until it has ended */
	struct unpacked_kernel kernel;
	struct vmlinux vmlinux;
	int code;
	struct error why;
};

/*
 * Starts; image and log live until kernel_unpack_release(). EXIT_STATUS_HOST when there is no thread to be had.
 * cache is --kernel-cache's value or NULL; a folder that will not do is an error (kernel_cache_open()).
 */
int kernel_unpack_start(struct kernel_unpack *unpack, const struct bzimage *image, const char *cache,
			const struct log *log, struct error *err);

/*
 * The kernel, good until kernel_unpack_release(). NULL when it was not started, or when it cannot be unpacked. That is
 * no fault, but a line of the log: the kernel can unpack itself in the guest.
 */
const struct vmlinux *kernel_unpack_wait(struct kernel_unpack *unpack);

/* Waits for the thread, too. */
void kernel_unpack_release(struct kernel_unpack *unpack);

#endif
