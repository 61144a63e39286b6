/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/cpio.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The header of each entry (buffer-format.rst): the magic number, then 13 fields of eight hexadecimal digits: inode, mode,
 * user, group, links, time, file size, device major and minor, rdev major and minor, size of the name with its closing
 * zero, checksum (0 in this format). The name follows, then the data, each filled with zeros to a multiple of 4.
 */
enum { FIELD_DIGITS = 8, FILE_SIZE_FIELD = 6 };
#define MAGIC "070701"

struct entry {
	const char *name;
	uint32_t inode, mode, links, size, major, minor;
};

static void header(struct buf *out, const struct entry *entry)
{
	const uint32_t fields[] = {
		entry->inode,
		entry->mode,
		0,
		0,
		entry->links,
		0,
		entry->size,
		0,
		0,
		entry->major,
		entry->minor,
		(uint32_t)strlen(entry->name) + 1,
		0,
	};

	buf_text(out, MAGIC);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		buf_printf(out, "%08X", fields[i]);
	buf_add(out, entry->name, strlen(entry->name) + 1);
	buf_align(out, 4);
}

/* Archives name their entries relative to the root, so that unpacking one by hand does not write over the host. */
static const char *relative(const char *path)
{
	assert(path[0] == '/' && path[1] != '\0' && strlen(path) <= CPIO_PATH_MAX);
	return path + 1;
}

void cpio_init(struct cpio *cpio, struct buf *out)
{
	buf_align(out, 4);
	*cpio = (struct cpio){.out = out};
}

void cpio_directory(struct cpio *cpio, const char *path, uint32_t mode)
{
	header(cpio->out,
	       &(struct entry){
		       .name = relative(path), .inode = ++cpio->inode, .mode = S_IFDIR | (mode & 07777), .links = 2});
}

/* A symbolic link's data is its target, without a closing zero. */
void cpio_symlink(struct cpio *cpio, const char *path, const char *target)
{
	assert(strlen(target) <= CPIO_PATH_MAX);
	header(cpio->out, &(struct entry){.name = relative(path),
					  .inode = ++cpio->inode,
					  .mode = S_IFLNK | 0777,
					  .links = 1,
					  .size = (uint32_t)strlen(target)});
	buf_text(cpio->out, target);
	buf_align(cpio->out, 4);
}

void cpio_char_device(struct cpio *cpio, const char *path, uint32_t mode, uint32_t major, uint32_t minor)
{
	header(cpio->out, &(struct entry){.name = relative(path),
					  .inode = ++cpio->inode,
					  .mode = S_IFCHR | (mode & 07777),
					  .links = 1,
					  .major = major,
					  .minor = minor});
}

void cpio_file_head(struct cpio *cpio, const char *path, uint32_t mode, uint64_t size)
{
	assert(size <= CPIO_FILE_MAX);
	header(cpio->out, &(struct entry){.name = relative(path),
					  .inode = ++cpio->inode,
					  .mode = S_IFREG | (mode & 07777),
					  .links = 1,
					  .size = (uint32_t)size});
}

/* The size is put in at the end. */
void cpio_file_begin(struct cpio *cpio, const char *path, uint32_t mode)
{
	cpio->header = cpio->out->size;
	cpio_file_head(cpio, path, mode, 0);
	cpio->data = cpio->out->size;
}

void cpio_file_end(struct cpio *cpio)
{
	size_t size = cpio->out->size - cpio->data;
	size_t field = cpio->header + strlen(MAGIC) + FIELD_DIGITS * FILE_SIZE_FIELD;
	char digits[FIELD_DIGITS + 1];

	if (buf_failed(cpio->out))
		return;
	assert(size <= CPIO_FILE_MAX);
	snprintf(digits, sizeof(digits), "%08X", (uint32_t)size);
	for (size_t i = 0; i < FIELD_DIGITS; i++)
		buf_set_u8(cpio->out, field + i, (uint8_t)digits[i]);
	buf_align(cpio->out, 4);
}

void cpio_file(struct cpio *cpio, const char *path, uint32_t mode, const void *bytes, size_t size)
{
	cpio_file_begin(cpio, path, mode);
	buf_add(cpio->out, bytes, size);
	cpio_file_end(cpio);
}

void cpio_finish(struct cpio *cpio)
{
	header(cpio->out, &(struct entry){.name = "TRAILER!!!", .links = 1});
}
