/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_QMP_COMMANDS_H
#define SPMVM_QMP_COMMANDS_H

#include <stdbool.h>

struct machine;
struct json_t; /* of jansson.h */

/* Why a command failed. QMP's classes of errors; nearly everything is generic. */
#define QMP_GENERIC_ERROR     "GenericError"
#define QMP_COMMAND_NOT_FOUND "CommandNotFound"
#define QMP_DEVICE_NOT_FOUND  "DeviceNotFound"

struct qmp_error {
	const char *class;
	char text[400];
};

/*
 * What is neither printable nor ASCII becomes '?': a path of the user's, or a text that was cut, need not be UTF-8, and
 * JSON is.
 */
void qmp_plain(char *text);

/* Writes the error, plain, and returns NULL, so that a failure is one line. */
void *qmp_error_set(struct qmp_error *error, const char *class, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

enum { QMP_ARGUMENTS_MAX = 4 };

struct qmp_command {
	const char *name;
	/*
	 * Does it, on the main thread, and returns what it gives (an empty object for nothing) for the caller to own;
	 * NULL with error set. arguments: an object without names that the command does not know, or NULL.
	 */
	struct json_t *(*run)(struct machine *machine, const struct json_t *arguments, struct qmp_error *error);
	const char *arguments[QMP_ARGUMENTS_MAX]; /* the names that it knows */
	bool any_argument;                        /* it knows them all */
	bool negotiates;                          /* the one command that comes first, and once */
};

/* The command of this name, or NULL. */
const struct qmp_command *qmp_command_find(const char *name);

/* {"qemu": {"major": ..., "minor": ..., "micro": ...}, "package": ...}: a new value, or NULL. */
struct json_t *qmp_version(void);

#endif
