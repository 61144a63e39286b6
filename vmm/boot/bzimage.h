/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_BZIMAGE_H
#define SPMVM_BOOT_BZIMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/error.h"

/*
 * A Linux bzImage on disk, its setup header read and checked (Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"). Every
 * number in it comes from outside and is checked here, once.
 */
enum {
	BZIMAGE_HEADER_START = 0x1f1, /* where the setup header starts in the file and in the zero page */
	BZIMAGE_HEADER_MAX = 0x290    /* where it ends at the most: edd_mbr_sig_buffer of the zero page follows */
};

struct bzimage {
	int fd;                                                    /* owned; -1 when unset */
	const char *path;                                          /* borrowed */
	uint8_t header[BZIMAGE_HEADER_MAX - BZIMAGE_HEADER_START]; /* as in the file, zero behind its end */
	uint32_t header_size;                                      /* bytes of it that the kernel defines */
	uint64_t code_offset;                                      /* of the protected-mode code in the file ... */
	uint64_t code_size;                                        /* ... and its bytes */
	uint64_t payload_offset, payload_size; /* of the packed vmlinux in the file; 0 when not told */
	uint64_t preferred_address, init_size;
	uint32_t alignment;
	bool relocatable, initrd_above_4g;
	uint64_t initrd_limit; /* the initrd's last byte lies below it */
	uint32_t cmdline_max;  /* characters, without the closing zero */
	char release[72];      /* "6.1.0-56-cloud-amd64", from kernel_version; empty when there is none */
};

/*
 * Opens and checks a bzImage. EXIT_STATUS_IMAGE, saying which: not a bzImage, an ELF vmlinux, truncated, 32-bit only, or too old for the
 * 64-bit entry (boot protocol below 2.12). On success the caller calls bzimage_release().
 */
int bzimage_open(struct bzimage *image, const char *path, struct error *err);

void bzimage_release(struct bzimage *image);

#endif
