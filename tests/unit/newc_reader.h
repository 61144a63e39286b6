/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_NEWC_READER_H
#define SPMVM_TESTS_NEWC_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * Reads a newc archive for tests, written from buffer-format.rst alone and sharing nothing with vmm/boot/cpio.c. Strict: false for
 * anything that the kernel would stumble over.
 */
struct newc_entry {
	uint32_t inode, mode, uid, gid, links, time, size, major, minor;
	const char *name;
	const uint8_t *data;
};

static inline bool newc_field(const uint8_t *header, unsigned index, uint32_t *value)
{
	char digits[9] = {0};
	char *end;

	memcpy(digits, header + 6 + 8 * index, 8);
	*value = (uint32_t)strtoul(digits, &end, 16);
	return *end == '\0';
}

/* Reads the entry at *at and moves behind it. */
static inline bool newc_next(const uint8_t *archive, size_t size, size_t *at, struct newc_entry *entry)
{
	const uint8_t *header = archive + *at;
	uint32_t unused, name_size;
	size_t data;
	bool good = true;

	if (*at % 4 != 0 || size < *at || size - *at < 110 || memcmp(header, "070701", 6) != 0)
		return false;
	good &= newc_field(header, 0, &entry->inode) && newc_field(header, 1, &entry->mode);
	good &= newc_field(header, 2, &entry->uid) && newc_field(header, 3, &entry->gid);
	good &= newc_field(header, 4, &entry->links) && newc_field(header, 5, &entry->time);
	good &= newc_field(header, 6, &entry->size) && newc_field(header, 9, &entry->major);
	good &= newc_field(header, 10, &entry->minor) && newc_field(header, 11, &name_size);
	good &= newc_field(header, 12, &unused) && unused == 0;
	if (!good || name_size == 0 || name_size > size - *at - 110)
		return false;
	entry->name = (const char *)header + 110;
	if (strnlen(entry->name, name_size) != name_size - 1)
		return false;
	data = (*at + 110 + name_size + 3) & ~(size_t)3;
	if (data > size || entry->size > size - data)
		return false;
	entry->data = archive + data;
	*at = (data + entry->size + 3) & ~(size_t)3;
	return *at <= size;
}

/* The last entry of that name, which is the one that counts; false when there is none or the archive is bad. */
static inline bool newc_find(const uint8_t *archive, size_t size, const char *name, struct newc_entry *found)
{
	struct newc_entry entry;
	size_t at = 0;
	bool any = false;

	while (newc_next(archive, size, &at, &entry)) {
		if (strcmp(entry.name, "TRAILER!!!") == 0)
			return any && at == size;
		if (strcmp(entry.name, name) == 0) {
			*found = entry;
			any = true;
		}
	}
	return false;
}

/* How many entries have that name. */
static inline unsigned newc_count(const uint8_t *archive, size_t size, const char *name)
{
	struct newc_entry entry;
	size_t at = 0;
	unsigned count = 0;

	while (newc_next(archive, size, &at, &entry))
		count += strcmp(entry.name, name) == 0;
	return count;
}

#endif
