/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/keyval.h"

#include <errno.h>

static void assert_pair(const struct keyval *keyval, size_t index, const char *key, const char *value,
			size_t value_column)
{
	assert_true(index < keyval->count);
	assert_string_equal(keyval->pairs[index].key.text, key);
	assert_string_equal(keyval->pairs[index].value.text, value);
	assert_int_equal(keyval->pairs[index].value.column, value_column);
}

static struct keyval parsed(const char *argument, const char *implied_key)
{
	struct keyval keyval;
	struct error err = {0};

	assert_int_equal(keyval_parse(&keyval, argument, implied_key, &err), 0);
	return keyval;
}

static void pairs_have_columns(void **state)
{
	struct keyval keyval = parsed("size=8G,node=1,id=hbm0", NULL);

	(void)state;
	assert_int_equal(keyval.count, 3);
	assert_pair(&keyval, 0, "size", "8G", 6);
	assert_pair(&keyval, 1, "node", "1", 14);
	assert_pair(&keyval, 2, "id", "hbm0", 19);
	assert_int_equal(keyval.pairs[1].key.column, 9);
	keyval_release(&keyval);
	keyval_release(&keyval);
	keyval_release(NULL);
}

static void a_doubled_comma_is_a_comma(void **state)
{
	struct keyval keyval = parsed("path=a,,b,,,node=1,x=,,", NULL);

	(void)state;
	assert_int_equal(keyval.count, 3);
	assert_pair(&keyval, 0, "path", "a,b,", 6);
	assert_pair(&keyval, 1, "node", "1", 18);
	assert_pair(&keyval, 2, "x", ",", 22);
	keyval_release(&keyval);
}

static void a_value_may_hold_equals_signs(void **state)
{
	struct keyval keyval = parsed("append=a=b=c", NULL);

	(void)state;
	assert_int_equal(keyval.count, 1);
	assert_pair(&keyval, 0, "append", "a=b=c", 8);
	keyval_release(&keyval);
}

static void lists_go_on(void **state)
{
	struct keyval keyval = parsed("host-nodes=0-1,3,5-6,policy=bind", NULL);

	(void)state;
	assert_int_equal(keyval.count, 2);
	assert_pair(&keyval, 0, "host-nodes", "0-1,3,5-6", 12);
	assert_pair(&keyval, 1, "policy", "bind", 29);
	keyval_release(&keyval);
}

static void the_first_key_may_be_implied(void **state)
{
	struct keyval keyval = parsed("2G,node=1", "size");

	(void)state;
	assert_int_equal(keyval.count, 2);
	assert_pair(&keyval, 0, "size", "2G", 1);
	assert_pair(&keyval, 1, "node", "1", 9);
	keyval_release(&keyval);
	/* only the first: a number behind it goes on with it */
	keyval = parsed("2G,3", "size");
	assert_int_equal(keyval.count, 1);
	assert_pair(&keyval, 0, "size", "2G,3", 1);
	keyval_release(&keyval);
	keyval = parsed("size=2G", "size");
	assert_int_equal(keyval.count, 1);
	assert_pair(&keyval, 0, "size", "2G", 6);
	keyval_release(&keyval);
}

static void assert_refused(const char *argument, const char *implied_key, int code, const char *message)
{
	struct keyval keyval;
	struct error err = {0};

	assert_int_equal(keyval_parse(&keyval, argument, implied_key, &err), code);
	assert_int_equal(err.status, EXIT_STATUS_USAGE);
	assert_string_equal(err.text, message);
	assert_null(keyval.storage);
}

static void mistakes_are_pointed_at(void **state)
{
	static const char NOTHING_1[] = "nothing stands here (column 1); use KEY=VALUE, with single commas between";

	(void)state;
	assert_refused("", NULL, -EINVAL, NOTHING_1);
	assert_refused("", "size", -EINVAL, NOTHING_1);
	assert_refused(",node=1", "size", -EINVAL, NOTHING_1);
	assert_refused("node=1,", NULL, -EINVAL,
		       "nothing stands here (column 8); use KEY=VALUE, with single commas between");
	assert_refused("8G,node=1", NULL, -EINVAL, "'8G' has no value (column 1); use KEY=VALUE");
	assert_refused("node=1,mixed", NULL, -EINVAL, "'mixed' has no value (column 8); use KEY=VALUE");
	assert_refused("node=1,size=", NULL, -EINVAL, "'size' has no value (column 13); give one or leave the key out");
	assert_refused("=1", NULL, -EINVAL, "a key is missing before '=' (column 1)");
	assert_refused("node=1,=", NULL, -EINVAL, "a key is missing before '=' (column 8)");
	assert_refused("node=1,size=2,node=3", NULL, -EINVAL, "'node' is given twice (columns 1 and 15); give it once");
	assert_refused("2G,size=3G", "size", -EINVAL, "'size' is given twice (columns 1 and 4); give it once");
}

static void the_number_of_keys_is_bounded(void **state)
{
	char argument[400] = "";
	size_t used = 0;
	struct keyval keyval;

	(void)state;
	for (int i = 0; i < KEYVAL_PAIRS_MAX; i++)
		used += (size_t)snprintf(argument + used, sizeof(argument) - used, "%sk%02d=v", i > 0 ? "," : "", i);
	keyval = parsed(argument, NULL);
	assert_int_equal(keyval.count, KEYVAL_PAIRS_MAX);
	keyval_release(&keyval);
	strcat(argument, ",one=more");
	assert_refused(argument, NULL, -E2BIG, "more than 32 keys (column 193)");
}

/* Whatever the bytes are: no key is empty or doubled, no value is empty, and columns point where the tokens came from. */
static void any_text_is_survived(void **state)
{
	static const char ALPHABET[] = "a=,,1-b=\n";
	struct prng prng = prng_new("any_text_is_survived");

	(void)state;
	for (int round = 0; round < 50000; round++) {
		char text[24];
		size_t length = prng_below(&prng, sizeof(text));
		struct error err = {0};
		struct keyval keyval;

		for (size_t i = 0; i < length; i++)
			text[i] = ALPHABET[prng_below(&prng, sizeof(ALPHABET) - 1)];
		text[length] = '\0';
		if (keyval_parse(&keyval, text, round % 2 == 0 ? "implied" : NULL, &err) < 0) {
			assert_int_not_equal(err.text[0], '\0');
			continue;
		}
		assert_true(keyval.count > 0);
		for (size_t i = 0; i < keyval.count; i++) {
			const struct keyval_pair *pair = &keyval.pairs[i];

			assert_int_not_equal(pair->key.text[0], '\0');
			assert_int_equal(pair->value.text[0], text[pair->value.column - 1]);
		}
		keyval_release(&keyval);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_have_columns),
		cmocka_unit_test(a_doubled_comma_is_a_comma),
		cmocka_unit_test(a_value_may_hold_equals_signs),
		cmocka_unit_test(lists_go_on),
		cmocka_unit_test(the_first_key_may_be_implied),
		cmocka_unit_test(mistakes_are_pointed_at),
		cmocka_unit_test(the_number_of_keys_is_bounded),
		cmocka_unit_test(any_text_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
