/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DOCTOR_H
#define SPMVM_DOCTOR_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/options.h"

/*
 * The command "doctor": what of spmvm's features this host and a kernel have, and what to do about the rest. It looks, and changes nothing.
 */
enum finding_state {
	FINDING_OK,      /* there */
	FINDING_LOST,    /* not there: what the text names is lost, no more */
	FINDING_MISSING, /* not there, and no machine with SPM can be booted without it */
	FINDING_UNKNOWN
};

struct finding {
	enum finding_state state;
	const char *name; /* static */
	char text[400];   /* what there is, or what is lost */
	char remedy[400]; /* what to do; empty when nothing needs to be done */
};

enum { FINDINGS_MAX = 40 };

struct findings {
	struct finding items[FINDINGS_MAX];
	size_t count;
};

struct doctor_report {
	struct findings host, kernel;
	char kernel_path[PATH_MAX]; /* empty when there is none */
	char release[72];
};

/*
 * Writes the report. *status: EXIT_STATUS_OK when a machine with SPM can be booted here, else EXIT_STATUS_HOST, else EXIT_STATUS_IMAGE, by what is missing. A
 * host or kernel in whatever state is a finding; -errno only for want of memory. kernel and modules as --kernel and --modules, NULL when not given.
 */
int doctor(const char *kernel, const char *modules, enum plan_format format, const struct log *log, FILE *out,
	   int *status, struct error *err);

/* -------------------------------------------------------------------------------- the parts, each of them a view or a look */

/* Adds a finding and returns it, with the formatted text and no remedy yet. */
struct finding *finding_add(struct findings *list, enum finding_state state, const char *name, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Sets the remedy. */
void finding_remedy(struct finding *finding, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool findings_have(const struct findings *list, enum finding_state state);

void doctor_look_at_host(struct findings *list);
int doctor_look_at_kernel(struct doctor_report *report, const char *kernel, const char *modules, const struct log *log,
			  struct error *err);

enum exit_status doctor_status(const struct doctor_report *report);
void doctor_text(const struct doctor_report *report, FILE *out);
int doctor_json(const struct doctor_report *report, FILE *out, struct error *err);

#endif
