/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_GZIP_H
#define SPMVM_TESTS_UNIT_GZIP_H

#include "tests/unit/unit.h"

#include <zlib.h>

/* Packs as gzip does, into so much room, which has to do. Returns the size. */
static inline size_t gzip_pack(const void *plain, size_t size, void *packed, size_t room)
{
	/* zlib takes it as it may be changed, and does not change it */
	z_stream stream = {.next_in = (Bytef *)(uintptr_t)plain,
			   .avail_in = (uInt)size,
			   .next_out = packed,
			   .avail_out = (uInt)room};

	assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	return room - stream.avail_out;
}

#endif
