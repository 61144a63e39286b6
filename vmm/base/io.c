/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

void io_close(int *fd)
{
	int saved = errno; /* a failure path closes before it tells errno */

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

int io_pread_all(int fd, void *bytes, size_t size, uint64_t offset)
{
	uint8_t *at = bytes;

	while (size > 0) {
		ssize_t got = pread(fd, at, size, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EIO;
		at += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

int io_pread_mapped(int fd, void *bytes, size_t size, uint64_t offset)
{
	int code = io_pread_all(fd, bytes, size, offset);

	if (code == -EFAULT)
		memset(bytes, 0, size);
	return code;
}

int io_pread_whole(int fd, struct buf *buf)
{
	uint8_t chunk[16384];
	off_t offset = 0;

	for (;;) {
		ssize_t got = pread(fd, chunk, sizeof(chunk), offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		buf_add(buf, chunk, (size_t)got);
		offset += got;
	}
}

int io_status(int fd, struct stat *status)
{
	return (int)syscall(SYS_fstat, fd, status);
}

int io_write_all(int fd, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	while (size > 0) {
		ssize_t put = write(fd, at, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		if (put == 0)
			return -EIO;
		at += put;
		size -= (size_t)put;
	}
	return 0;
}

int io_send_all(int fd, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	while (size > 0) {
		ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		at += sent;
		size -= (size_t)sent;
	}
	return 0;
}

void io_raise(int eventfd)
{
	const uint64_t one = 1;
	ssize_t put;

	/* EAGAIN: the count is as high as it goes, so it is readable already */
	do {
		put = write(eventfd, &one, sizeof(one));
	} while (put < 0 && errno == EINTR);
}

void io_lower(int eventfd)
{
	uint64_t count;

	(void)!read(eventfd, &count, sizeof(count));
}

int io_read_file(const char *path, size_t limit, struct buf *buf, enum exit_status status, struct error *err)
{
	size_t start = buf->size;
	int code = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, status, errno, "cannot open %s: %s", path, strerror(errno));
	for (;;) {
		uint8_t chunk[16384];
		ssize_t got = read(fd, chunk, sizeof(chunk));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			code = error_set(err, status, errno, "cannot read %s: %s", path, strerror(errno));
		if (got <= 0)
			break;
		buf_add(buf, chunk, (size_t)got);
		if (buf_failed(buf)) {
			code = error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory to read %s", path);
			break;
		}
		if (buf->size - start > limit) {
			code = error_set(err, status, EFBIG, "%s is larger than %zu bytes", path, limit);
			break;
		}
	}
	close(fd);
	if (code < 0 && !buf_failed(buf))
		buf->size = start;
	return code;
}

int io_read_number(const char *path, uint64_t *value)
{
	unsigned long long number;
	char text[64];
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	do {
		got = read(fd, text, sizeof(text) - 1);
	} while (got < 0 && errno == EINTR);
	if (got < 0) {
		int code = -errno;

		close(fd);
		return code;
	}
	close(fd);
	text[got] = '\0';
	/* strtoull() would take "-1" for the largest number */
	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, NULL, 10);
	if (errno != 0)
		return -EINVAL;
	*value = number;
	return 0;
}
