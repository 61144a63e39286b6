/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void say(const char *format, ...)
{
	char line[512] = "spmvm-init: ";
	size_t used = strlen(line);
	va_list args;

	va_start(args, format);
	vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	va_end(args);
	strcat(line, "\n");
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return; /* nowhere left to tell it */
}

bool read_text(const char *path, char *text, size_t size)
{
	size_t used = 0;
	ssize_t got = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	text[0] = '\0';
	if (fd < 0)
		return false;
	while (used < size - 1 && (got = read(fd, text + used, size - 1 - used)) > 0)
		used += (size_t)got;
	close(fd);
	while (used > 0 && text[used - 1] == '\n')
		used--;
	text[used] = '\0';
	return got >= 0;
}

/*
 * /dev/console leads to the last console= of the kernel's command line. Its own device is opened where the kernel tells which
 * it is, because tty(1) and programs like it show that name.
 */
static int open_terminal(void)
{
	char active[128], path[160];
	int fd = -1;

	if (read_text("/sys/class/tty/console/active", active, sizeof(active))) {
		const char *last = strrchr(active, ' ');

		snprintf(path, sizeof(path), "/dev/%s", last == NULL ? active : last + 1);
		fd = open(path, O_RDWR | O_NOCTTY);
	}
	if (fd < 0)
		fd = open("/dev/console", O_RDWR | O_NOCTTY);
	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	return fd;
}

void console_open(void)
{
	int fd = open_terminal();

	if (fd < 0)
		return;
	for (int to = STDIN_FILENO; to <= STDERR_FILENO; to++)
		dup2(fd, to);
	if (fd > STDERR_FILENO)
		close(fd);
	/*
	 * The first process leads the terminal's session, and not the program that it runs: when a session leader ends,
	 * the kernel hangs up the terminal, and what the serial port has not sent by then is lost.
	 */
	setsid();
	ioctl(STDIN_FILENO, TIOCSCTTY, 1); /* fails on a console that is no terminal: no job control then */
}
