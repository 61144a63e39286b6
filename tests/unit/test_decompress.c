/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/gzip.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "vmm/boot/decompress.h"

enum { PLAIN_SIZE = 300000, PACKED_MAX = 400000 };

struct sample {
	uint8_t plain[PLAIN_SIZE];
	uint8_t packed[PACKED_MAX];
	size_t packed_size;
};

static size_t pack_xz(const uint8_t *plain, size_t size, uint8_t *packed)
{
	size_t used = 0;

	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, plain, size, packed, &used, PACKED_MAX),
			 LZMA_OK);
	return used;
}

static size_t pack_zstd(const uint8_t *plain, size_t size, uint8_t *packed)
{
	size_t used = ZSTD_compress(packed, PACKED_MAX, plain, size, 3);

	assert_false(ZSTD_isError(used));
	return used;
}

static size_t pack_gzip(const uint8_t *plain, size_t size, uint8_t *packed)
{
	return gzip_pack(plain, size, packed, PACKED_MAX);
}

static size_t pack_lzma(const uint8_t *plain, size_t size, uint8_t *packed)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_options_lzma options;

	assert_false(lzma_lzma_preset(&options, 6));
	assert_int_equal(lzma_alone_encoder(&stream, &options), LZMA_OK);
	stream.next_in = plain;
	stream.avail_in = size;
	stream.next_out = packed;
	stream.avail_out = PACKED_MAX;
	assert_int_equal(lzma_code(&stream, LZMA_FINISH), LZMA_STREAM_END);
	size = PACKED_MAX - stream.avail_out;
	lzma_end(&stream);
	return size;
}

/* The legacy frame of "lz4 -l": a magic number, then each block behind its packed size. */
static size_t pack_lz4(const uint8_t *plain, size_t size, uint8_t *packed)
{
	static const uint8_t MAGIC[] = {0x02, 0x21, 0x4c, 0x18};
	size_t used = sizeof(MAGIC);

	memcpy(packed, MAGIC, sizeof(MAGIC));
	if (size > 0) {
		int length = LZ4_compress_default((const char *)plain, (char *)packed + 8, (int)size, PACKED_MAX - 8);

		assert_true(length > 0);
		for (int i = 0; i < 4; i++)
			packed[4 + i] = (uint8_t)(length >> (8 * i));
		used += 4 + (size_t)length;
	}
	return used;
}

static size_t pack_bzip2(const uint8_t *plain, size_t size, uint8_t *packed)
{
	unsigned used = PACKED_MAX;

	assert_int_equal(
		BZ2_bzBuffToBuffCompress((char *)packed, &used, (char *)(uintptr_t)plain, (unsigned)size, 9, 0, 0),
		BZ_OK);
	return used;
}

static size_t put_number(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
	return 4;
}

/* As "lzop" does it: the header that version 1.04 writes, then blocks of 256 KiB at most, with a checksum of what is in them. */
static size_t pack_lzo(const uint8_t *plain, size_t size, uint8_t *packed)
{
	static const uint8_t HEADER[] = {0x89, 'L',  'Z',  'O',  0,    '\r', '\n', 0x1a, '\n', /* magic */
					 0x10, 0x40, 0x20, 0xa0, 0x09, 0x40,                   /* versions */
					 1,    5,    0,    0,    0,    1, /* method, level, flags */
					 0,    0,    0,    0,    0,    0,    0,    0,    0,
					 0,    0,    0,                                /* mode, times */
					 3,    'a',  'b',  'c',  1,    2,    3,    4}; /* name, checksum */
	uint8_t *work = malloc(LZO1X_1_MEM_COMPRESS), *block = malloc(2 * PACKED_MAX);
	size_t used = sizeof(HEADER);

	assert_non_null(work);
	assert_non_null(block);
	memcpy(packed, HEADER, sizeof(HEADER));
	for (size_t at = 0; at < size; at += 256 << 10) {
		size_t length = size - at < 256 << 10 ? size - at : 256 << 10;
		lzo_uint got;

		assert_int_equal(lzo1x_1_compress(plain + at, length, block, &got, work), LZO_E_OK);
		used += put_number(packed + used, (uint32_t)length);
		used += put_number(packed + used, (uint32_t)(got < length ? got : length));
		used += put_number(packed + used, lzo_adler32(1, plain + at, length));
		assert_true(used + got + 4 <= PACKED_MAX);
		memcpy(packed + used, got < length ? block : plain + at, got < length ? got : length);
		used += got < length ? got : length;
	}
	free(work);
	free(block);
	return used + put_number(packed + used, 0);
}

typedef size_t pack_function(const uint8_t *plain, size_t size, uint8_t *packed);
static pack_function *const PACKERS[] = {pack_xz, pack_zstd, pack_gzip, pack_lzma, pack_lz4, pack_bzip2, pack_lzo};
static const enum packing PACKINGS[] = {PACKING_XZ,  PACKING_ZSTD,  PACKING_GZIP, PACKING_LZMA,
					PACKING_LZ4, PACKING_BZIP2, PACKING_LZO};
enum { PACKER_COUNT = sizeof(PACKERS) / sizeof(PACKERS[0]) };

static int setup(void **state)
{
	struct sample *sample = calloc(1, sizeof(*sample));
	uint32_t random = 1;

	assert_non_null(sample);
	for (size_t i = 0; i < PLAIN_SIZE; i++) {
		random = random * 1664525 + 1013904223;
		sample->plain[i] = (uint8_t)(random >> 30); /* packs to about a quarter, by lz4 to half */
	}
	*state = sample;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void every_format_unpacks(void **state)
{
	struct sample *sample = *state;

	for (size_t i = 0; i < PACKER_COUNT; i++) {
		struct buf out = {0};

		buf_text(&out, "before");
		sample->packed_size = PACKERS[i](sample->plain, PLAIN_SIZE, sample->packed);
		assert_true(sample->packed_size < PLAIN_SIZE * 2 / 3);
		assert_int_equal(packing_of(sample->packed, sample->packed_size), PACKINGS[i]);
		assert_int_equal(decompress(sample->packed, sample->packed_size, PLAIN_SIZE, &out), 0);
		assert_int_equal(out.size, 6 + PLAIN_SIZE);
		assert_memory_equal(out.data, "before", 6);
		assert_memory_equal(out.data + 6, sample->plain, PLAIN_SIZE);
		buf_release(&out);
	}
}

static void empty_content_unpacks(void **state)
{
	struct sample *sample = *state;

	for (size_t i = 0; i < PACKER_COUNT; i++) {
		struct buf out = {0};

		sample->packed_size = PACKERS[i](sample->plain, 0, sample->packed);
		assert_int_equal(decompress(sample->packed, sample->packed_size, 0, &out), 0);
		assert_int_equal(out.size, 0);
		buf_release(&out);
	}
}

static void limit_holds(void **state)
{
	static const size_t limits[] = {0, 1, 65535, 65536, PLAIN_SIZE - 1};
	struct sample *sample = *state;

	for (size_t i = 0; i < PACKER_COUNT; i++) {
		sample->packed_size = PACKERS[i](sample->plain, PLAIN_SIZE, sample->packed);
		for (size_t j = 0; j < sizeof(limits) / sizeof(limits[0]); j++) {
			struct buf out = {0};

			assert_int_equal(decompress(sample->packed, sample->packed_size, limits[j], &out), -EFBIG);
			assert_true(out.size <= limits[j] + 1);
			buf_release(&out);
		}
	}
}

static void cut_off_input_is_refused(void **state)
{
	struct sample *sample = *state;

	for (size_t i = 0; i < PACKER_COUNT; i++) {
		size_t full = PACKERS[i](sample->plain, PLAIN_SIZE, sample->packed);
		size_t cuts[] = {6, 20, full / 2, full - 1};

		for (size_t j = 0; j < sizeof(cuts) / sizeof(cuts[0]); j++) {
			struct buf out = {0};

			assert_int_equal(decompress(sample->packed, cuts[j], PLAIN_SIZE, &out), -EBADMSG);
			buf_release(&out);
		}
	}
}

/* Into a buffer that has the room already, where zstd needs no window. */
static void a_buffer_with_room_is_filled(void **state)
{
	struct sample *sample = *state;

	for (size_t i = 0; i < PACKER_COUNT; i++) {
		size_t full = PACKERS[i](sample->plain, PLAIN_SIZE, sample->packed);
		struct buf out = {0};

		buf_text(&out, "before");
		buf_reserve(&out, PLAIN_SIZE);
		assert_int_equal(decompress(sample->packed, full, PLAIN_SIZE, &out), 0);
		assert_int_equal(out.size, 6 + PLAIN_SIZE);
		assert_memory_equal(out.data, "before", 6);
		assert_memory_equal(out.data + 6, sample->plain, PLAIN_SIZE);
		out.size = 6;
		assert_int_equal(decompress(sample->packed, full, PLAIN_SIZE - 1, &out), -EFBIG);
		out.size = 6;
		assert_int_equal(decompress(sample->packed, full - 1, PLAIN_SIZE, &out), -EBADMSG);
		buf_release(&out);
	}
}

/* These tell a changed byte; zstd's checksum is optional, the others have none. */
static void damage_is_refused(void **state)
{
	struct sample *sample = *state;

	for (size_t i = 0; i < PACKER_COUNT; i++) {
		struct buf out = {0};

		if (PACKERS[i] != pack_xz && PACKERS[i] != pack_gzip && PACKERS[i] != pack_bzip2 &&
		    PACKERS[i] != pack_lzo)
			continue;
		sample->packed_size = PACKERS[i](sample->plain, PLAIN_SIZE, sample->packed);
		sample->packed[sample->packed_size / 2] ^= 0x55;
		assert_int_equal(decompress(sample->packed, sample->packed_size, 4 * PLAIN_SIZE, &out), -EBADMSG);
		buf_release(&out);
	}
}

/* A file of more than 8 MiB has several blocks, and frames may follow each other. */
static void lz4_has_many_blocks(void **state)
{
	struct sample *sample = *state;
	size_t one = pack_lz4(sample->plain, PLAIN_SIZE / 2, sample->packed);
	size_t two = pack_lz4(sample->plain, 1000, sample->packed + one);
	struct buf out = {0};

	assert_int_equal(decompress(sample->packed, one + two, PLAIN_SIZE, &out), 0);
	assert_int_equal(out.size, PLAIN_SIZE / 2 + 1000);
	memmove(sample->packed + one, sample->packed + one + 4, two - 4);
	out.size = 0;
	assert_int_equal(decompress(sample->packed, one + two - 4, PLAIN_SIZE, &out), 0);
	assert_int_equal(out.size, PLAIN_SIZE / 2 + 1000);
	assert_memory_equal(out.data + PLAIN_SIZE / 2, sample->plain, 1000);
	/* a block that says it is longer than the file */
	out.size = 0;
	memset(sample->packed + 4, 0xff, 4);
	assert_int_equal(decompress(sample->packed, one, PLAIN_SIZE, &out), -EBADMSG);
	buf_release(&out);
}

static void other_bytes_are_taken_as_they_are(void **state)
{
	struct buf out = {0};

	(void)state;
	assert_int_equal(decompress((const uint8_t *)"\x7f"
						     "ELF...",
				    7, 7, &out),
			 0);
	assert_int_equal(decompress((const uint8_t *)"\xfd"
						     "7zX",
				    4, 4, &out),
			 0); /* shorter than the magic number */
	assert_int_equal(packing_of((const uint8_t *)"\xfd"
						     "7zX",
				    4),
			 PACKING_NONE);
	assert_int_equal(decompress(NULL, 0, 0, &out), 0);
	assert_int_equal(out.size, 11);
	assert_memory_equal(out.data,
			    "\x7f"
			    "ELF...\xfd"
			    "7zX",
			    11);
	assert_int_equal(decompress((const uint8_t *)"12345678", 8, 7, &out), -EFBIG);
	assert_int_equal(out.size, 11);
	buf_release(&out);
}

static void failed_buffer_is_no_memory(void **state)
{
	struct sample *sample = *state;
	struct buf out = {.failed = true};

	for (size_t i = 0; i < PACKER_COUNT; i++) {
		sample->packed_size = PACKERS[i](sample->plain, PLAIN_SIZE, sample->packed);
		assert_int_equal(decompress(sample->packed, sample->packed_size, PLAIN_SIZE, &out), -ENOMEM);
	}
	assert_int_equal(decompress((const uint8_t *)"x", 1, 1, &out), -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_format_unpacks),
		cmocka_unit_test(empty_content_unpacks),
		cmocka_unit_test(limit_holds),
		cmocka_unit_test(cut_off_input_is_refused),
		cmocka_unit_test(a_buffer_with_room_is_filled),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test(lz4_has_many_blocks),
		cmocka_unit_test(other_bytes_are_taken_as_they_are),
		cmocka_unit_test(failed_buffer_is_no_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
