/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/workbench.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/protocol.h"
#include "vmm/base/io.h"

void workbench_init(struct workbench *workbench)
{
	*workbench = (struct workbench){.control = -1, .typed = -1};
	for (int i = 0; i < STREAM_END; i++)
		workbench->fds[i] = -1;
}

void workbench_release(struct workbench *workbench)
{
	for (int i = 0; i < STREAM_END; i++)
		io_close(&workbench->fds[i]);
	io_close(&workbench->control);
	io_close(&workbench->typed);
}

/*
 * A descriptor for one of our own streams. O_NONBLOCK belongs to the open file, which the shell and others in the pipeline share: a pipe or terminal is therefore
 * opened anew. A regular file is not, as its offset is shared and never waits anyway; nor can a socket be, or a terminal that was another user's.
 */
static int open_stream(int fd, int mode)
{
	struct stat status;
	char path[32];
	int own = -1;

	if (fstat(fd, &status) < 0)
		return -1;
	if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static int make_pipe(int *reading, int *writing)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	*reading = ends[0];
	*writing = ends[1];
	return 0;
}

int workbench_open(struct workbench *workbench, struct error *err)
{
	int *fds = workbench->fds;
	int code;

	workbench->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp();
	code = make_pipe(&fds[STREAM_CONTROL], &workbench->control);
	if (code == 0 && workbench->terminal)
		code = make_pipe(&fds[STREAM_STDIN], &workbench->typed);
	else if (code == 0)
		fds[STREAM_STDIN] = open_stream(STDIN_FILENO, O_RDONLY);
	if (code == 0) {
		fds[STREAM_STDOUT] = open_stream(STDOUT_FILENO, O_WRONLY);
		fds[STREAM_STDERR] = open_stream(STDERR_FILENO, O_WRONLY);
	}
	for (enum config_stream i = STREAM_STDIN; code == 0 && i < STREAM_END; i++) {
		if (fds[i] < 0)
			code = -errno;
	}
	if (code < 0)
		return error_set(err, EXIT_STATUS_HOST, -code, "cannot take the command's streams: %s",
				 strerror(-code));
	return 0;
}

static void add_record(struct buf *records, const char *key, const char *value)
{
	buf_printf(records, "%s=%s", key, value);
	buf_u8(records, 0);
}

static int add_folders(const struct config *config, struct buf *records, struct error *err)
{
	for (size_t i = 0; i < config->rw_count; i++) {
		char *path = realpath(config->rw[i], NULL);

		if (path == NULL)
			return error_set(err, EXIT_STATUS_CONFIG, errno, "--rw %s: %s", config->rw[i], strerror(errno));
		add_record(records, "rw", path);
		free(path);
	}
	return 0;
}

static void add_terminal(const struct workbench *workbench, struct buf *records)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	char text[32];

	if (!workbench->terminal)
		return;
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	snprintf(text, sizeof(text), "%u %u", size.ws_row, size.ws_col);
	add_record(records, "size", text);
	if (!isatty(STDERR_FILENO))
		add_record(records, "stderr", "pipe");
}

int workbench_describe(const struct workbench *workbench, const struct config *config, const char *modules,
		       struct buf *records, struct error *err)
{
	char *folder = getcwd(NULL, 0);
	int code;

	if (folder == NULL)
		return error_set(err, EXIT_STATUS_HOST, errno, "-- %s: cannot tell the current folder: %s",
				 config->command[0], strerror(errno));
	add_record(records, "cwd", folder);
	free(folder);
	for (size_t i = 0; config->command[i] != NULL; i++)
		add_record(records, "arg", config->command[i]);
	for (size_t i = 0; environ[i] != NULL; i++)
		add_record(records, "env", environ[i]);
	if (modules != NULL)
		add_record(records, "modules", modules);
	add_terminal(workbench, records);
	code = add_folders(config, records, err);
	if (code == 0 && buf_failed(records))
		code = error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory for the command");
	return code;
}

int workbench_take(struct workbench *workbench, enum config_stream stream)
{
	int fd = workbench->fds[stream];

	workbench->fds[stream] = -1;
	return fd;
}

void workbench_type(const struct workbench *workbench, const void *bytes, size_t size)
{
	(void)io_write_all(workbench->typed, bytes, size);
}

static void tell(const struct workbench *workbench, struct guest_control message)
{
	/* shorter than PIPE_BUF, so it is written as a whole or, into a full pipe, not at all */
	(void)!write(workbench->control, &message, sizeof(message));
}

bool workbench_signal(struct workbench *workbench, int signal)
{
	if (workbench->signals[signal]++ > 0)
		return false;
	tell(workbench, (struct guest_control){.kind = GUEST_CONTROL_SIGNAL, .values = {(uint16_t)signal}});
	return true;
}

void workbench_resize(const struct workbench *workbench)
{
	struct winsize size;

	if (workbench->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		tell(workbench,
		     (struct guest_control){.kind = GUEST_CONTROL_SIZE, .values = {size.ws_row, size.ws_col}});
}
