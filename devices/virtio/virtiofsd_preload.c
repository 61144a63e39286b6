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

/* <fcntl.h> makes two names of openat(): openat64() and, with _FORTIFY_SOURCE, this one, which it declares only then */
int __openat64_2(int fd, const char *file, int oflag);

static int open_anyway(int fd, const char *file, int oflag, mode_t mode)
{
	int opened = (int)syscall(SYS_openat, fd, file, oflag, mode);

	if (opened < 0 && errno == EPERM && (oflag & O_NOATIME) != 0)
		opened = (int)syscall(SYS_openat, fd, file, oflag & ~O_NOATIME, mode);
	return opened;
}

int openat64(int fd, const char *file, int oflag, ...)
{
	mode_t mode = 0;
	va_list arguments;

	if ((oflag & O_CREAT) != 0 || (oflag & O_TMPFILE) == O_TMPFILE) {
		va_start(arguments, oflag);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	return open_anyway(fd, file, oflag, mode);
}

int __openat64_2(int fd, const char *file, int oflag)
{
	return open_anyway(fd, file, oflag, 0);
}
