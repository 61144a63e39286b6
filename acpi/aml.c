/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/aml.h"

#include <assert.h>
#include <string.h>

/* ACPI 6.5 §20.3, the opcodes used here */
enum {
	ZERO_OP = 0x00,
	ONE_OP = 0x01,
	NAME_OP = 0x08,
	BYTE_PREFIX = 0x0a,
	WORD_PREFIX = 0x0b,
	DWORD_PREFIX = 0x0c,
	STRING_PREFIX = 0x0d,
	QWORD_PREFIX = 0x0e,
	SCOPE_OP = 0x10,
	BUFFER_OP = 0x11,
	PACKAGE_OP = 0x12,
	METHOD_OP = 0x14,
	DUAL_NAME_PREFIX = 0x2e,
	MULTI_NAME_PREFIX = 0x2f,
	EXT_OP_PREFIX = 0x5b,
	ARG0_OP = 0x68,
	EXT_DEVICE_OP = 0x82,
	NOTIFY_OP = 0x86,
	LEQUAL_OP = 0x93,
	IF_OP = 0xa0,
	ONES_OP = 0xff
};

/* §20.2.2: a name segment has exactly four characters, filled up with underscores. */
static void name_segment(struct buf *aml, const char *name, size_t length)
{
	assert(length >= 1 && length <= 4);
	buf_add(aml, name, length);
	buf_add(aml, "____", 4 - length);
}

/* §20.2.2: NameString */
static void name_string(struct buf *aml, const char *path)
{
	size_t segments = 1;

	if (*path == '\\')
		buf_u8(aml, (uint8_t)*path++);
	for (const char *c = path; *c != '\0'; c++)
		segments += *c == '.';
	assert(segments <= UINT8_MAX);
	if (segments == 2) {
		buf_u8(aml, DUAL_NAME_PREFIX);
	} else if (segments > 2) {
		buf_u8(aml, MULTI_NAME_PREFIX);
		buf_u8(aml, (uint8_t)segments);
	}
	for (size_t i = 0; i < segments; i++) {
		size_t length = strcspn(path, ".");

		name_segment(aml, path, length);
		path += length + 1;
	}
}

/* One byte is kept; aml_end() makes room for more when the content turns out to need them. */
static size_t length_begin(struct buf *aml)
{
	size_t at = aml->size;

	buf_u8(aml, 0);
	return at;
}

/*
 * §20.2.4: up to 63 the length is the only byte. Otherwise the top two bits of the first say how many bytes follow, its low four bits
 * are the length's, and each byte that follows holds eight more.
 */
void aml_end(struct buf *aml, size_t length_at)
{
	size_t content, length, more = 0;

	if (buf_failed(aml))
		return;
	assert(length_at < aml->size);
	content = aml->size - length_at - 1;
	length = content + 1;
	if (length > 63) {
		for (more = 1; more < 3 && content + 1 + more >= (size_t)1 << (4 + 8 * more);)
			more++;
		length = content + 1 + more;
		assert(length < (size_t)1 << 28);
		if (buf_extend(aml, more) == NULL)
			return;
		memmove(&aml->data[length_at + 1 + more], &aml->data[length_at + 1], content);
	}
	if (more == 0) {
		buf_set_u8(aml, length_at, (uint8_t)length);
		return;
	}
	buf_set_u8(aml, length_at, (uint8_t)(more << 6 | (length & 0xf)));
	for (size_t i = 0; i < more; i++)
		buf_set_u8(aml, length_at + 1 + i, (uint8_t)(length >> (4 + 8 * i)));
}

size_t aml_scope_begin(struct buf *aml, const char *path)
{
	size_t length_at;

	buf_u8(aml, SCOPE_OP);
	length_at = length_begin(aml);
	name_string(aml, path);
	return length_at;
}

size_t aml_device_begin(struct buf *aml, const char *name)
{
	size_t length_at;

	buf_u8(aml, EXT_OP_PREFIX);
	buf_u8(aml, EXT_DEVICE_OP);
	length_at = length_begin(aml);
	name_string(aml, name);
	return length_at;
}

/* §20.2.5.2: the flags are the number of arguments and, in bit 3, whether calls are serialized. */
size_t aml_method_begin(struct buf *aml, const char *name, unsigned int arguments, bool serialized)
{
	size_t length_at;

	assert(arguments <= 7);
	buf_u8(aml, METHOD_OP);
	length_at = length_begin(aml);
	name_string(aml, name);
	buf_u8(aml, (uint8_t)(arguments | (serialized ? 1U << 3 : 0)));
	return length_at;
}

size_t aml_package_begin(struct buf *aml, uint8_t elements)
{
	size_t length_at;

	buf_u8(aml, PACKAGE_OP);
	length_at = length_begin(aml);
	buf_u8(aml, elements);
	return length_at;
}

void aml_name(struct buf *aml, const char *path)
{
	buf_u8(aml, NAME_OP);
	name_string(aml, path);
}

void aml_arg0(struct buf *aml)
{
	buf_u8(aml, ARG0_OP);
}

size_t aml_if_equal_begin(struct buf *aml)
{
	size_t length_at;

	buf_u8(aml, IF_OP);
	length_at = length_begin(aml);
	buf_u8(aml, LEQUAL_OP);
	return length_at;
}

void aml_notify(struct buf *aml, const char *path, uint8_t value)
{
	buf_u8(aml, NOTIFY_OP);
	name_string(aml, path);
	aml_integer(aml, value);
}

/* §20.2.3. Ones is all ones of a 64-bit integer, which a definition block of revision 2 has. */
void aml_integer(struct buf *aml, uint64_t value)
{
	if (value == 0) {
		buf_u8(aml, ZERO_OP);
	} else if (value == 1) {
		buf_u8(aml, ONE_OP);
	} else if (value == UINT64_MAX) {
		buf_u8(aml, ONES_OP);
	} else if (value <= UINT8_MAX) {
		buf_u8(aml, BYTE_PREFIX);
		buf_u8(aml, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		buf_u8(aml, WORD_PREFIX);
		buf_u16(aml, (uint16_t)value);
	} else if (value <= UINT32_MAX) {
		buf_u8(aml, DWORD_PREFIX);
		buf_u32(aml, (uint32_t)value);
	} else {
		buf_u8(aml, QWORD_PREFIX);
		buf_u64(aml, value);
	}
}

void aml_string(struct buf *aml, const char *text)
{
	buf_u8(aml, STRING_PREFIX);
	buf_text(aml, text);
	buf_u8(aml, 0);
}

/* §20.2.5.4: DefBuffer */
void aml_buffer(struct buf *aml, const struct buf *content)
{
	size_t length_at;

	if (buf_failed(content)) {
		aml->failed = true;
		return;
	}
	buf_u8(aml, BUFFER_OP);
	length_at = length_begin(aml);
	aml_integer(aml, content->size);
	buf_add(aml, content->data, content->size);
	aml_end(aml, length_at);
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

/* The value of an upper-case hexadecimal digit, -1 for anything else. */
static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool ends_in_four_digits(const char *text)
{
	for (size_t i = 0; i < 4; i++) {
		if (hex_digit(text[i]) < 0)
			return false;
	}
	return text[4] == '\0';
}

bool aml_is_eisa_id(const char *text)
{
	return is_upper(text[0]) && is_upper(text[1]) && is_upper(text[2]) && ends_in_four_digits(text + 3);
}

bool aml_is_acpi_id(const char *text)
{
	for (size_t i = 0; i < 4; i++) {
		if (!is_upper(text[i]) && !(text[i] >= '0' && text[i] <= '9'))
			return false;
	}
	return ends_in_four_digits(text + 4);
}

/* §19.3.4 (EISAID): letters in five bits each, digits in four, big-endian; so its bytes are swapped in an integer. */
static uint32_t eisa_id(const char *text)
{
	uint32_t value = 0;

	for (size_t i = 0; i < 3; i++)
		value = value << 5 | (uint32_t)(text[i] - 'A' + 1);
	for (size_t i = 3; i < 7; i++)
		value = value << 4 | (uint32_t)hex_digit(text[i]);
	return __builtin_bswap32(value);
}

void aml_hid(struct buf *aml, const char *id)
{
	if (aml_is_eisa_id(id))
		aml_integer(aml, eisa_id(id));
	else
		aml_string(aml, id);
}

void aml_resource_io(struct buf *resources, uint16_t first, uint8_t count)
{
	buf_u8(resources, 0x47);   /* small item, type 8, 7 bytes follow */
	buf_u8(resources, 1);      /* decodes 16 bits */
	buf_u16(resources, first); /* lowest base */
	buf_u16(resources, first); /* highest base */
	buf_u8(resources, 1);      /* alignment */
	buf_u8(resources, count);
}

void aml_resource_memory32(struct buf *resources, uint32_t start, uint32_t size)
{
	buf_u8(resources, 0x86); /* large item, type 6 */
	buf_u16(resources, 9);   /* bytes that follow */
	buf_u8(resources, 1);    /* writable */
	buf_u32(resources, start);
	buf_u32(resources, size);
}

void aml_resource_interrupt(struct buf *resources, uint32_t gsi, bool level)
{
	enum { CONSUMER = 1 << 0, EDGE = 1 << 1 };

	buf_u8(resources, 0x89); /* large item, type 9 */
	buf_u16(resources, 6);   /* bytes that follow */
	buf_u8(resources, level ? CONSUMER : CONSUMER | EDGE);
	buf_u8(resources, 1); /* interrupts */
	buf_u32(resources, gsi);
}

void aml_resource_end(struct buf *resources)
{
	buf_u8(resources, 0x79); /* small item, type 15, 1 byte follows */
	buf_u8(resources, 0);    /* checksum: 0 counts as right */
}
