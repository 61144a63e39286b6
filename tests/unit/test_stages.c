/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/stages.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void a_stage_is_measured_from_the_last_one_before_it(void **state)
{
	const struct stages stages = {.at = {[STAGE_MAIN] = 1000, [STAGE_KERNEL] = 5000, [STAGE_KVM] = 5500}};

	(void)state;
	assert_int_equal(stages_took(&stages, STAGE_MAIN), 0);
	assert_int_equal(stages_took(&stages, STAGE_OPTIONS), 0); /* left out */
	assert_int_equal(stages_took(&stages, STAGE_KERNEL), 4000);
	assert_int_equal(stages_took(&stages, STAGE_KVM), 500);
	assert_int_equal(stages_took(&stages, STAGE_RUN), 0); /* not yet */
}

static void marks_ascend(void **state)
{
	struct stages stages = {0};

	(void)state;
	for (int i = 0; i < STAGE_COUNT; i++)
		stages_mark(&stages, (enum stage)i);
	for (int i = 1; i < STAGE_COUNT; i++)
		assert_true(stages.at[i] >= stages.at[i - 1]);
	assert_true(stages.at[STAGE_MAIN] > 0);
}

static void each_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < STAGE_COUNT; i++) {
		assert_non_null(stage_name((enum stage)i));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(stage_name((enum stage)i), stage_name((enum stage)j));
	}
}

/* What the log says at a level, without waiting; "" for nothing. */
static const char *said(const struct stages *stages, enum log_level level, char *text, size_t room)
{
	struct log log = {.level = level};
	ssize_t got;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	log.fd = fds[1];
	stages_log(stages, &log);
	got = read(fds[0], text, room - 1);
	text[got > 0 ? got : 0] = '\0';
	close(fds[0]);
	close(fds[1]);
	return text;
}

static void the_line_has_what_was_done(void **state)
{
	const struct stages some = {.at = {[STAGE_MAIN] = 1000000, [STAGE_KERNEL] = 1004999, [STAGE_RUN] = 1204999}};
	struct stages longest = {.at = {[STAGE_MAIN] = 1}};
	char text[2048];

	(void)state;
	assert_string_equal(said(&some, LOG_DEBUG, text, sizeof(text)),
			    "spmvm: debug: start, us: kernel 4 run 200; 204 since main()\n");
	assert_string_equal(said(&some, LOG_INFO, text, sizeof(text)), "");
	/* the largest numbers have room */
	for (int i = 1; i < STAGE_COUNT; i++)
		longest.at[i] = i % 2 == 0 ? 1 : UINT64_MAX;
	said(&longest, LOG_DEBUG, text, sizeof(text));
	assert_non_null(strstr(text, " run 18446744073709551"));
	assert_non_null(strstr(text, " since main()\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stage_is_measured_from_the_last_one_before_it),
		cmocka_unit_test(marks_ascend),
		cmocka_unit_test(each_has_a_name_of_its_own),
		cmocka_unit_test(the_line_has_what_was_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
