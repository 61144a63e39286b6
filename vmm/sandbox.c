/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sanitizers and gcov open files and make threads at the end, behind everybody's back: no sandbox in their builds. */
#ifndef SPMVM_INSTRUMENTED
#define SPMVM_INSTRUMENTED 0
#endif

static int make_filters(struct sandbox *sandbox, const struct sandbox_options *options, struct error *err)
{
	unsigned needs = options->needs | (options->folder != NULL ? SANDBOX_FOLDER : 0);

	for (int thread = 0; thread < SANDBOX_THREADS; thread++) {
		if (sandbox_make_filter(&sandbox->filters[thread], (enum sandbox_thread)thread, needs,
					options->mode == SANDBOX_LOG) < 0)
			return error_set(err, EXIT_STATUS_HOST, ENOMEM, "--sandbox: out of memory");
	}
	return 0;
}

int sandbox_enter(struct sandbox *sandbox, const struct sandbox_options *options, struct error *err)
{
	char missing[300];
	int code = 0;

	*sandbox = (struct sandbox){0};
	if (SPMVM_INSTRUMENTED && options->mode == SANDBOX_ON)
		return error_set(err, EXIT_STATUS_HOST, ENOTSUP,
				 "--sandbox on: this is a build for tests (sanitizers, coverage), which cannot be "
				 "confined; build it without, or use --sandbox off");
	if (SPMVM_INSTRUMENTED || options->mode == SANDBOX_OFF)
		return 0;
	sandbox_confine_process(options, missing, sizeof(missing));
	if (sandbox_has_filters()) {
		sandbox_watch_violations(options);
		code = make_filters(sandbox, options, err);
	} else {
		snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), "%sseccomp filters",
			 missing[0] != '\0' ? ", " : "");
	}
	if (code < 0 || missing[0] == '\0')
		return code;
	if (options->mode == SANDBOX_ON)
		return error_set(err, EXIT_STATUS_HOST, ENOSYS,
				 "--sandbox on: this host does not give: %s; spmvm doctor says what it needs, or leave "
				 "--sandbox out, for as much as there is",
				 missing);
	log_warn(options->log, "the sandbox is less than it could be; this host does not give: %s", missing);
	return 0;
}

int sandbox_confine(const struct sandbox *sandbox, enum sandbox_thread thread, struct error *err)
{
	const struct sock_fprog *filter = &sandbox->filters[thread];
	int code;

	if (filter->filter == NULL)
		return 0;
	code = sandbox_install_filter(filter);
	if (code < 0)
		return error_set(
			err, EXIT_STATUS_HOST, -code,
			"--sandbox: the kernel does not take the filter of system calls: %s; --sandbox off does "
			"without",
			strerror(-code));
	return 0;
}

void sandbox_release(struct sandbox *sandbox)
{
	sandbox_forget_end();
	for (int thread = 0; thread < SANDBOX_THREADS; thread++) {
		free(sandbox->filters[thread].filter);
		sandbox->filters[thread].filter = NULL;
	}
}
