/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_KERNEL_CACHE_H
#define SPMVM_BOOT_KERNEL_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/boot/bzimage.h"

/*
 * The unpacked kernel of a bzImage, kept in a folder from one start to the next, because unpacking takes longer than
 * all else before the guest runs. The folder holds
 *
 *   spmvm-kernel-1-SHA256   an unpacked kernel, named after its packed bytes; its mtime is that of its last use
 *   spmvm-known-SLOT        a link that leads nowhere: which bzImage has which SHA-256 (kernel_key.h)
 *   spmvm-new-RANDOM        a kernel that is being written, locked (flock) until it has its name
 *
 * Any number of spmvm may use it at once. A kernel appears with rename(), whole; the last of several that unpacked
 * the same one stays. One that was killed while writing leaves an unlocked file, which the next that writes removes.
 * Nothing is synced to the disk: a kernel is used only if its checksum is right. The oldest go when there are more
 * than KERNEL_CACHE_KERNELS or KERNEL_CACHE_BYTES.
 */
enum { KERNEL_CACHE_KERNELS = 4 };
#define KERNEL_CACHE_BYTES (UINT64_C(1) << 30)

struct unpacked_kernel {
	const uint8_t *bytes; /* an ELF file, its relocations behind it; until the release, and for reading only */
	size_t size;
	bool cached; /* it came out of the cache */
	/* private: where the bytes are, either ... */
	struct buf unpacked;
	/* ... or */
	void *mapped;
	size_t mapped_size;
	int fd; /* with a lease on it */
};

/*
 * Opens the folder of the cache, which is made if it is not there, and puts its descriptor, the caller's, into
 * folder; -1 for no cache. path is the user's choice ("off" for none); NULL is spmvm in $XDG_CACHE_HOME or ~/.cache.
 * The folder must be the caller's own and writable to nobody else: what is in it is trusted to come from spmvm,
 * though not to be whole.
 *
 * A folder that was named and will not do is an error (EXIT_STATUS_HOST); of the default one a debug line tells.
 */
int kernel_cache_open(int *folder, const char *path, const struct log *log, struct error *err);

/*
 * Unpacks a kernel, or takes it from the cache and else puts it there; folder may be -1. A kernel that cannot be
 * kept, for a full disk say, is a warning; errors are those of payload_unpack(). Any thread.
 *
 * The caller ends it with unpacked_kernel_release(), soon: until then whoever wants to write to the cache's file has
 * to wait.
 */
int unpacked_kernel_get(struct unpacked_kernel *kernel, const struct bzimage *image, int folder, const struct log *log,
			struct error *err);

/* Takes NULL and a zeroed one. */
void unpacked_kernel_release(struct unpacked_kernel *kernel);

#endif
