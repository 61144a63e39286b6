/* SPDX-License-Identifier: Apache-2.0 */
/* A command of the user's: read from the initramfs, run with pipes or a terminal that lead to the host's streams. */
#include "guest/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guest/init/streams.h"

/* ---- reading it */

static void fail(const char *what) __attribute__((noreturn));
static void fail(const char *what)
{
	say("%s: %s", what, strerror(errno));
	machine_exit(GUEST_EXIT_NOT_STARTED);
}

/* The whole file, with a NUL behind it; NULL when there is none. */
static char *read_records(size_t *size)
{
	int fd = open(GUEST_COMMAND, O_RDONLY | O_CLOEXEC);
	struct stat status;
	char *text;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &status) < 0)
		fail("cannot look at the command");
	*size = (size_t)status.st_size;
	text = calloc(1, *size + 1);
	if (text == NULL || read(fd, text, *size) != status.st_size)
		fail("cannot read the command");
	close(fd);
	return text;
}

static const char *value_of(const char *record, const char *key)
{
	size_t length = strlen(key);

	return strncmp(record, key, length) == 0 && record[length] == '=' ? record + length + 1 : NULL;
}

/* The values of a key, in order, NULL-terminated. */
static char **values_of(char *records, size_t size, const char *key)
{
	char **values = NULL;
	size_t count = 0;

	for (char *record = records; record < records + size; record += strlen(record) + 1) {
		char **more;
		const char *value = value_of(record, key);

		if (value == NULL)
			continue;
		more = realloc(values, (count + 2) * sizeof(*values));
		if (more == NULL)
			fail("cannot read the command");
		values = more;
		values[count++] = record + (value - record);
	}
	if (values == NULL)
		values = calloc(1, sizeof(*values));
	if (values == NULL)
		fail("cannot read the command");
	values[count] = NULL;
	return values;
}

static const char *first_value(char *records, size_t size, const char *key)
{
	char **values = values_of(records, size, key);
	const char *value = values[0];

	free(values);
	return value;
}

bool command_read(struct command *command)
{
	size_t size = 0;
	char *records = read_records(&size);
	const char *dimensions, *apart;

	if (records == NULL)
		return false;
	dimensions = first_value(records, size, "size");
	apart = first_value(records, size, "stderr");
	*command = (struct command){
		.arguments = values_of(records, size, "arg"),
		.environment = values_of(records, size, "env"),
		.folders = values_of(records, size, "rw"),
		.cwd = first_value(records, size, "cwd"),
		.modules = first_value(records, size, "modules"),
		.terminal = dimensions != NULL,
		.stderr_apart = apart != NULL,
	};
	if (dimensions != NULL)
		sscanf(dimensions, "%hu %hu", &command->rows, &command->columns);
	errno = EINVAL;
	if (command->arguments[0] == NULL || command->cwd == NULL)
		fail("the command is incomplete");
	return true;
}

/* ---- its streams */

enum { IN, OUT, ERR, STREAM_COUNT };
enum { TRIES = 1000, TRY_US = 5 * 1000 };

/* The ports are opened once and for all: Linux gives each to one opener. */
static int ports[STREAM_COUNT] = {-1, -1, -1}, control = -1;

/* Opens a port, which may turn up a moment behind its driver. */
static int open_port(const char *name, int flags)
{
	char path[128];
	int fd = -1;

	snprintf(path, sizeof(path), "/dev/virtio-ports/%s", name);
	for (int i = 0; i < TRIES && fd < 0; i++) {
		if (i > 0)
			usleep(TRY_US);
		ports_link();
		fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
	}
	if (fd < 0) {
		say("cannot open %s: %s", path, strerror(errno));
		machine_exit(GUEST_EXIT_NOT_STARTED);
	}
	return fd;
}

/*
 * A port reads as if it had ended until the kernel has heard that the host's side is there. It hears that of one port after the other, and of the control
 * port last; and that one does not end, as a stdin may do at once.
 */
static void wait_for_host(void)
{
	struct pollfd port = {.fd = control};

	for (int i = 0; i < TRIES && poll(&port, 1, 0) == 1 && (port.revents & POLLHUP) != 0; i++)
		usleep(TRY_US);
}

void command_open_ports(void)
{
	ports[ERR] = open_port(GUEST_PORT_STDERR, O_WRONLY);
	control = open_port(GUEST_PORT_CONTROL, O_RDONLY);
	wait_for_host();
	/* from here on what init says reaches the user */
	dup2(ports[ERR], STDERR_FILENO);
	ports[IN] = open_port(GUEST_PORT_STDIN, O_RDONLY);
	ports[OUT] = open_port(GUEST_PORT_STDOUT, O_WRONLY);
}

/* The command's side of its streams, and ours. */
struct sides {
	int theirs[STREAM_COUNT], ours[STREAM_COUNT];
};

static void set_size(int terminal, unsigned short rows, unsigned short columns)
{
	struct winsize size = {.ws_row = rows, .ws_col = columns};

	ioctl(terminal, TIOCSWINSZ, &size);
}

static void make_terminal(struct sides *sides, const struct command *command)
{
	const char *name;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || unlockpt(master) < 0 || (name = ptsname(master)) == NULL)
		fail("cannot make a terminal");
	set_size(master, command->rows, command->columns);
	sides->theirs[IN] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (sides->theirs[IN] < 0)
		fail("cannot open the terminal");
	sides->theirs[OUT] = sides->theirs[ERR] = sides->theirs[IN];
	sides->ours[IN] = master;
	sides->ours[OUT] = fcntl(master, F_DUPFD_CLOEXEC, 0);
	sides->ours[ERR] = -1;
}

static void make_pipe(struct sides *sides, int stream)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		fail("cannot make a pipe");
	sides->theirs[stream] = ends[stream == IN ? 0 : 1];
	sides->ours[stream] = ends[stream == IN ? 1 : 0];
}

static void make_sides(struct sides *sides, const struct command *command)
{
	if (command->terminal)
		make_terminal(sides, command);
	for (int i = 0; i < STREAM_COUNT; i++) {
		if (!command->terminal || (i == ERR && command->stderr_apart))
			make_pipe(sides, i);
		if (sides->ours[i] >= 0)
			fcntl(sides->ours[i], F_SETFL, O_NONBLOCK | fcntl(sides->ours[i], F_GETFL));
	}
}

/* ---- running it */

static void become(const struct command *command, const struct sides *sides) __attribute__((noreturn));
static void become(const struct command *command, const struct sides *sides)
{
	/* a session of its own: a terminal's signals and those that the host hands on are for it and what it starts */
	setsid();
	for (int i = 0; i < STREAM_COUNT; i++)
		dup2(sides->theirs[i], i);
	if (command->terminal)
		ioctl(STDIN_FILENO, TIOCSCTTY, 0);
	environ = command->environment;
	run_exec(command->arguments[0], command->arguments);
}

/* What the host asks for. A record is written at once, and the port keeps it in one piece. */
static void take_control(pid_t pid, int terminal)
{
	struct guest_control message;
	ssize_t got = read(control, &message, sizeof(message));

	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
		close(control);
		control = -1;
	}
	if (got != (ssize_t)sizeof(message))
		return;
	if (message.kind == GUEST_CONTROL_SIGNAL && message.values[0] > 0)
		kill(-pid, message.values[0]);
	else if (message.kind == GUEST_CONTROL_SIZE && terminal >= 0)
		set_size(terminal, message.values[0], message.values[1]);
}

static unsigned long count_of_kills(void)
{
	static const char KEY[] = "\noom_kill ";
	char text[16384];
	const char *line;

	read_text("/proc/vmstat", text, sizeof(text));
	line = strstr(text, KEY);
	return line == NULL ? 0 : strtoul(line + strlen(KEY), NULL, 10);
}

static int wait_for_end(pid_t pid, struct stream *streams, int terminal)
{
	enum { SIGNALS = 2 * STREAM_COUNT, CONTROL, FDS };
	int signals = run_signals();
	int status = 0;

	if (signals < 0)
		fail("cannot wait for signals");
	for (;;) {
		struct signalfd_siginfo info;
		struct pollfd fds[FDS];

		for (int i = 0; i < STREAM_COUNT; i++)
			stream_wants(&streams[i], &fds[2 * i]);
		fds[SIGNALS] = (struct pollfd){.fd = signals, .events = POLLIN};
		fds[CONTROL] = (struct pollfd){.fd = control, .events = POLLIN};
		poll(fds, FDS, -1);
		if (fds[CONTROL].revents != 0)
			take_control(pid, terminal);
		if (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info) &&
		    run_take_signal((int)info.ssi_signo, pid, &status))
			return status;
		for (int i = 0; i < STREAM_COUNT; i++) {
			if ((fds[2 * i].revents | fds[2 * i + 1].revents) != 0)
				stream_move(&streams[i]);
		}
	}
}

static struct stream *connect_streams(const struct sides *sides, bool terminal)
{
	struct stream *streams = calloc(STREAM_COUNT, sizeof(*streams));

	if (streams == NULL)
		fail("cannot connect the streams");
	for (int i = 0; i < STREAM_COUNT; i++) {
		streams[i].from = i == IN ? ports[i] : sides->ours[i];
		streams[i].to = i == IN ? sides->ours[i] : ports[i];
		streams[i].keep_to = i == IN && terminal;
	}
	return streams;
}

void command_run(const struct command *command)
{
	struct sides sides = {0};
	struct stream *streams;
	unsigned long kills = count_of_kills();
	int status;
	pid_t pid;

	signal(SIGPIPE, SIG_IGN);
	make_sides(&sides, command);
	streams = connect_streams(&sides, command->terminal);
	machine_mark(GUEST_MARK_COMMAND);
	pid = fork();
	if (pid < 0)
		fail("cannot start the command");
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		become(command, &sides);
	}
	for (int i = 0; i < STREAM_COUNT; i++)
		close(sides.theirs[i]);
	status = wait_for_end(pid, streams, command->terminal ? sides.ours[IN] : -1);
	stream_drain(&streams[OUT]);
	stream_drain(&streams[ERR]);
	if (status == 128 + SIGKILL && count_of_kills() > kills)
		status |= GUEST_EXIT_OUT_OF_MEMORY;
	machine_exit(status);
}
