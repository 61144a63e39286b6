/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/console.h"

enum { PATIENCE = 50 }; /* seconds, for all of it */

static const char HINT[] = "spmvm: the guest's console; Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A";

/* --------------------------------------------------------------------------------- without a terminal */

static void the_modes_have_their_descriptors(void **state)
{
	struct console console;
	struct error err = {0};

	(void)state;
	assert_int_equal(console_open(&console, SERIAL_STDIO, NULL, &err), 0);
	assert_int_equal(console.in, STDIN_FILENO);
	assert_int_equal(console.out, STDOUT_FILENO);
	console_release(&console);
	assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0); /* borrowed */
	assert_int_equal(console_open(&console, SERIAL_NONE, NULL, &err), 0);
	assert_int_equal(console.in, -1);
	assert_int_equal(console.out, -1);
	assert_int_equal(console_write(&console, 'x'), 0); /* swallowed */
	console_release(&console);
	assert_int_equal(err.text[0], '\0');
}

static void a_file_gets_the_output(void **state)
{
	char path[] = "/tmp/test_console.XXXXXX", text[8] = "";
	struct console console;
	struct error err = {0};
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, "before, and longer", 18), 18);
	assert_int_equal(console_open(&console, SERIAL_FILE, path, &err), 0);
	assert_int_equal(console.in, -1);
	assert_true((fcntl(console.out, F_GETFD) & FD_CLOEXEC) != 0);
	for (const char *c = "out"; *c != '\0'; c++)
		assert_int_equal(console_write(&console, (uint8_t)*c), 0);
	console_release(&console);
	assert_int_equal(console.out, -1);
	console_release(&console);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 3);
	assert_string_equal(text, "out");
	close(fd);
	unlink(path);
}

static void a_file_that_cannot_be_opened_is_refused(void **state)
{
	struct console console;
	struct error err = {0};

	(void)state;
	assert_int_equal(console_open(&console, SERIAL_FILE, "/nowhere/log", &err), -ENOENT);
	assert_string_equal(err.text,
			    "--serial file:/nowhere/log: cannot open it for writing: No such file or directory");
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	console_release(&console);
	assert_int_equal(console_open(&console, SERIAL_FILE, "/proc/self", &err), -EISDIR);
	assert_string_equal(err.text, "--serial file:/proc/self: cannot open it for writing: Is a directory");
	console_release(&console);
}

/* A console on pipes of ours: what the guest writes comes out of *out, what goes into *in was typed. */
static struct console on_pipes(int *in, int *out)
{
	struct console console;
	struct error err;
	int to[2], from[2];

	assert_int_equal(console_open(&console, SERIAL_NONE, NULL, &err), 0);
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	console.in = to[0];
	console.out = from[1];
	*in = to[1];
	*out = from[0];
	return console;
}

static void close_all(struct console *console, int in, int out)
{
	close(console->in);
	close(console->out);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	console_release(console);
}

/* Bytes in a pipe are data: nothing in them is an escape, and no terminal is touched. */
static void a_pipe_goes_through_untouched(void **state)
{
	static const uint8_t BYTES[] = {0x01, 'x', 0x01, 0x01, 0x00, 0xff, 0x03};
	struct log log = {.level = LOG_DEBUG, .fd = -1};
	uint8_t got[CONSOLE_READ_MAX];
	int in, out;
	struct console console = on_pipes(&in, &out);

	(void)state;
	console_start(&console, &log);
	assert_false(console.terminal);
	assert_int_equal(console.raw, 0);
	assert_int_equal(write(in, BYTES, sizeof(BYTES)), sizeof(BYTES));
	assert_int_equal(console_read(&console, got, sizeof(got)), sizeof(BYTES));
	assert_memory_equal(got, BYTES, sizeof(BYTES));
	/* never more than was asked for, in order */
	assert_int_equal(write(in, "abc", 3), 3);
	assert_int_equal(console_read(&console, got, 2), 2);
	assert_memory_equal(got, "ab", 2);
	assert_int_equal(console_read(&console, got, sizeof(got)), 1);
	assert_int_equal(got[0], 'c');
	console_stop(&console);
	close_all(&console, in, out);
}

static void the_end_of_input_is_told(void **state)
{
	uint8_t got[CONSOLE_READ_MAX];
	int in, out;
	struct console console = on_pipes(&in, &out);

	(void)state;
	assert_int_equal(fcntl(console.in, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(console_read(&console, got, sizeof(got)), 0); /* nothing yet, and no error */
	close(in);
	assert_int_equal(console_read(&console, got, sizeof(got)), -EPIPE);
	close_all(&console, -1, out);
	assert_int_equal(console_read(&console, got, sizeof(got)), -EPIPE); /* no descriptor any more */
}

static void no_more_is_read_than_fits(void **state)
{
	uint8_t bytes[2 * CONSOLE_READ_MAX], got[2 * CONSOLE_READ_MAX];
	int in, out;
	struct console console = on_pipes(&in, &out);

	(void)state;
	memset(bytes, 'b', sizeof(bytes));
	assert_int_equal(write(in, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(console_read(&console, got, sizeof(got)), CONSOLE_READ_MAX);
	close_all(&console, in, out);
}

static void a_pipe_without_a_reader_is_an_error(void **state)
{
	int in, out;
	struct console console = on_pipes(&in, &out);

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(console_write(&console, 'x'), 0);
	close(out);
	assert_int_equal(console_write(&console, 'y'), -EPIPE);
	close_all(&console, in, -1);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signal_number)
{
	(void)signal_number;
	alarms = alarms + 1;
}

/* Writes to a pipe without room; the write must wait for the signal and tell of it. */
static void write_until_interrupted(struct console *console, int flags)
{
	/* again and again, should the first come before the call */
	const struct itimerval soon = {{0, 20000}, {0, 20000}};

	assert_int_equal(fcntl(console->out, F_SETFL, flags), 0);
	alarms = 0;
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(console_write(console, 'x'), -EINTR);
	assert_true(alarms > 0);
	alarm(PATIENCE);
}

static void a_full_pipe_can_be_interrupted(void **state)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	struct sigaction before;
	char page[4096] = "";
	int in, out;
	struct console console = on_pipes(&in, &out);

	(void)state;
	assert_int_equal(fcntl(console.out, F_SETFL, O_NONBLOCK), 0);
	while (write(console.out, page, sizeof(page)) > 0)
		;
	sigaction(SIGALRM, &action, &before);
	write_until_interrupted(&console, 0);
	/* as a shell or another program on the same terminal may leave it */
	write_until_interrupted(&console, O_NONBLOCK);
	sigaction(SIGALRM, &before, NULL);
	close_all(&console, in, out);
}

/* ------------------------------------------------------------------------------------- on a terminal */

enum { STEPS_MAX = 16 };

/* What a process on a terminal of its own saw; shared with the test. */
struct seen {
	struct termios before, during, after;
	bool terminal, raw_during, raw_after;
	int results[STEPS_MAX]; /* of each console_read() */
	uint8_t bytes[STEPS_MAX][CONSOLE_READ_MAX];
	bool done;
};

struct typing {
	const char *bytes;
	size_t size;
	int result;        /* of console_read() */
	const char *guest; /* what of it is for the guest */
};

static struct seen *new_seen(void)
{
	struct seen *seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(seen != MAP_FAILED);
	return seen;
}

/* In the child: opens, starts, reads as often as the test types, stops. Each 'R' on the ready pipe asks for the next keys. */
static void play(struct seen *seen, size_t steps, enum log_level level, int ready)
{
	struct log log = {.level = level, .fd = STDERR_FILENO};
	struct console console;
	struct error err;

	tcgetattr(STDIN_FILENO, &seen->before);
	if (console_open(&console, SERIAL_STDIO, NULL, &err) < 0)
		_exit(2);
	console_start(&console, &log);
	tcgetattr(STDIN_FILENO, &seen->during);
	seen->terminal = console.terminal;
	seen->raw_during = console.raw != 0;
	for (size_t i = 0; i < steps; i++) {
		if (write(ready, "R", 1) != 1)
			_exit(2);
		seen->results[i] = console_read(&console, seen->bytes[i], CONSOLE_READ_MAX);
	}
	console_stop(&console);
	seen->raw_after = console.raw != 0;
	tcgetattr(STDIN_FILENO, &seen->after);
	console_stop(&console);
	console_release(&console);
	seen->done = true;
	_exit(0);
}

/* Reads what the terminal shows until it hangs up or nothing comes for a while. */
static void read_screen(int master, char *screen, size_t size)
{
	struct pollfd poll_fd = {.fd = master, .events = POLLIN};
	size_t used = 0;

	while (used + 1 < size && poll(&poll_fd, 1, 2000) > 0) {
		ssize_t got = read(master, screen + used, size - used - 1);

		if (got <= 0)
			break;
		used += (size_t)got;
	}
	screen[used] = '\0';
}

/* Runs a console on a terminal, types each step and checks it; the caller looks at what was seen and on the screen. */
static struct seen *on_terminal(const struct typing *typing, size_t steps, enum log_level level, char *screen,
				size_t screen_size)
{
	struct seen *seen = new_seen();
	int master, ready[2], status;
	pid_t child;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = forkpty(&master, NULL, NULL, NULL);
	assert_true(child >= 0);
	if (child == 0) {
		alarm(20);
		play(seen, steps, level, ready[1]);
	}
	close(ready[1]);
	for (size_t i = 0; i < steps; i++) {
		char byte;

		assert_int_equal(read(ready[0], &byte, 1), 1);
		assert_int_equal(write(master, typing[i].bytes, typing[i].size), typing[i].size);
	}
	read_screen(master, screen, screen_size);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0 && seen->done);
	for (size_t i = 0; i < steps; i++) {
		assert_int_equal(seen->results[i], typing[i].result);
		if (typing[i].result > 0)
			assert_memory_equal(seen->bytes[i], typing[i].guest, typing[i].result);
	}
	close(ready[0]);
	close(master);
	return seen;
}

static bool same_settings(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
	       a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc)) == 0;
}

static void a_terminal_is_raw_and_then_as_before(void **state)
{
	static const struct typing KEYS[] = {{"\003", 1, 1, "\003"}}; /* Ctrl-C is the guest's */
	char screen[512];
	struct seen *seen = on_terminal(KEYS, 1, LOG_WARN, screen, sizeof(screen));

	(void)state;
	assert_true(seen->terminal && seen->raw_during && !seen->raw_after);
	assert_true((seen->before.c_lflag & (ICANON | ECHO | ISIG)) == (ICANON | ECHO | ISIG));
	assert_true((seen->during.c_lflag & (ICANON | ECHO | ISIG | IEXTEN)) == 0);
	assert_true((seen->during.c_oflag & OPOST) == 0);
	assert_true((seen->during.c_iflag & (ICRNL | IXON)) == 0);
	assert_true(same_settings(&seen->before, &seen->after));
	/* told before the terminal was raw, so the line ends as lines do there */
	assert_int_equal(strncmp(screen, HINT, strlen(HINT)), 0);
	assert_string_equal(screen + strlen(HINT), "\r\n");
	munmap(seen, sizeof(*seen));
}

static void who_wants_errors_only_gets_no_hint(void **state)
{
	static const struct typing KEYS[] = {{"k", 1, 1, "k"}};
	char screen[512];
	struct seen *seen = on_terminal(KEYS, 1, LOG_ERROR, screen, sizeof(screen));

	(void)state;
	assert_true(seen->raw_during);
	assert_string_equal(screen, "");
	munmap(seen, sizeof(*seen));
}

static void escapes_are_taken_out(void **state)
{
	static const struct typing KEYS[] = {
		{"ab", 2, 2, "ab"},
		{"a\001\001b", 4, 3, "a\001b"}, /* twice is once */
		{"\001", 1, 0, ""},             /* the escape alone waits for the next key ... */
		{"q", 1, 1, "q"},               /* ... and another key goes through as typed */
		{"\001", 1, 0, ""},
		{"\001", 1, 1, "\001"},
		{"x", 1, 1, "x"}, /* no escape before it any more */
		{"\001\001x", 3, 2, "\001x"},
		{"\001\001\001\001", 4, 2, "\001\001"},
		{"\001X\r\004", 4, 3, "X\r\004"}, /* only the small x quits */
		{"abc\001x", 5, -ECANCELED, ""},
	};
	char screen[512];
	struct seen *seen = on_terminal(KEYS, sizeof(KEYS) / sizeof(KEYS[0]), LOG_WARN, screen, sizeof(screen));

	(void)state;
	munmap(seen, sizeof(*seen));
}

static void an_escape_in_two_parts_quits(void **state)
{
	static const struct typing KEYS[] = {{"\001", 1, 0, ""}, {"x", 1, -ECANCELED, ""}};
	char screen[512];
	struct seen *seen = on_terminal(KEYS, 2, LOG_WARN, screen, sizeof(screen));

	(void)state;
	assert_true(same_settings(&seen->before, &seen->after));
	munmap(seen, sizeof(*seen));
}

/* A job in the background must not change the terminal of the shell that started it. */
static void a_background_job_leaves_the_terminal_alone(void **state)
{
	struct seen *seen = new_seen();
	char screen[512];
	int master, status;
	pid_t child = forkpty(&master, NULL, NULL, NULL);

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		pid_t job = fork();

		if (job == 0) {
			setpgid(0, 0);
			play(seen, 0, LOG_WARN, -1);
		}
		waitpid(job, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	read_screen(master, screen, sizeof(screen));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0 && seen->done);
	assert_false(seen->terminal || seen->raw_during);
	assert_true(same_settings(&seen->before, &seen->during) && same_settings(&seen->before, &seen->after));
	assert_string_equal(screen, "");
	close(master);
	munmap(seen, sizeof(*seen));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_modes_have_their_descriptors),
		cmocka_unit_test(a_file_gets_the_output),
		cmocka_unit_test(a_file_that_cannot_be_opened_is_refused),
		cmocka_unit_test(a_pipe_goes_through_untouched),
		cmocka_unit_test(the_end_of_input_is_told),
		cmocka_unit_test(no_more_is_read_than_fits),
		cmocka_unit_test(a_pipe_without_a_reader_is_an_error),
		cmocka_unit_test(a_full_pipe_can_be_interrupted),
		cmocka_unit_test(a_terminal_is_raw_and_then_as_before),
		cmocka_unit_test(who_wants_errors_only_gets_no_hint),
		cmocka_unit_test(escapes_are_taken_out),
		cmocka_unit_test(an_escape_in_two_parts_quits),
		cmocka_unit_test(a_background_job_leaves_the_terminal_alone),
	};

	alarm(PATIENCE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
