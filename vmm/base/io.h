/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_IO_H
#define SPMVM_BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "vmm/base/buf.h"
#include "vmm/base/error.h"

/*
 * Files, read and written whole. Interrupted calls go on; descriptors are opened with O_CLOEXEC.
 */

/* Closes *fd unless it is negative, and sets it to -1. */
void io_close(int *fd);

/* Reads exactly size bytes at offset; -EIO when the file ends before. Positional, so any thread may use the descriptor. */
int io_pread_all(int fd, void *bytes, size_t size, uint64_t offset);

/*
 * The same into a mapping of a file: memory that cannot be had is SIGBUS for this thread, as for any who touches it, and
 * not EFAULT, which says nothing of where.
 */
int io_pread_mapped(int fd, void *bytes, size_t size, uint64_t offset);

/* Appends all that there is from the file's start on, also of one in /proc, which has no size. 0 or -errno; whether buf has failed is the caller's to ask. */
int io_pread_whole(int fd, struct buf *buf);

/*
 * fstat(2), by the system call of that name: which one the C library's own makes depends on its version, and the sandbox would have to
 * leave both open. 0 or -1 with errno set.
 */
int io_status(int fd, struct stat *status);

/* Writes all of it, in as many calls as it takes. -errno; part of it may be written then (-EAGAIN on a full non-blocking fd). */
int io_write_all(int fd, const void *bytes, size_t size);

/* The same into a socket, whose other end may be gone: that is -EPIPE, and no SIGPIPE. */
int io_send_all(int fd, const void *bytes, size_t size);

/*
 * An eventfd, non-blocking: whoever has something for its reader raises it, once or more, and it is readable until the
 * reader lowers it. Any thread.
 */
void io_raise(int eventfd);
void io_lower(int eventfd);

/*
 * Appends a file of at most limit bytes to buf (also one of /proc or /sys, whose size is not known before). -EFBIG above limit.
 * The error (status as given) names the path; buf is then as it was before.
 */
int io_read_file(const char *path, size_t limit, struct buf *buf, enum exit_status status, struct error *err);

/* The decimal number at the start of a small file of /proc or /sys, such as nr_hugepages; -errno, -EINVAL when there is none. */
int io_read_number(const char *path, uint64_t *value);

#endif
