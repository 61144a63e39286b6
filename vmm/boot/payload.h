/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_PAYLOAD_H
#define SPMVM_BOOT_PAYLOAD_H

#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/boot/bzimage.h"

/*
 * The kernel proper in a bzImage: a packed vmlinux (an ELF file, its relocations behind it), which the kernel unpacks by itself
 * when it is booted. Linux packs it by gzip, bzip2, lzma, xz, lzo, lz4 or zstd (KERNEL_GZIP and the like).
 */

/* No kernel is this big; it bounds what a made-up file may have us unpack. */
#define PAYLOAD_UNPACKED_MAX (UINT64_C(512) << 20)

/*
 * Appends the unpacked payload to out. EXIT_STATUS_IMAGE, after which out has the size that it had: -ENOENT when the header names no
 * payload, -ENOTSUP for an unknown format, -EBADMSG when it is damaged, -EFBIG, -ENOMEM. Any thread.
 */
int payload_unpack(const struct bzimage *image, struct buf *out, struct error *err);

/* Its two steps, for who wants to see the packed bytes: payload_read() fills an empty packed, released by the caller. */
int payload_read(const struct bzimage *image, struct buf *packed, struct error *err);
int payload_unpack_read(const struct bzimage *image, const struct buf *packed, struct buf *out, struct error *err);

#endif
