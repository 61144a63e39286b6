/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_BUF_H
#define SPMVM_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A growable byte buffer that its owner appends to. Failure is sticky: when memory runs out, the buffer remembers it, later
 * appends do nothing, and the owner asks once at the end (buf_failed). Integers are appended little-endian.
 *
 * A zeroed struct buf is empty and ready. The bytes belong to the buffer until buf_release() or buf_steal().
 */
struct buf {
	uint8_t *data;
	size_t size, capacity;
	bool failed;
};

/* Frees the bytes and leaves an empty buffer that is ready again; takes NULL. */
void buf_release(struct buf *buf);

/* Hands the bytes to the caller (free() them) and leaves the buffer empty; NULL when the buffer is empty or has failed. */
uint8_t *buf_steal(struct buf *buf, size_t *size);

static inline bool buf_failed(const struct buf *buf)
{
	return buf->failed;
}

/* bytes must not lie in the buffer itself. */
void buf_add(struct buf *buf, const void *bytes, size_t size);
void buf_u8(struct buf *buf, uint8_t value);
void buf_u16(struct buf *buf, uint16_t value);
void buf_u32(struct buf *buf, uint32_t value);
void buf_u64(struct buf *buf, uint64_t value);
void buf_zeros(struct buf *buf, size_t count);
/* Appends zeros until the size is a multiple of alignment (a power of two). */
void buf_align(struct buf *buf, size_t alignment);
/* Appends text without its closing zero. */
void buf_text(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Makes room for size more bytes at the end and returns where they start, for a caller that writes them itself; they count
 * as appended. NULL when the buffer has failed. The pointer is good until the next append.
 */
uint8_t *buf_extend(struct buf *buf, size_t size);

/*
 * Makes room for size more bytes without appending them: appends up to there move nothing. A large room is in huge
 * pages where the host has them, so that filling it is not mostly page faults.
 */
void buf_reserve(struct buf *buf, size_t size);

/* Writes over bytes that are already there. Does nothing on a failed buffer; offset + width within size is the caller's duty. */
void buf_set_u8(struct buf *buf, size_t offset, uint8_t value);
void buf_set_u32(struct buf *buf, size_t offset, uint32_t value);
void buf_set_u64(struct buf *buf, size_t offset, uint64_t value);

#endif
