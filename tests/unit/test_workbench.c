/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/workbench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/protocol.h"

/* This process's own streams, put aside while a test has others in their place. */
struct streams {
	int saved[3];
};

static void put_aside(struct streams *streams)
{
	for (int i = 0; i < 3; i++)
		streams->saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
}

static void put_back(const struct streams *streams)
{
	for (int i = 0; i < 3; i++) {
		dup2(streams->saved[i], i);
		close(streams->saved[i]);
	}
}

static bool has_record(const struct buf *records, const char *record)
{
	const char *text = (const char *)records->data;

	for (size_t at = 0; at < records->size; at += strlen(text + at) + 1) {
		if (strcmp(text + at, record) == 0)
			return true;
	}
	return false;
}

static void the_guest_is_told_everything(void **state)
{
	char *words[] = {(char[]){"sh"}, (char[]){"-c"}, (char[]){"a\nb = c"}, (char[]){""}, NULL};
	const char *folders[] = {"/tmp/../tmp", "/usr"};
	const struct config config = {.command = words, .rw = folders, .rw_count = 2};
	struct workbench workbench;
	struct buf records = {0};
	struct error err = {0};
	char cwd[4096] = "cwd=";

	(void)state;
	workbench_init(&workbench);
	setenv("SPMVM_TEST", "x=y\nz", 1);
	assert_int_equal(workbench_describe(&workbench, &config, "/lib/modules/6.1", &records, &err), 0);
	assert_non_null(getcwd(cwd + 4, sizeof(cwd) - 4));
	assert_true(has_record(&records, cwd));
	assert_true(has_record(&records, "arg=sh"));
	assert_true(has_record(&records, "arg=a\nb = c"));
	assert_true(has_record(&records, "arg="));
	assert_true(has_record(&records, "env=SPMVM_TEST=x=y\nz"));
	assert_true(has_record(&records, "rw=/tmp"));
	assert_true(has_record(&records, "rw=/usr"));
	assert_true(has_record(&records, "modules=/lib/modules/6.1"));
	assert_false(has_record(&records, "stderr=pipe"));
	assert_int_equal(records.data[records.size - 1], 0);
	buf_release(&records);

	folders[1] = "/nowhere";
	assert_int_equal(workbench_describe(&workbench, &config, NULL, &records, &err), -ENOENT);
	assert_string_equal(err.text, "--rw /nowhere: No such file or directory");
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	buf_release(&records);
	workbench_release(&workbench);
}

/* Making our end of a pipe non-blocking must not change what the shell and the others of the pipeline have. */
static void pipes_are_opened_anew(void **state)
{
	struct workbench workbench;
	struct streams streams;
	struct error err;
	int in[2], out[2], code, flags;
	struct stat ours, theirs;

	(void)state;
	workbench_init(&workbench);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	put_aside(&streams);
	dup2(in[0], 0);
	dup2(out[1], 1);
	code = workbench_open(&workbench, &err);
	if (code == 0)
		fcntl(workbench.fds[STREAM_STDOUT], F_SETFL, O_NONBLOCK | O_WRONLY);
	flags = fcntl(1, F_GETFL);
	put_back(&streams);
	assert_int_equal(code, 0);
	assert_int_equal(flags & O_NONBLOCK, 0);
	assert_false(workbench.terminal);
	assert_int_equal(fstat(workbench.fds[STREAM_STDOUT], &ours), 0);
	assert_int_equal(fstat(out[1], &theirs), 0);
	assert_true(ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev);
	assert_int_equal(fcntl(workbench.fds[STREAM_STDIN], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	workbench_release(&workbench);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
}

/* A file's offset is shared with who comes next, so it is not opened anew. */
static void files_keep_their_offset(void **state)
{
	char name[] = "/tmp/spmvm-test-XXXXXX";
	struct workbench workbench;
	struct streams streams;
	struct error err;
	int file = mkstemp(name), code;

	(void)state;
	assert_true(file >= 0);
	unlink(name);
	workbench_init(&workbench);
	put_aside(&streams);
	dup2(file, 1);
	code = workbench_open(&workbench, &err);
	put_back(&streams);
	assert_int_equal(code, 0);
	assert_int_equal(write(workbench.fds[STREAM_STDOUT], "abc", 3), 3);
	assert_int_equal(lseek(file, 0, SEEK_CUR), 3);
	workbench_release(&workbench);
	close(file);
}

static void signals_are_handed_on_once(void **state)
{
	struct guest_control message;
	struct workbench workbench;
	struct error err;
	int control;

	(void)state;
	workbench_init(&workbench);
	assert_int_equal(workbench_open(&workbench, &err), 0);
	control = workbench_take(&workbench, STREAM_CONTROL);
	assert_int_equal(workbench_take(&workbench, STREAM_CONTROL), -1);
	assert_true(workbench_signal(&workbench, SIGINT));
	assert_true(workbench_signal(&workbench, SIGTERM));
	assert_false(workbench_signal(&workbench, SIGINT));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(read(control, &message, sizeof(message)), sizeof(message));
		assert_int_equal(message.kind, GUEST_CONTROL_SIGNAL);
		assert_int_equal(message.values[0], i == 0 ? SIGINT : SIGTERM);
	}
	assert_int_equal(read(control, &message, sizeof(message)), -1);
	close(control);
	workbench_release(&workbench);
	workbench_release(&workbench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_is_told_everything),
		cmocka_unit_test(pipes_are_opened_anew),
		cmocka_unit_test(files_keep_their_offset),
		cmocka_unit_test(signals_are_handed_on_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
