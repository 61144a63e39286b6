/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_DECOMPRESS_H
#define SPMVM_BOOT_DECOMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"

/*
 * Unpacks a file that may be packed by xz, zstd, gzip, bzip2, lz4 (its legacy frame), lzo (lzop) or lzma, told apart by the first bytes and not by the
 * name; anything else is taken as it is. Appends at most limit bytes to out. lz4 and lzma have no checksum, and lz4 no
 * end mark either.
 *
 * 0, or -EBADMSG for damaged or cut-off input, -EFBIG above limit, -ENOMEM. On failure out may hold a part of the bytes.
 * Any thread.
 */
int decompress(const uint8_t *packed, size_t size, size_t limit, struct buf *out);

#endif
