/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/parse.h"
#include "vmm/base/range.h"

#include <errno.h>

static struct token at(size_t column, const char *text)
{
	return (struct token){text, column};
}

static void assert_number(const char *text, uint64_t want)
{
	struct error err = {0};
	uint64_t got = ~want;

	assert_int_equal(parse_number(at(1, text), 0, UINT64_MAX, &got, &err), 0);
	assert_true(got == want);
	assert_int_equal(err.text[0], '\0');
}

static void assert_no_number(const char *text, uint64_t min, uint64_t max, int code, const char *message)
{
	struct error err = {0};
	uint64_t got = 77;

	assert_int_equal(parse_number(at(6, text), min, max, &got, &err), code);
	assert_int_equal(got, 77);
	assert_int_equal(err.status, EXIT_STATUS_USAGE);
	assert_string_equal(err.text, message);
}

static void numbers(void **state)
{
	(void)state;
	assert_number("0", 0);
	assert_number("42", 42);
	assert_number("010", 10); /* no octal */
	assert_number("0x1F", 31);
	assert_number("0Xff", 255);
	assert_number("18446744073709551615", UINT64_MAX);
	assert_number("0xffffffffffffffff", UINT64_MAX);
}

static void numbers_out_of_bounds(void **state)
{
	(void)state;
	assert_no_number("0", 1, 255, -ERANGE, "0 is out of range (column 6); use 1 to 255");
	assert_no_number("256", 1, 255, -ERANGE, "256 is out of range (column 6); use 1 to 255");
	assert_no_number("18446744073709551616", 0, 255, -ERANGE,
			 "18446744073709551616 is out of range (column 6); use 0 to 255");
	assert_no_number("0x10000000000000000", 0, UINT64_MAX, -ERANGE,
			 "0x10000000000000000 is out of range (column 6); use 0 to 18446744073709551615");
}

static void what_is_no_number(void **state)
{
	(void)state;
	assert_no_number("", 0, 9, -EINVAL, "a number is missing (column 6); use 0 to 9");
	assert_no_number("x", 0, 9, -EINVAL, "'x' is not a digit (column 6); use a number from 0 to 9");
	assert_no_number("-1", 0, 9, -EINVAL, "'-' is not a digit (column 6); use a number from 0 to 9");
	assert_no_number("12q", 0, 9, -EINVAL, "'q' is not a digit (column 8); use a number from 0 to 9");
	assert_no_number("0x", 0, 9, -EINVAL, "'x' is not a digit (column 7); use a number from 0 to 9");
	assert_no_number(" 1", 0, 9, -EINVAL, "' ' is not a digit (column 6); use a number from 0 to 9");
}

static void assert_size(const char *text, uint64_t want)
{
	struct error err = {0};
	uint64_t got = ~want;

	assert_int_equal(parse_size(at(1, text), &got, &err), 0);
	assert_true(got == want);
}

static void assert_no_size(const char *text, int code, const char *message)
{
	struct error err = {0};
	uint64_t got = 77;

	assert_int_equal(parse_size(at(6, text), &got, &err), code);
	assert_int_equal(got, 77);
	assert_int_equal(err.status, EXIT_STATUS_USAGE);
	assert_string_equal(err.text, message);
}

static void sizes(void **state)
{
	(void)state;
	assert_size("1", 1);
	assert_size("4k", 4 * KIB);
	assert_size("4K", 4 * KIB);
	assert_size("3m", 3 * MIB);
	assert_size("3M", 3 * MIB);
	assert_size("8g", 8 * GIB);
	assert_size("8G", 8 * GIB);
	assert_size("2t", 2 * TIB);
	assert_size("16T", 16 * TIB);
	assert_size("0x200000", 2 * MIB);
	assert_size("0x10G", 16 * GIB);
	assert_size("16777215T", 16777215 * TIB);
	assert_size("18446744073709551615", UINT64_MAX);
}

static void what_is_no_size(void **state)
{
	(void)state;
	assert_no_size("8Q", -EINVAL, "bad size suffix 'Q' (column 7); use K, M, G or T");
	assert_no_size("8GB", -EINVAL, "bad size suffix 'GB' (column 7); use K, M, G or T");
	assert_no_size("8 G", -EINVAL, "bad size suffix ' G' (column 7); use K, M, G or T");
	assert_no_size("8abcdefghijklmnopqrst", -EINVAL,
		       "bad size suffix 'abcdefghijklmnop' (column 7); use K, M, G or T");
	assert_no_size("1.5G", -EINVAL,
		       "sizes have no fractions (column 7); use a smaller unit, such as 1536M for 1.5G");
	assert_no_size("", -EINVAL, "a size is missing (column 6); use such as 512M or 8G");
	assert_no_size("G", -EINVAL, "'G' is not a digit (column 6); use a size such as 512M or 8G");
	assert_no_size("-8G", -EINVAL, "'-' is not a digit (column 6); use a size such as 512M or 8G");
	assert_no_size("0", -EINVAL, "a size of 0 is not possible (column 6); use such as 512M or 8G");
	assert_no_size("0G", -EINVAL, "a size of 0 is not possible (column 6); use such as 512M or 8G");
	assert_no_size("16777216T", -ERANGE, "16777216T is too large (column 6); use less than 2^64 bytes");
	assert_no_size("18446744073709551616", -ERANGE,
		       "18446744073709551616 is too large (column 6); use less than 2^64 bytes");
}

static void on_and_off(void **state)
{
	struct error err = {0};
	bool value = false;

	(void)state;
	assert_int_equal(parse_on_off(at(1, "on"), &value, &err), 0);
	assert_true(value);
	assert_int_equal(parse_on_off(at(9, "yes"), &value, &err), -EINVAL);
	assert_true(value);
	assert_string_equal(err.text, "'yes' is neither on nor off (column 9)");
	assert_int_equal(parse_on_off(at(1, "off"), &value, &err), 0);
	assert_false(value);
	assert_int_equal(parse_on_off(at(1, "ON"), &value, &err), -EINVAL);
}

struct numbers_seen {
	uint32_t numbers[1100];
	size_t count;
};

static void see(void *context, uint32_t number)
{
	struct numbers_seen *seen = context;

	assert_true(seen->count < sizeof(seen->numbers) / sizeof(seen->numbers[0]));
	seen->numbers[seen->count++] = number;
}

static void lists(void **state)
{
	static const uint32_t WANT[] = {0, 1, 2, 3, 5, 4, 7, 8};
	struct numbers_seen seen = {.count = 0};
	struct error err = {0};

	(void)state;
	assert_int_equal(parse_list(at(1, "0-3,5,4-4,7-8"), 8, see, &seen, &err), 0);
	assert_int_equal(seen.count, 8);
	assert_memory_equal(seen.numbers, WANT, sizeof(WANT));
	seen.count = 0;
	assert_int_equal(parse_list(at(1, "0-1023"), 1023, see, &seen, &err), 0);
	assert_int_equal(seen.count, 1024);
	seen.count = 0;
	assert_int_equal(parse_list(at(1, "4294967295"), UINT32_MAX, see, &seen, &err), 0);
	assert_true(seen.count == 1 && seen.numbers[0] == UINT32_MAX);
}

static void assert_no_list(const char *text, int code, const char *message)
{
	struct numbers_seen seen = {.count = 0};
	struct error err = {0};

	assert_int_equal(parse_list(at(6, text), 254, see, &seen, &err), code);
	assert_int_equal(seen.count, 0);
	assert_int_equal(err.status, EXIT_STATUS_USAGE);
	assert_string_equal(err.text, message);
}

static void what_is_no_list(void **state)
{
	(void)state;
	assert_no_list("", -EINVAL, "a number is missing (column 6); use 0 to 254");
	assert_no_list("1,", -EINVAL, "a number is missing (column 8); use 0 to 254");
	assert_no_list("1,,2", -EINVAL, "',' is not a digit (column 8); use a number from 0 to 254");
	assert_no_list("1-", -EINVAL, "a number is missing (column 8); use 0 to 254");
	assert_no_list("-1", -EINVAL, "'-' is not a digit (column 6); use a number from 0 to 254");
	assert_no_list("0,a", -EINVAL, "'a' is not a digit (column 8); use a number from 0 to 254");
	assert_no_list("0;1", -EINVAL, "';' does not belong in a list (column 7); use such as 0-3,5");
	assert_no_list("1-2-3", -EINVAL, "'-' does not belong in a list (column 9); use such as 0-3,5");
	assert_no_list("0,255", -ERANGE, "255 is out of range (column 8); use 0 to 254");
	assert_no_list("0-300", -ERANGE, "300 is out of range (column 8); use 0 to 254");
	assert_no_list("9,5-3", -EINVAL, "the range 5-3 runs backwards (column 8); use 3-5");
	assert_no_list("7,7", -EINVAL, "7 is listed twice (column 8); list each number once");
	assert_no_list("0-3,9,2-5", -EINVAL, "2 is listed twice (column 12); list each number once");
	assert_no_list("2-5,0-9", -EINVAL, "2 is listed twice (column 10); list each number once");
}

static void sizes_as_text(void **state)
{
	(void)state;
	assert_string_equal(size_text(0).text, "0");
	assert_string_equal(size_text(1).text, "1");
	assert_string_equal(size_text(4097).text, "4097");
	assert_string_equal(size_text(4 * KIB).text, "4K");
	assert_string_equal(size_text(1536 * MIB).text, "1536M");
	assert_string_equal(size_text(8 * GIB).text, "8G");
	assert_string_equal(size_text(4096 * TIB).text, "4096T");
	assert_string_equal(size_text(UINT64_MAX).text, "18446744073709551615");
}

/* What size_text() writes, parse_size() reads back. */
static void size_text_is_the_inverse_of_parse_size(void **state)
{
	struct prng prng = prng_new("size_text_is_the_inverse_of_parse_size");

	(void)state;
	for (int round = 0; round < 10000; round++) {
		uint64_t size = (prng_next(&prng) >> prng_below(&prng, 64)) << prng_below(&prng, 64);

		if (size != 0)
			assert_size(size_text(size).text, size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(numbers_out_of_bounds),
		cmocka_unit_test(what_is_no_number),
		cmocka_unit_test(sizes),
		cmocka_unit_test(what_is_no_size),
		cmocka_unit_test(on_and_off),
		cmocka_unit_test(lists),
		cmocka_unit_test(what_is_no_list),
		cmocka_unit_test(sizes_as_text),
		cmocka_unit_test(size_text_is_the_inverse_of_parse_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
