/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* A file with the bytes given. */
struct fixture {
	char path[64];
	int fd;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->path, "/tmp/spmvm-test-io-XXXXXX");
	f->fd = mkostemp(f->path, O_CLOEXEC);
	assert_true(f->fd >= 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	io_close(&f->fd);
	unlink(f->path);
	free(f);
	return 0;
}

static void fill(struct fixture *f, const char *text)
{
	assert_int_equal(ftruncate(f->fd, 0), 0);
	assert_int_equal(lseek(f->fd, 0, SEEK_SET), 0);
	assert_int_equal(io_write_all(f->fd, text, strlen(text)), 0);
}

static void closing_unsets_and_keeps_errno(void **state)
{
	int fd = dup(0);
	int none = -1;

	(void)state;
	errno = ENOSPC;
	io_close(&fd);
	assert_int_equal(fd, -1);
	io_close(&none);
	assert_int_equal(none, -1);
	fd = 100000; /* not open: close() fails */
	io_close(&fd);
	assert_int_equal(errno, ENOSPC);
}

static void reads_exactly_at_an_offset(void **state)
{
	struct fixture *f = *state;
	char bytes[8] = "-------";

	fill(f, "0123456789");
	assert_int_equal(io_pread_all(f->fd, bytes, 4, 3), 0);
	assert_string_equal(bytes, "3456---");
	assert_int_equal(io_pread_all(f->fd, bytes, 4, 7), -EIO);
	assert_int_equal(io_pread_all(f->fd, bytes, 0, 100), 0);
	assert_int_equal(io_pread_all(-1, bytes, 1, 0), -EBADF);
	assert_int_equal(io_pread_all(f->fd, bytes, 1, UINT64_MAX), -EINVAL);
}

/* A pipe takes 64 KiB at a time at most, so a large write needs several calls. */
static void writes_what_takes_several_calls(void **state)
{
	enum { SIZE = 1 << 20 };
	char *bytes = malloc(SIZE), *back = malloc(SIZE);
	size_t got = 0;
	pid_t child;
	int fds[2];

	(void)state;
	assert_true(bytes != NULL && back != NULL);
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (char)(i * 31 >> 4);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(io_write_all(fds[1], bytes, SIZE) == 0 ? 0 : 1);
	close(fds[1]);
	for (ssize_t part = 1; part > 0 && got < SIZE; got += (size_t)part) {
		part = read(fds[0], back + got, SIZE - got);
		assert_true(part >= 0);
	}
	close(fds[0]);
	assert_int_equal(got, SIZE);
	assert_memory_equal(bytes, back, SIZE);
	free(bytes);
	free(back);
}

static void writing_tells_why_not(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(io_write_all(-1, "x", 1), -EBADF);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	close(fds[0]);
	assert_int_equal(io_write_all(fds[1], "x", 1), -EPIPE);
	close(fds[1]);
	signal(SIGPIPE, SIG_DFL);
}

static void sends_without_a_signal(void **state)
{
	int fds[2];
	char bytes[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(io_send_all(fds[1], "xy", 2), 0);
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 2);
	assert_memory_equal(bytes, "xy", 2);
	close(fds[0]);
	assert_int_equal(io_send_all(fds[1], "x", 1), -EPIPE);
	close(fds[1]);
	assert_int_equal(io_send_all(-1, "x", 1), -EBADF);
}

static void an_eventfd_is_raised_and_lowered(void **state)
{
	const uint64_t almost = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t count = 0;

	(void)state;
	io_raise(fd);
	io_raise(fd);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 2);
	io_raise(fd);
	io_lower(fd);
	assert_int_equal(read(fd, &count, sizeof(count)), -1);
	io_lower(fd);
	/* full: it stays so */
	assert_int_equal(write(fd, &almost, sizeof(almost)), sizeof(almost));
	io_raise(fd);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_true(count == almost);
	close(fd);
}

static void appends_a_file(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};
	struct buf buf = {0};

	fill(f, "bytes");
	buf_text(&buf, "some ");
	assert_int_equal(io_read_file(f->path, 5, &buf, EXIT_STATUS_IMAGE, &err), 0);
	assert_int_equal(buf.size, 10);
	assert_memory_equal(buf.data, "some bytes", 10);
	assert_int_equal(err.status, 0);
	buf_release(&buf);
	/* its size reads as 0 */
	assert_int_equal(io_read_file("/proc/self/stat", 4096, &buf, EXIT_STATUS_HOST, &err), 0);
	assert_true(buf.size > 10);
	buf_release(&buf);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};
	struct buf buf = {0};
	char want[200];

	buf_text(&buf, "kept");
	assert_int_equal(io_read_file("/nonexistent/x", 10, &buf, EXIT_STATUS_IMAGE, &err), -ENOENT);
	assert_int_equal(err.status, EXIT_STATUS_IMAGE);
	assert_string_equal(err.text, "cannot open /nonexistent/x: No such file or directory");
	assert_int_equal(io_read_file("/tmp", 10, &buf, EXIT_STATUS_CONFIG, &err), -EISDIR);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	assert_string_equal(err.text, "cannot read /tmp: Is a directory");
	fill(f, "123456");
	assert_int_equal(io_read_file(f->path, 5, &buf, EXIT_STATUS_IMAGE, &err), -EFBIG);
	snprintf(want, sizeof(want), "%s is larger than 5 bytes", f->path);
	assert_string_equal(err.text, want);
	assert_int_equal(buf.size, 4);
	assert_memory_equal(buf.data, "kept", 4);
	assert_null(buf_extend(&buf, SIZE_MAX));
	assert_int_equal(io_read_file(f->path, 10, &buf, EXIT_STATUS_IMAGE, &err), -ENOMEM);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	snprintf(want, sizeof(want), "no memory to read %s", f->path);
	assert_string_equal(err.text, want);
	buf_release(&buf);
}

static void reads_the_number_of_a_small_file(void **state)
{
	struct fixture *f = *state;
	uint64_t value = 99;

	fill(f, "512\n");
	assert_int_equal(io_read_number(f->path, &value), 0);
	assert_int_equal(value, 512);
	fill(f, "18446744073709551615");
	assert_int_equal(io_read_number(f->path, &value), 0);
	assert_true(value == UINT64_MAX);
	value = 99;
	fill(f, "18446744073709551616");
	assert_int_equal(io_read_number(f->path, &value), -EINVAL);
	fill(f, "");
	assert_int_equal(io_read_number(f->path, &value), -EINVAL);
	fill(f, "none\n");
	assert_int_equal(io_read_number(f->path, &value), -EINVAL);
	fill(f, "-1\n");
	assert_int_equal(io_read_number(f->path, &value), -EINVAL);
	assert_int_equal(io_read_number("/nonexistent/x", &value), -ENOENT);
	assert_int_equal(io_read_number("/tmp", &value), -EISDIR);
	assert_int_equal(value, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closing_unsets_and_keeps_errno),
		cmocka_unit_test_setup_teardown(reads_exactly_at_an_offset, set_up, tear_down),
		cmocka_unit_test(writes_what_takes_several_calls),
		cmocka_unit_test(writing_tells_why_not),
		cmocka_unit_test(sends_without_a_signal),
		cmocka_unit_test(an_eventfd_is_raised_and_lowered),
		cmocka_unit_test_setup_teardown(appends_a_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_that_cannot_be_read_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reads_the_number_of_a_small_file, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
