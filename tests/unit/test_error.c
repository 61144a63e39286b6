/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/error.h"

#include <errno.h>

static void sets_all_three(void **state)
{
	struct error err = {0};

	(void)state;
	assert_int_equal(error_set(&err, EXIT_STATUS_HOST, ENOENT, "cannot open %s: %d", "/dev/kvm", 7), -ENOENT);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text, "cannot open /dev/kvm: 7");
}

static void control_characters_become_question_marks(void **state)
{
	struct error err = {0};

	(void)state;
	error_set(&err, EXIT_STATUS_USAGE, EINVAL, "bad '%s'", "a\nb\x1b[2J\x7f\t\xc3\xa9");
	assert_string_equal(err.text, "bad 'a?b?[2J??\xc3\xa9'");
	error_prefix(&err, "--append %s: ", "x\ry");
	assert_string_equal(err.text, "--append x?y: bad 'a?b?[2J??\xc3\xa9'");
}

static void prefixes_stack_up(void **state)
{
	struct error err = {0};

	(void)state;
	error_set(&err, EXIT_STATUS_CONFIG, EINVAL, "bad size");
	error_prefix(&err, "size=%s: ", "8Q");
	error_prefix(&err, "--spm ");
	assert_string_equal(err.text, "--spm size=8Q: bad size");
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
}

static void a_long_text_is_cut(void **state)
{
	struct error err = {0};
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_set(&err, EXIT_STATUS_USAGE, EINVAL, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	/* no room at all for a prefix: the text stays whole */
	error_prefix(&err, "--append: ");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(err.text[0], 'x');
}

static void a_long_prefix_leaves_the_message(void **state)
{
	static const char MESSAGE[] = "bad size suffix 'Q' (column 700)";
	struct error err = {0};
	char text[2000];
	size_t message_at = sizeof(err.text) - sizeof(MESSAGE);

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_set(&err, EXIT_STATUS_USAGE, EINVAL, "%s", MESSAGE);
	error_prefix(&err, "--spm %s: ", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "--spm xxx", 9);
	assert_memory_equal(err.text + message_at - 8, "xxx...: ", 8);
	assert_string_equal(err.text + message_at, MESSAGE);
	/* and one that leaves room for less than the mark */
	memset(text, 'y', sizeof(err.text) - 3);
	text[sizeof(err.text) - 3] = '\0';
	error_set(&err, EXIT_STATUS_USAGE, EINVAL, "%s", text);
	error_prefix(&err, "--spm: ");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "..yyy", 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_all_three),
		cmocka_unit_test(control_characters_become_question_marks),
		cmocka_unit_test(prefixes_stack_up),
		cmocka_unit_test(a_long_text_is_cut),
		cmocka_unit_test(a_long_prefix_leaves_the_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
