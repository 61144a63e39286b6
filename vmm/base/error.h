/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_ERROR_H
#define SPMVM_BASE_ERROR_H

#include "vmm/base/exit_status.h"

/*
 * One error, on its way from where it was found to main(), which prints it and exits.
 *
 * A function that can fail returns 0 or -errno and takes a struct error last. It leaves the error alone on success, so
 * one error on the caller's stack serves a whole sequence of calls.
 */
struct error {
	enum exit_status status; /* what the process exits with */
	char text[600];          /* one line, without a newline and without the program's name */
};

/*
 * Writes the error and returns -code, so that a failure is one line: return error_set(err, EXIT_STATUS_HOST, errno, ...).
 * The text names the option or object, the value, the bound and the remedy. Newlines and other control characters
 * in it (they may come from the user's input) become '?'.
 */
int error_set(struct error *err, enum exit_status status, int code, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts context before a text that is already there: "--spm size=8Q: " before "bad size suffix". A prefix that is too long is cut short. */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
