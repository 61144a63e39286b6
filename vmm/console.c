/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/io.h"

enum { ESCAPE_KEY = 0x01 }; /* Ctrl-A */

int console_open(struct console *console, enum serial_mode mode, const char *path, struct error *err)
{
	*console = (struct console){.in = -1, .out = -1};
	if (mode == SERIAL_STDIO) {
		console->in = STDIN_FILENO;
		console->out = STDOUT_FILENO;
	} else if (mode == SERIAL_STDERR) {
		console->out = STDERR_FILENO;
	} else if (mode == SERIAL_FILE) {
		console->out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
		if (console->out < 0)
			return error_set(err, EXIT_STATUS_CONFIG, errno,
					 "--serial file:%s: cannot open it for writing: %s", path, strerror(errno));
		console->owns_out = true;
	}
	return 0;
}

void console_take_keys(struct console *console)
{
	console->in = STDIN_FILENO;
}

void console_start(struct console *console, const struct log *log)
{
	static const char HINT[] = "spmvm: the guest's console; Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A\n";
	struct termios raw;

	if (console->in < 0 || !isatty(console->in) || tcgetpgrp(console->in) != getpgrp())
		return;
	if (tcgetattr(console->in, &console->saved) < 0)
		return;
	if (log->level >= LOG_WARN && console->out == STDOUT_FILENO)
		(void)io_write_all(log->fd, HINT, sizeof(HINT) - 1);
	raw = console->saved;
	cfmakeraw(&raw);
	console->terminal = true;
	if (tcsetattr(console->in, TCSANOW, &raw) == 0)
		console->raw = 1;
}

void console_stop(struct console *console)
{
	if (!console->raw)
		return;
	tcsetattr(console->in, TCSADRAIN, &console->saved);
	console->raw = 0;
}

void console_release(struct console *console)
{
	console_stop(console);
	if (console->owns_out)
		io_close(&console->out);
	console->in = -1;
	console->out = -1;
}

int console_write(struct console *console, uint8_t byte)
{
	if (console->out < 0 || write(console->out, &byte, 1) == 1)
		return 0;
	if (errno == EAGAIN) {
		/* somebody made the terminal or pipe non-blocking; wait for room here, and let the caller try again */
		struct pollfd room = {.fd = console->out, .events = POLLOUT};

		poll(&room, 1, -1);
		return -EINTR;
	}
	return -errno;
}

/* Takes the escape sequences out of what was typed; the bytes for the guest stay, in place. -ECANCELED for the one that quits. */
static int filter_escapes(struct console *console, uint8_t *bytes, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (console->escaped && bytes[i] == 'x')
			return -ECANCELED;
		if (!console->escaped && bytes[i] == ESCAPE_KEY) {
			console->escaped = true;
			continue;
		}
		console->escaped = false;
		bytes[kept++] = bytes[i];
	}
	return (int)kept;
}

int console_read(struct console *console, uint8_t *bytes, size_t size)
{
	ssize_t got = read(console->in, bytes, size > CONSOLE_READ_MAX ? CONSOLE_READ_MAX : size);

	if (got < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -EPIPE;
	if (got == 0)
		return -EPIPE;
	/* only a person at a terminal types escapes; a pipe's bytes go through untouched */
	return console->terminal ? filter_escapes(console, bytes, (size_t)got) : (int)got;
}
