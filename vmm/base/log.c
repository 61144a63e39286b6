/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const LEVEL_PREFIX[] = {
	[LOG_ERROR] = "spmvm: ",
	[LOG_WARN] = "spmvm: warning: ",
	[LOG_INFO] = "spmvm: ",
	[LOG_DEBUG] = "spmvm: debug: ",
};

/* Text from a guest or a file name must not move the terminal's cursor or pretend to be a line of its own. */
static void keep_one_line(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

__attribute__((format(printf, 3, 0))) static void write_line(const struct log *log, enum log_level level,
							     const char *format, va_list args)
{
	char line[1024];
	size_t used;
	ssize_t written;
	int saved = errno; /* callers log first and then return -errno */

	snprintf(line, sizeof(line), "%s", LEVEL_PREFIX[level]);
	used = strlen(line);
	/* two bytes stay free for the line's end */
	vsnprintf(line + used, sizeof(line) - used - 2, format, args);
	keep_one_line(line + used);
	used = strlen(line);
	if (log->raw_terminal != NULL && *log->raw_terminal)
		line[used++] = '\r';
	line[used++] = '\n';
	do {
		written = write(log->fd, line, used);
	} while (written < 0 && errno == EINTR);
	errno = saved;
}

void log_write(const struct log *log, enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > log->level)
		return;
	va_start(args, format);
	write_line(log, level, format, args);
	va_end(args);
}

void log_limited(const struct log *log, struct log_limit *limit, enum log_level level, const char *format, ...)
{
	struct timespec now;
	va_list args;

	if (level > log->level)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((uint64_t)now.tv_sec != limit->second) {
		limit->second = (uint64_t)now.tv_sec;
		limit->written = 0;
	}
	if (limit->written >= LOG_LIMIT_BURST) {
		limit->dropped++;
		return;
	}
	limit->written++;
	if (limit->dropped > 0) {
		log_write(log, level, "%" PRIu64 " more lines like the next one were not written", limit->dropped);
		limit->dropped = 0;
	}
	va_start(args, format);
	write_line(log, level, format, args);
	va_end(args);
}

int log_level_from(const char *name, enum log_level *level)
{
	static const char *const NAMES[] = {"error", "warn", "info", "debug"};

	for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
		if (strcmp(name, NAMES[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}
