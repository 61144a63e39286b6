/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_REPORT_H
#define SPMVM_TESTS_UNIT_REPORT_H

#include <jansson.h>
#include <stddef.h>

/*
 * A number of a report of --metrics: of the list's element with this index, or of an object that is no list; within inner, unless that
 * is NULL. -1 when it is not there.
 */
static inline json_int_t report_number(const json_t *report, const char *list, size_t index, const char *key,
				       const char *inner)
{
	const json_t *object = json_object_get(report, list);

	if (json_is_array(object))
		object = json_array_get(object, index);
	object = json_object_get(object, key);
	if (inner != NULL)
		object = json_object_get(object, inner);
	return json_is_integer(object) ? json_integer_value(object) : -1;
}

#endif
