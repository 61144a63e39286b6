/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_PARSE_H
#define SPMVM_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/error.h"

/*
 * Numbers, sizes and lists as a person types them. A token knows at which column of the option's argument it starts, so that an
 * error can point at the very character. All functions leave *out alone on failure and fail with EXIT_STATUS_USAGE and
 * a text such as "bad size suffix 'Q' (column 7); use K, M, G or T"; the caller prefixes the option.
 */
struct token {
	const char *text; /* NUL-terminated, never NULL */
	size_t column;    /* of text[0] in the option's argument, counted from 1 */
};

/* Decimal (a leading 0 is no octal mark), or hexadecimal after 0x; from min to max. -EINVAL, or -ERANGE out of bounds. */
int parse_number(struct token token, uint64_t min, uint64_t max, uint64_t *out, struct error *err);

/*
 * Bytes: decimal or 0x-hexadecimal digits and at most one suffix K, M, G or T (either case; powers of 1024). Refuses 0, fractions
 * and what 64 bits do not hold.
 */
int parse_size(struct token token, uint64_t *out, struct error *err);

/* "on" or "off". */
int parse_on_off(struct token token, bool *out, struct error *err);

/*
 * "0-3,5,7-8": calls add(context, n) for every number, ascending in each part; each at most max (itself below 2^32). A number named
 * twice is refused. Nothing is added unless the whole list is good.
 */
int parse_list(struct token token, uint64_t max, void (*add)(void *context, uint32_t number), void *context,
	       struct error *err);

/*
 * A size as parse_size() reads it, with the largest suffix that leaves a whole number: "1536M", "8G", "4097", "0". For messages:
 * size_text(size).text lives until the end of the full expression, so it may be an argument of error_set().
 */
struct size_text {
	char text[24];
};
struct size_text size_text(uint64_t bytes);

#endif
