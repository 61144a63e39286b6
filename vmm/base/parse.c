/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/parse.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/range.h"

/* The value of a hexadecimal digit, or 16. */
static unsigned digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 16;
}

/*
 * Reads the digits at *at and moves it behind them. A leading 0 is no octal mark: nobody who types node=010 means 8. Returns the
 * number of digits, 0 when there is none; *wraps when the number needs more than 64 bits.
 */
static size_t read_digits(const char **at, uint64_t *number, bool *wraps)
{
	const char *text = *at;
	unsigned base = 10;
	size_t digits = 0;
	uint64_t value = 0;

	*wraps = false;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X') && digit_value(text[2]) < 16) {
		base = 16;
		text += 2;
	}
	for (; digit_value(*text) < base; text++, digits++) {
		unsigned digit = digit_value(*text);

		if (value > (UINT64_MAX - digit) / base)
			*wraps = true;
		else
			value = value * base + digit;
	}
	*at = text;
	*number = value;
	return digits;
}

static size_t column_of(struct token token, const char *at)
{
	return token.column + (size_t)(at - token.text);
}

/* What stands at the place of a digit: a character that is none, or the end. */
static int not_a_digit(struct token token, const char *at, uint64_t min, uint64_t max, struct error *err)
{
	if (*at == '\0')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "a number is missing (column %zu); use %" PRIu64 " to %" PRIu64, column_of(token, at),
				 min, max);
	return error_set(err, EXIT_STATUS_USAGE, EINVAL,
			 "'%c' is not a digit (column %zu); use a number from %" PRIu64 " to %" PRIu64, *at,
			 column_of(token, at), min, max);
}

static int out_of_range(struct token token, const char *from, const char *end, uint64_t min, uint64_t max,
			struct error *err)
{
	return error_set(err, EXIT_STATUS_USAGE, ERANGE,
			 "%.*s is out of range (column %zu); use %" PRIu64 " to %" PRIu64,
			 end - from > 40 ? 40 : (int)(end - from), from, column_of(token, from), min, max);
}

/* One number of a token, from *at; moves it behind the digits. */
static int read_number(struct token token, const char **at, uint64_t min, uint64_t max, uint64_t *out,
		       struct error *err)
{
	const char *from = *at;
	uint64_t number;
	bool wraps;

	if (read_digits(at, &number, &wraps) == 0)
		return not_a_digit(token, *at, min, max, err);
	if (wraps || number < min || number > max)
		return out_of_range(token, from, *at, min, max, err);
	*out = number;
	return 0;
}

int parse_number(struct token token, uint64_t min, uint64_t max, uint64_t *out, struct error *err)
{
	const char *at = token.text;
	uint64_t number;
	bool wraps;

	/* a stray character is named before the range: "12x" is a typing error, whatever the bounds are */
	if (read_digits(&at, &number, &wraps) == 0 || *at != '\0')
		return not_a_digit(token, at, min, max, err);
	if (wraps || number < min || number > max)
		return out_of_range(token, token.text, at, min, max, err);
	*out = number;
	return 0;
}

/* The suffix's power of two, or -1. */
static int suffix_shift(const char *suffix)
{
	if (suffix[0] != '\0' && suffix[1] != '\0')
		return -1;
	switch (suffix[0]) {
	case '\0':
		return 0;
	case 'k':
	case 'K':
		return 10;
	case 'm':
	case 'M':
		return 20;
	case 'g':
	case 'G':
		return 30;
	case 't':
	case 'T':
		return 40;
	default:
		return -1;
	}
}

int parse_size(struct token token, uint64_t *out, struct error *err)
{
	const char *at = token.text;
	uint64_t number;
	bool wraps;
	int shift;

	if (*at == '\0')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "a size is missing (column %zu); use such as 512M or 8G", token.column);
	if (read_digits(&at, &number, &wraps) == 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "'%c' is not a digit (column %zu); use a size such as 512M or 8G", *at, token.column);
	if (*at == '.')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "sizes have no fractions (column %zu); use a smaller unit, such as 1536M for 1.5G",
				 column_of(token, at));
	shift = suffix_shift(at);
	if (shift < 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "bad size suffix '%.16s' (column %zu); use K, M, G or T", at, column_of(token, at));
	if (wraps || number > UINT64_MAX >> shift)
		return error_set(err, EXIT_STATUS_USAGE, ERANGE,
				 "%.40s is too large (column %zu); use less than 2^64 bytes", token.text, token.column);
	if (number == 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "a size of 0 is not possible (column %zu); use such as 512M or 8G", token.column);
	*out = number << shift;
	return 0;
}

int parse_on_off(struct token token, bool *out, struct error *err)
{
	if (strcmp(token.text, "on") == 0)
		*out = true;
	else if (strcmp(token.text, "off") == 0)
		*out = false;
	else
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "'%.40s' is neither on nor off (column %zu)",
				 token.text, token.column);
	return 0;
}

/* One part of a list: "5" or "0-3". */
struct list_part {
	uint64_t first, last;
};

/* Reads the part at *at and moves it behind. */
static int read_part(struct token token, const char **at, uint64_t max, struct list_part *part, struct error *err)
{
	const char *from = *at;
	int code;

	*part = (struct list_part){0, 0};
	code = read_number(token, at, 0, max, &part->first, err);
	if (code < 0)
		return code;
	part->last = part->first;
	if (**at == '-') {
		++*at;
		code = read_number(token, at, 0, max, &part->last, err);
		if (code < 0)
			return code;
	}
	if (part->last < part->first)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "the range %.*s runs backwards (column %zu); use %" PRIu64 "-%" PRIu64,
				 (int)(*at - from), from, column_of(token, from), part->last, part->first);
	if (**at != '\0' && **at != ',')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "'%c' does not belong in a list (column %zu); use such as 0-3,5", **at,
				 column_of(token, *at));
	return 0;
}

/* Fails when a number of part, which starts at part_text, was in an earlier part already. The earlier parts are known to be good. */
static int refuse_repeated(struct token token, const char *part_text, struct list_part part, uint64_t max,
			   struct error *err)
{
	const char *at = token.text;

	while (at < part_text) {
		struct list_part earlier;
		int code = read_part(token, &at, max, &earlier, err);

		if (code < 0)
			return code;
		if (earlier.first <= part.last && part.first <= earlier.last)
			return error_set(err, EXIT_STATUS_USAGE, EINVAL,
					 "%" PRIu64 " is listed twice (column %zu); list each number once",
					 earlier.first > part.first ? earlier.first : part.first,
					 column_of(token, part_text));
		at++; /* its comma */
	}
	return 0;
}

int parse_list(struct token token, uint64_t max, void (*add)(void *context, uint32_t number), void *context,
	       struct error *err)
{
	const char *at = token.text;
	struct list_part part;

	assert(max <= UINT32_MAX);
	/*
	 * Everything is checked before the first add(). Looking back over all earlier parts is quadratic, but there are at most max + 1
	 * parts before a number must repeat.
	 */
	for (;;) {
		const char *from = at;
		int code = read_part(token, &at, max, &part, err);

		if (code == 0)
			code = refuse_repeated(token, from, part, max, err);
		if (code < 0)
			return code;
		if (*at == '\0')
			break;
		at++;
	}
	for (at = token.text;; at++) {
		int code = read_part(token, &at, max, &part, err);

		if (code < 0)
			return code;
		for (uint64_t number = part.first; number <= part.last; number++)
			add(context, (uint32_t)number);
		if (*at == '\0')
			return 0;
	}
}

struct size_text size_text(uint64_t bytes)
{
	static const char SUFFIXES[] = {'\0', 'K', 'M', 'G', 'T'};
	struct size_text out;
	size_t unit = 0;

	while (bytes != 0 && bytes % KIB == 0 && unit + 1 < sizeof(SUFFIXES)) {
		bytes /= KIB;
		unit++;
	}
	snprintf(out.text, sizeof(out.text), "%" PRIu64 "%.1s", bytes, &SUFFIXES[unit]);
	return out;
}
