/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_KERNEL_KEY_H
#define SPMVM_BOOT_KERNEL_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/boot/bzimage.h"

/*
 * The name under which the cache keeps the unpacked kernel of a bzImage (for kernel_cache.c only): the SHA-256 of the
 * packed bytes, and of nothing else in the file, behind a prefix that says whose file it is and what its format is.
 * Two kernels never have one name.
 *
 * Hashing 14 MB takes longer than to load the unpacked 53 MB, so the folder remembers the names of files that have
 * not changed since. Their inode's ctime says so, which no program can set; git's index and backup programs rely on
 * it as well. Here it counts only
 *   - on file systems that note each change, by write() and by mmap(), with the host's own clock: ext4, XFS and Btrfs;
 *   - when the file has been left alone for a minute before it was hashed: a change in the same tick of the clock, or
 *     of a page that is mapped and already dirty, leaves no trace in it;
 *   - within one boot of the host: after a crash the disk may have the new bytes and the old ctime.
 * All else is hashed every time.
 */
#define KERNEL_KEY_PREFIX                                                                                              \
	"spmvm-kernel-1-"      /* another number for another format of the file, or another way to unpack */
enum { KERNEL_KEY_SIZE = 80 }; /* the prefix, 64 hexadecimal digits and the closing zero */

bool kernel_key_is(const char *text);

/* Whether the folder remembers the image's key. */
bool kernel_key_recall(int folder, const struct bzimage *image, char key[KERNEL_KEY_SIZE]);

/* Works the key out, and makes the folder remember it if it can. -errno of reading the image; key is empty then. */
int kernel_key_hash(int folder, const struct bzimage *image, char key[KERNEL_KEY_SIZE]);

/* Whether it is the key of these packed bytes. */
bool kernel_key_matches(const char key[KERNEL_KEY_SIZE], const uint8_t *packed, size_t size);

#endif
