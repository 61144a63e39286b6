/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/table.h"

#include <assert.h>
#include <string.h>

enum { LENGTH_AT = 4, CHECKSUM_AT = 9 };

/* ACPI 6.5 §5.2.6, system description table header */
size_t table_begin(struct buf *bytes, const char *signature, uint8_t revision)
{
	size_t start = bytes->size;

	assert(strlen(signature) == 4);
	buf_text(bytes, signature);
	buf_u32(bytes, 0); /* length: table_end() */
	buf_u8(bytes, revision);
	buf_u8(bytes, 0); /* checksum: table_end() */
	buf_text(bytes, TABLE_OEM_ID);
	buf_text(bytes, TABLE_OEM_TABLE_ID);
	buf_u32(bytes, 1); /* OEM revision */
	buf_text(bytes, TABLE_CREATOR_ID);
	buf_u32(bytes, 1); /* creator revision */
	return start;
}

void table_end(struct buf *bytes, size_t start)
{
	size_t size = bytes->size - start;

	buf_set_u32(bytes, start + LENGTH_AT, (uint32_t)size);
	buf_set_u8(bytes, start + CHECKSUM_AT, table_checksum(bytes, start, size));
}

uint8_t table_checksum(const struct buf *bytes, size_t start, size_t size)
{
	uint8_t sum = 0;

	if (buf_failed(bytes))
		return 0;
	assert(start <= bytes->size && size <= bytes->size - start);
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes->data[start + i]);
	return (uint8_t)-sum;
}
