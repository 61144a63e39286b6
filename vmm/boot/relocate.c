/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/relocate.h"

#include <errno.h>
#include <string.h>

#include "vmm/base/le.h"

enum { WORD = 4, LISTS_MAX = 3 };

static uint32_t word_at(const uint8_t *words, size_t i)
{
	return le32_at(words + i * WORD);
}

int relocations_find(struct relocations *relocations, const uint8_t *bytes, size_t size)
{
	struct relocation_list lists[LISTS_MAX];
	size_t words = size / WORD, count = 0;

	*relocations = (struct relocations){0};
	if (size == 0)
		return 0;
	if (size % WORD != 0 || word_at(bytes, 0) != 0)
		return -EBADMSG;
	for (size_t i = 0; i < words; i++) {
		if (word_at(bytes, i) != 0) {
			lists[count - 1].count++;
			continue;
		}
		if (count == LISTS_MAX)
			return -EBADMSG;
		lists[count++] = (struct relocation_list){bytes + (i + 1) * WORD, 0};
	}
	if (count < 2)
		return -EBADMSG;
	relocations->wide = lists[0];
	relocations->narrow = lists[count - 1];
	if (count == LISTS_MAX)
		relocations->inverse = lists[1];
	return 0;
}

bool relocations_none(const struct relocations *relocations)
{
	return relocations->wide.count + relocations->inverse.count + relocations->narrow.count == 0;
}

/* Behind the start of the image; a place before it is far behind its end. */
static uint64_t offset_of(const struct relocation_list *list, size_t i, uint64_t link)
{
	return (word_at(list->words, i) | UINT64_C(0xffffffff00000000)) - link;
}

static bool are_within(const struct relocation_list *list, size_t width, uint64_t link, uint64_t size)
{
	if (size < width)
		return list->count == 0;
	for (size_t i = 0; i < list->count; i++) {
		if (offset_of(list, i, link) > size - width)
			return false;
	}
	return true;
}

bool relocations_are_within(const struct relocations *relocations, uint64_t link, uint64_t size)
{
	return are_within(&relocations->wide, sizeof(uint64_t), link, size) &&
	       are_within(&relocations->inverse, sizeof(uint32_t), link, size) &&
	       are_within(&relocations->narrow, sizeof(uint32_t), link, size);
}

/* The host is little-endian as the guest is: both are x86-64. */
static void add_narrow(const struct relocation_list *list, uint8_t *image, uint64_t link, uint32_t delta)
{
	for (size_t i = 0; i < list->count; i++) {
		uint8_t *place = image + offset_of(list, i, link);
		uint32_t value;

		memcpy(&value, place, sizeof(value));
		value += delta;
		memcpy(place, &value, sizeof(value));
	}
}

void relocations_apply(const struct relocations *relocations, uint8_t *image, uint64_t link, uint64_t delta)
{
	add_narrow(&relocations->narrow, image, link, (uint32_t)delta);
	add_narrow(&relocations->inverse, image, link, (uint32_t)-delta);
	for (size_t i = 0; i < relocations->wide.count; i++) {
		uint8_t *place = image + offset_of(&relocations->wide, i, link);
		uint64_t value;

		memcpy(&value, place, sizeof(value));
		value += delta;
		memcpy(place, &value, sizeof(value));
	}
}
