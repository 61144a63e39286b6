/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_OPTIONS_H
#define SPMVM_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "vmm/base/error.h"
#include "vmm/config.h"

/*
 * The command line: "spmvm [run] OPTIONS", "spmvm plan OPTIONS", "spmvm doctor OPTIONS" and "spmvm ctl PATH ...". Knows
 * words and numbers, no machine.
 */
enum command { COMMAND_RUN, COMMAND_PLAN, COMMAND_DOCTOR, COMMAND_CTL, COMMAND_HELP, COMMAND_VERSION };
enum plan_format { PLAN_TEXT, PLAN_JSON, PLAN_SVG, PLAN_DTS, PLAN_DTB };

struct options {
	enum command command;
	enum plan_format plan_format; /* of the doctor too: text or JSON */
	const char *plan_tables;      /* folder for --tables, or NULL; borrowed from argv */
	const char *plan_diff[2];     /* --diff, or NULL; borrowed from argv */
	const char *config_path;      /* --config, or NULL; borrowed from argv */
	char *const *ctl;             /* of COMMAND_CTL: path and words, NULL-terminated; borrowed from argv */
	struct config_raw raw;        /* owned */
};

/*
 * Enters the text of a file for --config, as options_parse() does with the file itself. options come from
 * options_parse(), and the caller releases them in any case. EXIT_STATUS_USAGE.
 */
int options_describe(struct options *options, const char *text, size_t size, struct error *err);

/*
 * Parses argv (argv[0] is skipped). EXIT_STATUS_USAGE; the text starts with the option as typed. The caller calls options_release() after
 * success only; on failure nothing is left to release. argv outlives the options. --help and --version end the parsing where they stand.
 */
int options_parse(struct options *options, int argc, char *const argv[], struct error *err);

void options_release(struct options *options);

/* What --help prints: usage, every option with its unit, default and bound, examples, exit statuses. */
void options_help(FILE *out);

#endif
