/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A log into a pipe that is read without waiting. */
struct fixture {
	struct log log;
	int read_fd;
	char text[65536];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_non_null(f);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	f->read_fd = fds[0];
	f->log = (struct log){.level = LOG_DEBUG, .fd = fds[1]};
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->read_fd);
	close(f->log.fd);
	free(f);
	return 0;
}

/* What was written since the last call. */
static const char *written(struct fixture *f)
{
	ssize_t got = read(f->read_fd, f->text, sizeof(f->text) - 1);

	f->text[got > 0 ? got : 0] = '\0';
	return f->text;
}

static size_t count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text != '\0'; text++)
		lines += *text == '\n';
	return lines;
}

static void levels_have_their_prefix(void **state)
{
	struct fixture *f = *state;

	log_error(&f->log, "e %d", 1);
	assert_string_equal(written(f), "spmvm: e 1\n");
	log_warn(&f->log, "w");
	assert_string_equal(written(f), "spmvm: warning: w\n");
	log_info(&f->log, "i");
	assert_string_equal(written(f), "spmvm: i\n");
	log_debug(&f->log, "d");
	assert_string_equal(written(f), "spmvm: debug: d\n");
}

static void quieter_levels_keep_silent(void **state)
{
	struct fixture *f = *state;
	struct log_limit limit = {0};

	f->log.level = LOG_WARN;
	log_info(&f->log, "i");
	log_debug(&f->log, "d");
	log_limited(&f->log, &limit, LOG_INFO, "l");
	assert_string_equal(written(f), "");
	assert_int_equal(limit.written, 0);
	log_warn(&f->log, "w");
	assert_string_equal(written(f), "spmvm: warning: w\n");
}

static void a_line_is_one_line(void **state)
{
	struct fixture *f = *state;
	char text[4000];

	log_error(&f->log, "%s", "a\nspmvm: forged\x1b[2J\x7f");
	assert_string_equal(written(f), "spmvm: a?spmvm: forged?[2J?\n");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_error(&f->log, "%s", text);
	assert_int_equal(strlen(written(f)), 1022);
	assert_string_equal(f->text + 1020, "x\n");
}

static void a_raw_terminal_gets_a_carriage_return(void **state)
{
	struct fixture *f = *state;
	volatile int raw = 0;

	f->log.raw_terminal = &raw;
	log_error(&f->log, "a");
	assert_string_equal(written(f), "spmvm: a\n");
	raw = 1;
	log_error(&f->log, "b");
	assert_string_equal(written(f), "spmvm: b\r\n");
}

static void errno_survives(void **state)
{
	struct fixture *f = *state;
	struct log closed = {.level = LOG_ERROR, .fd = -1};

	(void)f;
	errno = ENOSPC;
	log_error(&closed, "nobody reads this");
	assert_int_equal(errno, ENOSPC);
}

static void a_burst_is_held_back_and_told_later(void **state)
{
	struct fixture *f = *state;
	struct log_limit limit = {0};
	size_t lines;
	uint64_t first;

	/* again when the second turned over in between */
	do {
		limit = (struct log_limit){0};
		log_limited(&f->log, &limit, LOG_WARN, "noise");
		first = limit.second;
		for (int i = 1; i < 100; i++)
			log_limited(&f->log, &limit, LOG_WARN, "noise");
		lines = count_lines(written(f));
	} while (limit.second != first);
	assert_int_equal(lines, LOG_LIMIT_BURST);
	assert_int_equal(limit.dropped, 100 - LOG_LIMIT_BURST);
	limit.second--; /* as if a second had passed */
	log_limited(&f->log, &limit, LOG_WARN, "noise");
	assert_string_equal(written(f), "spmvm: warning: 95 more lines like the next one were not written\n"
					"spmvm: warning: noise\n");
	assert_int_equal(limit.dropped, 0);
}

static void levels_have_names(void **state)
{
	enum log_level level = LOG_INFO;

	(void)state;
	assert_int_equal(log_level_from("error", &level), 0);
	assert_int_equal(level, LOG_ERROR);
	assert_int_equal(log_level_from("warn", &level), 0);
	assert_int_equal(level, LOG_WARN);
	assert_int_equal(log_level_from("info", &level), 0);
	assert_int_equal(level, LOG_INFO);
	assert_int_equal(log_level_from("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_level_from("Warn", &level), -EINVAL);
	assert_int_equal(log_level_from("", &level), -EINVAL);
	assert_int_equal(level, LOG_DEBUG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(levels_have_their_prefix, set_up, tear_down),
		cmocka_unit_test_setup_teardown(quieter_levels_keep_silent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_line_is_one_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_raw_terminal_gets_a_carriage_return, set_up, tear_down),
		cmocka_unit_test_setup_teardown(errno_survives, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_burst_is_held_back_and_told_later, set_up, tear_down),
		cmocka_unit_test(levels_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
