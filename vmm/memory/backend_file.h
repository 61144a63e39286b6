/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_BACKEND_FILE_H
#define SPMVM_MEMORY_BACKEND_FILE_H

#include "vmm/memory/backend.h"

/*
 * Memory that the user names: mem-path=FILE, mem-path=/dev/daxX.Y, or fd=N. For backend.c only.
 *
 *   file        on tmpfs, hugetlbfs or any other file system. Made with the size (mode 0600) when it is not there, and
 *               an empty one grows to it; one that has a size is never changed, and must be large enough. It stays
 *               when spmvm ends, with what the guest wrote.
 *   device-dax  maps in multiples of its alignment (/sys/dev/char/MAJOR:MINOR/align).
 *   fd          came through execve(), so it has no FD_CLOEXEC; from here on it does. A memfd, a file or a device-dax,
 *               open for reading and writing, not sealed against it.
 *
 * Locked with flock(2) and a record lock (fcntl(2)), so that no second spmvm and no second option uses it, not by the same passed descriptor
 * either; other programs may still map it. A record lock is gone when the process closes any descriptor of the file.
 */

/*
 * Opens it: fills in fd, kind, align, present and source.hugetlb, and the file has the size afterwards; huge pages are
 * not reserved yet. backend has source, size and option. EXIT_STATUS_HOST, with the option and the file in the text;
 * *backend, and the file if made is set, still are the caller's to take back.
 */
int backend_file_open(struct mem_backend *backend, struct error *err);

#endif
