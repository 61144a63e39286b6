/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_LOG_H
#define SPMVM_BASE_LOG_H

#include <stdint.h>

/*
 * Messages for the person at the terminal, on stderr (stdout belongs to the guest). One line, one write(2), so lines of
 * several threads do not mix; control characters in it become '?', and a longer line than 1000 bytes is cut. errno survives. A struct log is const once the options are read; any thread may use it.
 */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log {
	enum log_level level; /* the most talkative level that is written */
	int fd;
	/* While the terminal is raw, a line must return the carriage itself. Set by the console, read by log_write(). */
	const volatile int *raw_terminal;
};

void log_write(const struct log *log, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(log, ...) log_write(log, LOG_ERROR, __VA_ARGS__)
#define log_warn(log, ...)  log_write(log, LOG_WARN, __VA_ARGS__)
#define log_info(log, ...)  log_write(log, LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_write(log, LOG_DEBUG, __VA_ARGS__)

/*
 * For what a guest can provoke at will: at most LOG_LIMIT_BURST lines a second for each struct log_limit (zeroed
 * to start with), and the number of lines that were kept back is told with the next one. Not for use by two
 * threads at once on one limit.
 */
enum { LOG_LIMIT_BURST = 5 };

struct log_limit {
	uint64_t second;  /* CLOCK_MONOTONIC seconds of the current burst */
	uint64_t written; /* in this second */
	uint64_t dropped; /* since the last line that was written */
};

void log_limited(const struct log *log, struct log_limit *limit, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* "error", "warn", "info" or "debug" to a level; -EINVAL for anything else. */
int log_level_from(const char *name, enum log_level *level);

#endif
