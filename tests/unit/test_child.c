/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/io.h"

enum { DEADLINE = 2000 };

static struct child_options shell(const char *const *argv)
{
	return (struct child_options){.name = "sh", .option = "--test", .argv = argv};
}

/* Waits for its end, reading its output; whether it came. */
static bool wait_for_end(struct child *child)
{
	for (int i = 0; i < 500; i++) {
		child_log(child, NULL);
		if (child_has_ended(child)) {
			child_log(child, NULL);
			return true;
		}
		usleep(10000);
	}
	return false;
}

static int open_count(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* It replaces one of the same name, and the others stay. */
static void setting_is_in_its_environment(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "echo $SPMVM_TEST_ONE, $SPMVM_TEST_TWO, $SPMVM_TEST", NULL};
	struct child_options options = shell(argv);
	struct child child;
	struct error err;

	(void)state;
	setenv("SPMVM_TEST_ONE", "old", 1);
	setenv("SPMVM_TEST_TWO", "two", 1);
	setenv("SPMVM_TEST", "three", 1);
	options.setting = "SPMVM_TEST_ONE=one=1";
	assert_int_equal(child_start(&child, &options, &err), 0);
	assert_true(wait_for_end(&child));
	assert_string_equal(child.last, "one=1, two, three");
	assert_string_equal(getenv("SPMVM_TEST_ONE"), "old");
	child_release(&child, DEADLINE);
}

static void runs_and_ends_with_its_status(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "echo one; echo two >&2; exit 7", NULL};
	struct child_options options = shell(argv);
	int before = open_count();
	struct child child;
	struct error err;

	(void)state;
	assert_int_equal(child_start(&child, &options, &err), 0);
	assert_true(wait_for_end(&child));
	assert_int_equal(WEXITSTATUS(child.status), 7);
	assert_string_equal(child.last, "two");
	assert_string_equal(child_ending(&child).text, "ended with status 7");
	child_release(&child, DEADLINE);
	child_release(&child, DEADLINE);
	child_release(NULL, DEADLINE);
	assert_int_equal(open_count(), before);
}

static void logs_lines_at_debug(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "printf 'a\\nb\\033[2J\\n\\nno newline'", NULL};
	struct child_options options = shell(argv);
	struct child child;
	struct error err;
	int pipes[2];
	struct log log = {.level = LOG_DEBUG};
	char text[512] = {0};

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	log.fd = pipes[1];
	assert_int_equal(child_start(&child, &options, &err), 0);
	while (child.output >= 0)
		child_log(&child, &log);
	child_release(&child, DEADLINE);
	assert_true(read(pipes[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "spmvm: debug: --test: sh: a\nspmvm: debug: --test: sh: b?[2J\n"
				  "spmvm: debug: --test: sh: no newline\n");
	io_close(&pipes[0]);
	io_close(&pipes[1]);
}

static void a_long_line_is_cut_and_an_endless_one_does_not_hang(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", NULL};
	const char *const zeros[] = {"/bin/cat", "/dev/zero", NULL};
	struct child_options options = shell(argv);
	struct child child;
	struct error err;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(child_start(&child, &options, &err), 0);
		for (int k = 0; k < 20; k++) {
			child_log(&child, NULL);
			usleep(1000);
		}
		assert_false(child_has_ended(&child));
		assert_string_equal(child_ending(&child).text, "runs");
		child_release(&child, DEADLINE);
		options.argv = zeros;
	}
}

static void gives_descriptors_and_no_others(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c",
				    "cat <&3; cat <&4; ls -1 /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0",
				    NULL};
	struct child_options options = shell(argv);
	int pipes[2][2], fds[2];
	struct child child;
	struct error err;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe(pipes[i]), 0); /* without O_CLOEXEC: they must be closed all the same */
		assert_int_equal(write(pipes[i][1], i == 0 ? "A" : "B", 1), 1);
		close(pipes[i][1]);
	}
	assert_int_equal(dup2(pipes[0][0], 60), 60); /* one more to be closed */
	fds[0] = pipes[1][0];                        /* crosswise */
	fds[1] = pipes[0][0];
	options.fds = fds;
	options.fd_count = 2;
	assert_int_equal(child_start(&child, &options, &err), 0);
	assert_true(wait_for_end(&child));
	/* the last number is that of ls's own directory; the pipe of tr is not its child's */
	assert_string_equal(child.last, "BA0 1 2 3 4 5 /dev/null");
	child_release(&child, DEADLINE);
	close(60);
	close(pipes[0][0]);
	close(pipes[1][0]);
}

static void signals_are_as_at_login(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t'", NULL};
	struct child_options options = shell(argv);
	struct child child;
	struct error err;
	sigset_t all, old;

	(void)state;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(child_start(&child, &options, &err), 0);
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGPIPE, SIG_DFL);
	assert_true(wait_for_end(&child));
	assert_string_equal(child.last, "SigBlk:0000000000000000SigIgn:0000000000000000");
	child_release(&child, DEADLINE);
}

static void a_program_that_is_not_there_is_an_error(void **state)
{
	const char *const missing[] = {"/nowhere/program", NULL};
	const char *const folder[] = {"/tmp", NULL};
	struct child_options options = shell(missing);
	int before = open_count();
	struct child child;
	struct error err;

	(void)state;
	assert_int_equal(child_start(&child, &options, &err), -ENOENT);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text, "--test: cannot start /nowhere/program: No such file or directory");
	options.argv = folder;
	assert_int_equal(child_start(&child, &options, &err), -EACCES);
	child_release(&child, DEADLINE); /* released already */
	assert_int_equal(open_count(), before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int refuse(void *context)
{
	return *(int *)context;
}

static void a_preparation_that_fails_is_an_error(void **state)
{
	const char *const argv[] = {"/bin/true", NULL};
	struct child_options options = shell(argv);
	struct child child;
	struct error err;
	int code = -EPERM;

	(void)state;
	options.prepare = refuse;
	options.context = &code;
	options.preparation = "make the folder read-only";
	assert_int_equal(child_start(&child, &options, &err), -EPERM);
	assert_string_equal(err.text, "--test: cannot make the folder read-only: Operation not permitted");
	code = 0;
	assert_int_equal(child_start(&child, &options, &err), 0);
	assert_true(wait_for_end(&child));
	assert_int_equal(child.status, 0);
	child_release(&child, DEADLINE);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void one_that_does_not_listen_is_killed_with_all_of_its_group(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1; done",
				    NULL};
	struct child_options options = shell(argv);
	struct child child;
	struct error err;
	double start;
	pid_t inner, outer;

	(void)state;
	assert_int_equal(child_start(&child, &options, &err), 0);
	for (int i = 0; i < 200 && child.last[0] == '\0'; i++) {
		child_log(&child, NULL);
		usleep(10000);
	}
	inner = (pid_t)strtol(child.last, NULL, 10);
	outer = child.pid;
	assert_true(inner > 0);
	start = seconds();
	child_release(&child, 100);
	assert_true(seconds() - start < 2);
	assert_int_equal(kill(outer, 0), -1);
	/* the inner one is init's to reap */
	for (int i = 0; i < 200 && kill(inner, 0) == 0; i++) {
		char path[64], line[64] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/status", (int)inner);
		file = fopen(path, "re");
		while (file != NULL && fgets(line, sizeof(line), file) != NULL && strncmp(line, "State:", 6) != 0)
			;
		if (file != NULL)
			fclose(file);
		if (strstr(line, "Z") != NULL)
			return; /* dead, whoever reaps it */
		usleep(10000);
	}
	assert_int_equal(kill(inner, 0), -1);
}

static void one_that_listens_ends_by_itself(void **state)
{
	const char *const argv[] = {"/bin/sleep", "1000", NULL};
	struct child_options options = shell(argv);
	struct child child;
	struct error err;
	double start = seconds();

	(void)state;
	assert_int_equal(child_start(&child, &options, &err), 0);
	child_release(&child, 60000);
	assert_true(seconds() - start < 10);
}

/* The process that started it is killed: the child goes too. */
static void goes_with_its_parent(void **state)
{
	const char *const argv[] = {"/bin/sleep", "1000", NULL};
	struct child_options options = shell(argv);
	struct pollfd closed;
	int alive[2];
	pid_t parent;

	(void)state;
	assert_int_equal(pipe(alive), 0);
	parent = fork();
	if (parent == 0) {
		struct child child;
		struct error err;

		options.fds = &alive[1];
		options.fd_count = 1;
		if (child_start(&child, &options, &err) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	close(alive[1]);
	waitpid(parent, NULL, 0);
	closed = (struct pollfd){.fd = alive[0], .events = POLLIN};
	assert_int_equal(poll(&closed, 1, 5000), 1);
	assert_true((closed.revents & POLLHUP) != 0);
	close(alive[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_and_ends_with_its_status),
		cmocka_unit_test(setting_is_in_its_environment),
		cmocka_unit_test(logs_lines_at_debug),
		cmocka_unit_test(a_long_line_is_cut_and_an_endless_one_does_not_hang),
		cmocka_unit_test(gives_descriptors_and_no_others),
		cmocka_unit_test(signals_are_as_at_login),
		cmocka_unit_test(a_program_that_is_not_there_is_an_error),
		cmocka_unit_test(a_preparation_that_fails_is_an_error),
		cmocka_unit_test(one_that_does_not_listen_is_killed_with_all_of_its_group),
		cmocka_unit_test(one_that_listens_ends_by_itself),
		cmocka_unit_test(goes_with_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
