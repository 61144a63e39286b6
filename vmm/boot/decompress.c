/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/decompress.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "vmm/base/le.h"

enum { CHUNK = 65536 };

/* What an unpacker may use for itself: the windows of xz -9 (64 MiB) and zstd --ultra (128 MiB) fit. */
#define WORK_MEMORY_MAX     (UINT64_C(160) << 20)
#define ZSTD_WINDOW_LOG_MAX 27

/* How many bytes the next chunk may take; one more than the limit is asked for, so that going over it is seen. */
static size_t next_chunk(const struct buf *out, size_t start, size_t limit)
{
	size_t left = limit - (out->size - start);

	return left < CHUNK ? left + 1 : CHUNK;
}

/* Makes room for a chunk; the caller gives back what it did not fill by out->size. */
static uint8_t *chunk_begin(struct buf *out, size_t start, size_t limit, size_t *room)
{
	*room = next_chunk(out, start, limit);
	return buf_extend(out, *room);
}

static int chunk_end(struct buf *out, size_t start, size_t limit, size_t unused)
{
	out->size -= unused;
	return out->size - start > limit ? -EFBIG : 0;
}

/* stream: an initialised decoder and what its making said; it is ended here. */
static int run_lzma(lzma_stream *stream, lzma_ret state, const uint8_t *packed, size_t size, size_t limit,
		    struct buf *out)
{
	size_t start = out->size;
	int code = state == LZMA_OK ? 0 : -ENOMEM;

	stream->next_in = packed;
	stream->avail_in = size;
	while (code == 0 && state != LZMA_STREAM_END) {
		size_t room;

		stream->next_out = chunk_begin(out, start, limit, &room);
		stream->avail_out = room;
		if (stream->next_out == NULL) {
			code = -ENOMEM;
			break;
		}
		state = lzma_code(stream, LZMA_FINISH);
		code = chunk_end(out, start, limit, stream->avail_out);
		if (state == LZMA_MEM_ERROR || state == LZMA_MEMLIMIT_ERROR)
			code = -ENOMEM;
		else if (state != LZMA_OK && state != LZMA_STREAM_END)
			code = -EBADMSG;
	}
	lzma_end(stream);
	return code;
}

static int unpack_xz(const uint8_t *packed, size_t size, size_t limit, struct buf *out)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret state = lzma_stream_decoder(&stream, WORK_MEMORY_MAX, LZMA_CONCATENATED);

	return run_lzma(&stream, state, packed, size, limit, out);
}

/* The older format of xz's ancestor, with neither a magic number worth the name nor a checksum. */
static int unpack_lzma(const uint8_t *packed, size_t size, size_t limit, struct buf *out)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret state = lzma_alone_decoder(&stream, WORK_MEMORY_MAX);

	return run_lzma(&stream, state, packed, size, limit, out);
}

/* All at once, without a window, where the caller has made room for the most that it may be. */
static int unpack_zstd_at_once(ZSTD_DCtx *context, const uint8_t *packed, size_t size, size_t limit, struct buf *out)
{
	size_t got = ZSTD_decompressDCtx(context, out->data + out->size, limit, packed, size);

	if (ZSTD_isError(got))
		return ZSTD_getErrorCode(got) == ZSTD_error_dstSize_tooSmall ? -EFBIG : -EBADMSG;
	out->size += got;
	return 0;
}

static int unpack_zstd(const uint8_t *packed, size_t size, size_t limit, struct buf *out)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_inBuffer in = {packed, size, 0};
	size_t start = out->size;
	size_t more = 1; /* 0 when a frame is complete and all of it was handed out */
	int code = context == NULL ? -ENOMEM : 0;

	if (code == 0)
		ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	if (code == 0 && out->capacity - out->size >= limit) {
		code = unpack_zstd_at_once(context, packed, size, limit, out);
		ZSTD_freeDCtx(context);
		return code;
	}
	while (code == 0 && (in.pos < in.size || more != 0)) {
		ZSTD_outBuffer to = {0};
		size_t before = in.pos;

		to.dst = chunk_begin(out, start, limit, &to.size);
		if (to.dst == NULL) {
			code = -ENOMEM;
			break;
		}
		more = ZSTD_decompressStream(context, &to, &in);
		code = chunk_end(out, start, limit, to.size - to.pos);
		/* Nothing taken and nothing given means that the rest of the frame is missing. */
		if (ZSTD_isError(more) || (more != 0 && in.pos == before && to.pos == 0))
			code = -EBADMSG;
	}
	ZSTD_freeDCtx(context);
	return code;
}

static int unpack_gzip(const uint8_t *packed, size_t size, size_t limit, struct buf *out)
{
	z_stream stream = {0};
	size_t start = out->size;
	int state = Z_OK;
	int code = inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK ? 0 : -ENOMEM; /* 16: a gzip header and trailer */

	if (size > UINT32_MAX) { /* zlib counts in 32 bits; no file of ours is that big */
		inflateEnd(&stream);
		return -EFBIG;
	}
	stream.next_in = (z_const Bytef *)(uintptr_t)packed;
	stream.avail_in = (uInt)size;
	while (code == 0 && state != Z_STREAM_END) {
		size_t room;

		stream.next_out = chunk_begin(out, start, limit, &room);
		stream.avail_out = (uInt)room;
		if (stream.next_out == NULL) {
			code = -ENOMEM;
			break;
		}
		state = inflate(&stream, Z_NO_FLUSH);
		code = chunk_end(out, start, limit, stream.avail_out);
		if (state == Z_MEM_ERROR)
			code = -ENOMEM;
		else if (state != Z_OK && state != Z_STREAM_END)
			code = -EBADMSG;
	}
	inflateEnd(&stream);
	return code;
}

static int unpack_bzip2(const uint8_t *packed, size_t size, size_t limit, struct buf *out)
{
	bz_stream stream = {0};
	size_t start = out->size;
	int state = BZ_OK;
	int code = BZ2_bzDecompressInit(&stream, 0, 0) == BZ_OK ? 0 : -ENOMEM;

	if (size > UINT32_MAX) { /* as zlib */
		BZ2_bzDecompressEnd(&stream);
		return -EFBIG;
	}
	stream.next_in = (char *)(uintptr_t)packed;
	stream.avail_in = (unsigned)size;
	while (code == 0 && state != BZ_STREAM_END) {
		size_t room;

		stream.next_out = (char *)chunk_begin(out, start, limit, &room);
		stream.avail_out = (unsigned)room;
		if (stream.next_out == NULL) {
			code = -ENOMEM;
			break;
		}
		state = BZ2_bzDecompress(&stream);
		code = chunk_end(out, start, limit, stream.avail_out);
		if (state == BZ_MEM_ERROR)
			code = -ENOMEM;
		/* with room left and nothing more to take, the rest is missing */
		else if (state != BZ_STREAM_END && (state != BZ_OK || (stream.avail_in == 0 && stream.avail_out > 0)))
			code = -EBADMSG;
	}
	BZ2_bzDecompressEnd(&stream);
	return code;
}

/*
 * LZ4's legacy frame, which is the one that Linux packs kernels in (lz4_Frame_format.md, "Legacy frame"): blocks of at most 8 MiB
 * unpacked, each behind its packed size. Nothing marks the end, and another frame may follow.
 */
static int unpack_lz4(const uint8_t *packed, size_t size, size_t limit, struct buf *out)
{
	enum { BLOCK = 8 << 20 };
	const uint32_t MAGIC = 0x184c2102;
	size_t start = out->size, at = 0;

	while (at < size) {
		uint32_t length;
		uint8_t *to;
		int got;

		if (size - at < sizeof(length))
			return -EBADMSG;
		length = le32_at(packed + at);
		at += sizeof(length);
		if (length == MAGIC)
			continue;
		if (length > size - at || length > LZ4_COMPRESSBOUND(BLOCK))
			return -EBADMSG;
		to = buf_extend(out, BLOCK);
		if (to == NULL)
			return -ENOMEM;
		got = LZ4_decompress_safe((const char *)packed + at, (char *)to, (int)length, BLOCK);
		out->size -= (size_t)(got < 0 ? BLOCK : BLOCK - got);
		if (got < 0)
			return -EBADMSG;
		if (out->size - start > limit) {
			out->size = start + limit;
			return -EFBIG;
		}
		at += length;
	}
	return 0;
}

/* What is left of a packed file: numbers are big-endian. */
struct reader {
	const uint8_t *at;
	size_t left;
	bool failed; /* more was asked for than there is */
};

static const uint8_t *take(struct reader *reader, size_t size)
{
	const uint8_t *at = reader->at;

	if (reader->failed || size > reader->left) {
		reader->failed = true;
		return NULL;
	}
	reader->at += size;
	reader->left -= size;
	return at;
}

static uint32_t take_number(struct reader *reader, size_t size)
{
	const uint8_t *at = take(reader, size);
	uint32_t value = 0;

	for (size_t i = 0; at != NULL && i < size; i++)
		value = value << 8 | at[i];
	return value;
}

/* Checksums that lzop puts before its blocks: of the plain bytes, and of the packed ones. */
enum { LZO_ADLER32_D = 1, LZO_ADLER32_C = 2, LZO_CRC32_D = 0x100, LZO_CRC32_C = 0x200, LZO_FILTER = 0x800 };

/* lzop's header, which only its own source describes; returns its flags. */
static uint32_t take_lzo_header(struct reader *reader)
{
	enum { MAGIC = 9, VERSIONS = 4, MODE_AND_TIME = 8, CHECKSUM = 4, WITH_LEVEL = 0x940 };
	uint32_t version, flags;

	take(reader, MAGIC);
	version = take_number(reader, 2);
	take(reader, VERSIONS + 1); /* of the library and needed, then the method */
	if (version >= WITH_LEVEL)
		take(reader, 1);
	flags = take_number(reader, 4);
	if ((flags & LZO_FILTER) != 0)
		take(reader, 4);
	take(reader, MODE_AND_TIME);
	if (version >= WITH_LEVEL)
		take(reader, 4);              /* the time's high half */
	take(reader, take_number(reader, 1)); /* the file's name */
	take(reader, CHECKSUM);
	return flags;
}

static int unpack_lzo_block(struct reader *reader, uint32_t flags, uint32_t length, struct buf *out)
{
	uint32_t packed_length = take_number(reader, 4), checksum;
	lzo_uint got = length;
	const uint8_t *packed;
	uint8_t *to;

	checksum = (flags & LZO_ADLER32_D) != 0 ? take_number(reader, 4) : 0;
	take(reader, (flags & LZO_CRC32_D) != 0 ? 4 : 0);
	/* a block that does not get smaller is stored as it is */
	if (packed_length < length)
		take(reader, ((flags & LZO_ADLER32_C) != 0 ? 4 : 0) + ((flags & LZO_CRC32_C) != 0 ? 4 : 0));
	packed = take(reader, packed_length);
	if (packed == NULL || packed_length > length)
		return -EBADMSG;
	to = buf_extend(out, length);
	if (to == NULL)
		return -ENOMEM;
	if (packed_length == length)
		memcpy(to, packed, length);
	else if (lzo1x_decompress_safe(packed, packed_length, to, &got, NULL) != LZO_E_OK || got != length)
		return -EBADMSG;
	return (flags & LZO_ADLER32_D) != 0 && lzo_adler32(1, to, length) != checksum ? -EBADMSG : 0;
}

/* The program lzop's format: a header, then blocks behind their sizes, at last a size of 0. */
static int unpack_lzo(const uint8_t *packed, size_t size, size_t limit, struct buf *out)
{
	struct reader reader = {packed, size, false};
	uint32_t flags = take_lzo_header(&reader);
	size_t start = out->size;
	int code = 0;

	while (code == 0) {
		uint32_t length = take_number(&reader, 4);

		if (reader.failed)
			return -EBADMSG;
		if (length == 0)
			return 0;
		if (length > limit - (out->size - start))
			return -EFBIG;
		code = unpack_lzo_block(&reader, flags, length, out);
	}
	return code;
}

static int take_as_is(const uint8_t *bytes, size_t size, size_t limit, struct buf *out)
{
	if (size > limit)
		return -EFBIG;
	buf_add(out, bytes, size);
	return buf_failed(out) ? -ENOMEM : 0;
}

/* By enum packing; all but the first are told by their magic numbers. */
static const struct {
	uint8_t magic[6];
	uint8_t length;
	int (*unpack)(const uint8_t *packed, size_t size, size_t limit, struct buf *out);
} FORMATS[] = {
	[PACKING_NONE] = {{0}, 0, take_as_is},
	[PACKING_XZ] = {{0xfd, '7', 'z', 'X', 'Z', 0}, 6, unpack_xz}, /* xz file format 1.2 §2.1.1.1 */
	[PACKING_ZSTD] = {{0x28, 0xb5, 0x2f, 0xfd}, 4, unpack_zstd},  /* RFC 8878 §3.1.1 */
	[PACKING_GZIP] = {{0x1f, 0x8b}, 2, unpack_gzip},              /* RFC 1952 §2.3.1 */
	[PACKING_BZIP2] = {{'B', 'Z', 'h'}, 3, unpack_bzip2},
	[PACKING_LZ4] = {{0x02, 0x21, 0x4c, 0x18}, 4, unpack_lz4},
	[PACKING_LZO] = {{0x89, 'L', 'Z', 'O', 0, 0x0d}, 6, unpack_lzo},
	/* the properties of every lzma(1) level, then a dictionary of 64 KiB or more */
	[PACKING_LZMA] = {{0x5d, 0, 0}, 3, unpack_lzma},
};

enum packing packing_of(const uint8_t *bytes, size_t size)
{
	for (size_t i = PACKING_NONE + 1; i < sizeof(FORMATS) / sizeof(FORMATS[0]); i++) {
		if (size >= FORMATS[i].length && memcmp(bytes, FORMATS[i].magic, FORMATS[i].length) == 0)
			return (enum packing)i;
	}
	return PACKING_NONE;
}

int decompress(const uint8_t *packed, size_t size, size_t limit, struct buf *out)
{
	return FORMATS[packing_of(packed, size)].unpack(packed, size, limit, out);
}
