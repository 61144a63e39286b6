/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void buf_release(struct buf *buf)
{
	if (buf == NULL)
		return;
	free(buf->data);
	*buf = (struct buf){0};
}

uint8_t *buf_steal(struct buf *buf, size_t *size)
{
	uint8_t *data = buf->data;

	*size = buf->failed ? 0 : buf->size;
	if (*size == 0) {
		free(data);
		data = NULL;
	}
	*buf = (struct buf){0};
	return data;
}

uint8_t *buf_extend(struct buf *buf, size_t size)
{
	uint8_t *at;

	if (buf->failed)
		return NULL;
	/* an empty buffer gets memory for 0 bytes too: NULL means failure, and NULL + 0 is undefined in C */
	if (buf->data == NULL || size > buf->capacity - buf->size) {
		size_t capacity = buf->capacity < 256 ? 256 : buf->capacity;
		uint8_t *data = NULL;

		while (capacity - buf->size < size && capacity <= SIZE_MAX / 2)
			capacity *= 2;
		if (capacity - buf->size >= size)
			data = realloc(buf->data, capacity);
		if (data == NULL) {
			buf->failed = true;
			return NULL;
		}
		buf->data = data;
		buf->capacity = capacity;
	}
	at = buf->data + buf->size;
	buf->size += size;
	return at;
}

void buf_reserve(struct buf *buf, size_t size)
{
	const uintptr_t page = 4096;
	uint8_t *data;

	if (buf->failed || size <= buf->capacity - buf->size)
		return;
	data = size <= SIZE_MAX - buf->size ? realloc(buf->data, buf->size + size) : NULL;
	if (data == NULL) {
		buf->failed = true;
		return;
	}
	buf->data = data;
	buf->capacity = buf->size + size;
	/* whole pages of it; that a host has no huge ones is no failure */
	data += -(uintptr_t)data & (page - 1);
	if (size > 2 * page)
		(void)madvise(data, (size_t)(buf->data + buf->capacity - data) & ~(page - 1), MADV_HUGEPAGE);
}

void buf_add(struct buf *buf, const void *bytes, size_t size)
{
	uint8_t *at = buf_extend(buf, size);

	if (at != NULL && size > 0)
		memcpy(at, bytes, size);
}

static void store(uint8_t *at, uint64_t value, size_t width)
{
	for (size_t i = 0; i < width; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void append(struct buf *buf, uint64_t value, size_t width)
{
	uint8_t *at = buf_extend(buf, width);

	if (at != NULL)
		store(at, value, width);
}

void buf_u8(struct buf *buf, uint8_t value)
{
	append(buf, value, 1);
}

void buf_u16(struct buf *buf, uint16_t value)
{
	append(buf, value, 2);
}

void buf_u32(struct buf *buf, uint32_t value)
{
	append(buf, value, 4);
}

void buf_u64(struct buf *buf, uint64_t value)
{
	append(buf, value, 8);
}

void buf_zeros(struct buf *buf, size_t count)
{
	uint8_t *at = buf_extend(buf, count);

	if (at != NULL && count > 0)
		memset(at, 0, count);
}

void buf_align(struct buf *buf, size_t alignment)
{
	buf_zeros(buf, -buf->size & (alignment - 1));
}

void buf_text(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;
	int length;
	uint8_t *at;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0) {
		buf->failed = true;
		return;
	}
	/* vsnprintf() writes a closing zero, which then is taken off again */
	at = buf_extend(buf, (size_t)length + 1);
	if (at == NULL)
		return;
	va_start(args, format);
	vsnprintf((char *)at, (size_t)length + 1, format, args);
	va_end(args);
	buf->size--;
}

static void overwrite(struct buf *buf, size_t offset, uint64_t value, size_t width)
{
	if (buf->failed)
		return;
	assert(offset <= buf->size && width <= buf->size - offset);
	store(buf->data + offset, value, width);
}

void buf_set_u8(struct buf *buf, size_t offset, uint8_t value)
{
	overwrite(buf, offset, value, 1);
}

void buf_set_u32(struct buf *buf, size_t offset, uint32_t value)
{
	overwrite(buf, offset, value, 4);
}

void buf_set_u64(struct buf *buf, size_t offset, uint64_t value)
{
	overwrite(buf, offset, value, 8);
}
