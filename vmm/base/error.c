/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Stands for the part of a prefix that has no room. */
static const char CUT[] = "...: ";

static void keep_one_line(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

int error_set(struct error *err, enum exit_status status, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	keep_one_line(err->text);
	err->status = status;
	return -code;
}

void error_prefix(struct error *err, const char *format, ...)
{
	char text[sizeof(err->text)];
	va_list args;
	size_t used, room;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* what went wrong is worth more than the whole of a long argument: the context is cut, the message is kept */
	room = sizeof(text) - 1 - strlen(err->text);
	used = strlen(text);
	if (used > room) {
		used = room > strlen(CUT) ? room - strlen(CUT) : 0;
		snprintf(text + used, room - used + 1, "%s", CUT);
		used = room;
	}
	snprintf(text + used, sizeof(text) - used, "%s", err->text);
	keep_one_line(text);
	memcpy(err->text, text, sizeof(text));
}
