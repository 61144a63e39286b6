/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_DECOMPRESS_H
#define SPMVM_BOOT_DECOMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"

/*
 * What a file is packed by, told apart by the first bytes and not by the name: lz4 is its legacy frame, lzo is lzop's.
 * They are the formats of Linux's lib/decompress.c.
 */
enum packing {
	PACKING_NONE,
	PACKING_XZ,
	PACKING_ZSTD,
	PACKING_GZIP,
	PACKING_BZIP2,
	PACKING_LZ4,
	PACKING_LZO,
	PACKING_LZMA,
};

enum packing packing_of(const uint8_t *bytes, size_t size);

/*
 * Unpacks a file that may be packed; one of PACKING_NONE is taken as it is. Appends at most limit bytes to out. lz4 and
 * lzma have no checksum, and lz4 no end mark either.
 *
 * 0, or -EBADMSG for damaged or cut-off input, -EFBIG above limit, -ENOMEM. On failure out may hold a part of the bytes.
 * Any thread.
 */
int decompress(const uint8_t *packed, size_t size, size_t limit, struct buf *out);

#endif
