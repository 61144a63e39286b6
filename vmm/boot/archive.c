/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/archive.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/base/range.h"

enum { CPIO_ALIGNMENT = 4 };

void archive_release(struct archive *archive)
{
	if (archive == NULL)
		return;
	for (size_t i = 0; i < archive->part_count; i++)
		free(archive->parts[i].host);
	free(archive->parts);
	buf_release(&archive->bytes);
	*archive = (struct archive){0};
}

int archive_add_part(struct archive *archive, const char *host, uint64_t size)
{
	struct archive_part *parts = reallocarray(archive->parts, archive->part_count + 1, sizeof(*parts));
	char *copy;

	assert(is_aligned(archive->bytes.size, CPIO_ALIGNMENT));
	if (parts == NULL)
		return -ENOMEM;
	archive->parts = parts;
	copy = strdup(host);
	if (copy == NULL)
		return -ENOMEM;
	parts[archive->part_count++] = (struct archive_part){archive->bytes.size, size, copy};
	archive->part_bytes += align_up(size, CPIO_ALIGNMENT);
	return 0;
}

uint64_t archive_size(const struct archive *archive)
{
	return archive->bytes.size + archive->part_bytes;
}

/* The padding is written too: guest memory in a file of the user's need not be zero. */
static int write_part(const struct archive_part *part, uint8_t *to, struct error *err)
{
	struct stat status;
	int fd = open(part->host, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int code = 0;

	if (fd < 0)
		return error_set(err, EXIT_STATUS_IMAGE, errno, "cannot open %s: %s", part->host, strerror(errno));
	if (fstat(fd, &status) == 0 && (uint64_t)status.st_size >= part->size) /* a log may grow */
		code = io_pread_mapped(fd, to, part->size, 0);
	else
		code = -EIO;
	io_close(&fd);
	memset(to + part->size, 0, align_up(part->size, CPIO_ALIGNMENT) - part->size);
	if (code == -EIO)
		return error_set(err, EXIT_STATUS_IMAGE, EIO, "%s has changed while it was read; start again",
				 part->host);
	if (code < 0)
		return error_set(err, EXIT_STATUS_IMAGE, -code, "cannot read %s: %s", part->host, strerror(-code));
	return 0;
}

int archive_write(const struct archive *archive, void *to, struct error *err)
{
	uint8_t *at = to;
	size_t done = 0;

	for (size_t i = 0; i < archive->part_count; i++) {
		const struct archive_part *part = &archive->parts[i];
		int code;

		memcpy(at, archive->bytes.data + done, part->at - done);
		at += part->at - done;
		done = part->at;
		code = write_part(part, at, err);
		if (code < 0)
			return code;
		at += align_up(part->size, CPIO_ALIGNMENT);
	}
	if (archive->bytes.size > done)
		memcpy(at, archive->bytes.data + done, archive->bytes.size - done);
	return 0;
}
