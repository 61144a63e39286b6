/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_METRICS_FILE_H
#define SPMVM_METRICS_FILE_H

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/config.h"
#include "vmm/metrics.h"

/*
 * The file of --metrics, opened once and before the guest runs: a process that may not open files any more can still
 * write it.
 *
 * As JSON lines, each report is appended in one write(2); one that did not fit (a full disk) is taken back, so that
 * every line is whole. As OpenMetrics the file holds the last report alone: it is emptied and written in one
 * pwrite(2), and who reads in between finds no "# EOF" at the end. The file cannot be replaced by renaming another
 * over it, for want of the right to open one.
 */
struct metrics_file {
	int fd; /* owned; -1 when unset */
	const struct config_metrics *config;
	struct log_limit log_limit;
};

/*
 * Opens the file that config names (a regular one, made when it is not there); with config->path NULL, nothing.
 * EXIT_STATUS_HOST. config is borrowed. Released also after a failure.
 */
int metrics_file_open(struct metrics_file *file, const struct config_metrics *config, struct error *err);
/* Takes a file that is only {.fd = -1}, and one released before. */
void metrics_file_release(struct metrics_file *file);

/* Writes a report. What cannot be written is a rate-limited warning; the next one is tried again. */
void metrics_file_write(struct metrics_file *file, const struct metrics *metrics, const struct log *log);

#endif
