/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into QEMU's own virtiofsd when it runs without privileges. The guest's overlayfs opens the files below it
 * with O_NOATIME (Linux, fs/overlayfs/file.c), virtiofsd passes that on, and open(2) refuses it to all but a file's
 * owner: no command of the host's could start. Without the flag, the host keeps access times as it is mounted to. Rust's
 * virtiofsd leaves the flag out by itself.
 *
 * A shared object of its own (fs.c starts virtiofsd with it), not a part of spmvm.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

/* the two names that <fcntl.h> makes of openat(), without and with _FORTIFY_SOURCE */
int openat64(int folder, const char *path, int flags, ...);
int __openat64_2(int folder, const char *path, int flags);

static int open_anyway(int folder, const char *path, int flags, mode_t mode)
{
	int fd = (int)syscall(SYS_openat, folder, path, flags, mode);

	if (fd < 0 && errno == EPERM && (flags & O_NOATIME) != 0)
		fd = (int)syscall(SYS_openat, folder, path, flags & ~O_NOATIME, mode);
	return fd;
}

int openat64(int folder, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list arguments;

	if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	return open_anyway(folder, path, flags, mode);
}

int __openat64_2(int folder, const char *path, int flags)
{
	return open_anyway(folder, path, flags, 0);
}
