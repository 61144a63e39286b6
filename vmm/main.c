/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/base/error.h"
#include "vmm/base/stages.h"
#include "vmm/config.h"
#include "vmm/doctor.h"
#include "vmm/host_nodes.h"
#include "vmm/measure_figures.h"
#include "vmm/options.h"
#include "vmm/plan.h"
#include "vmm/qmp/ctl.h"
#include "vmm/qmp/server.h"
#include "vmm/run.h"

/* A stream that the caller has closed is /dev/null from here on, or the next file that is opened would be taken for it. */
static void keep_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= STDIN_FILENO && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/*
 * Tables and configurations of hundreds of KiB are read on the way to the guest, and none is kept. Left alone, glibc
 * takes the first that is freed as the size from which on memory goes back to the host, and keeps what is smaller for
 * as long as the guest runs.
 */
static void return_freed_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 64 * 1024);
}

/* The machine that config describes is described once more, with the figures of its memory. */
static int measure(struct config *config, struct config_raw *raw, struct error *err)
{
	const struct log log = {.level = raw->log_level, .fd = STDERR_FILENO};
	struct memory_figures *measured = NULL;
	int code = measure_figures(&measured, config, raw->host, &log, err);

	config_release(config);
	raw->measured = measured;
	if (code == 0)
		code = config_from(config, raw, err);
	if (code == 0)
		measure_tell(config, raw->host, &log);
	raw->measured = NULL;
	free(measured);
	return code;
}

/* The machine that the options describe, with what they want to know of the host. */
static int describe(struct config *config, struct options *options, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct host_nodes host = {0};
	int code = 0;

	if (raw->host_distances || raw->hmat != HMAT_GIVEN)
		code = host_nodes_read(&host, "", err);
	raw->host = &host;
	if (code == 0)
		code = config_from(config, raw, err);
	if (code == 0 && raw->hmat == HMAT_MEASURE && options->command == COMMAND_RUN)
		code = measure(config, raw, err);
	raw->host = NULL;
	host_nodes_release(&host);
	return code;
}

/* Runs the machine, with its control socket when it shall have one. */
static int run(const struct config *config, struct stages *stages, int *status, struct error *err)
{
	struct qmp_server *server = NULL;
	int code = config->qmp != NULL ? qmp_server_open(&server, config->qmp, err) : 0;

	if (code == 0)
		code = run_machine(config, server != NULL ? qmp_server_control(server) : NULL, stages, status, err);
	qmp_server_close(server);
	return code;
}

static int perform(struct options *options, struct stages *stages, int *status, struct error *err)
{
	struct config config = {0};
	int code;

	if (options->command == COMMAND_HELP) {
		options_help(stdout);
		return 0;
	}
	if (options->command == COMMAND_VERSION) {
		puts("spmvm " SPMVM_VERSION);
		return 0;
	}
	if (options->command == COMMAND_DOCTOR) {
		const struct log log = {.level = options->raw.log_level, .fd = STDERR_FILENO};

		return doctor(options->raw.kernel, options->raw.modules, options->plan_format, &log, stdout, status,
			      err);
	}
	if (options->command == COMMAND_CTL)
		return qmp_ctl(options->ctl, stdout, err);
	if (options->plan_diff[0] != NULL) {
		bool differ = false;

		code = plan_diff(options->plan_diff, stdout, &differ, err);
		*status = differ ? 1 : 0; /* as diff(1) has it */
		return code;
	}
	code = describe(&config, options, err);
	if (code < 0)
		return code;
	stages_mark(stages, STAGE_CONFIG);
	if (options->command == COMMAND_PLAN)
		code = plan_machine(&config, options->plan_format, options->plan_tables, stdout, err);
	else
		code = run(&config, stages, status, err);
	config_release(&config);
	return code;
}

int main(int argc, char *argv[])
{
	int status = EXIT_STATUS_OK;
	struct stages stages = {0};
	struct options options;
	struct error err;
	int code;

	stages_mark(&stages, STAGE_MAIN);
	keep_streams();
	return_freed_memory();
	code = options_parse(&options, argc, argv, &err);
	if (code == 0) {
		stages_mark(&stages, STAGE_OPTIONS);
		code = perform(&options, &stages, &status, &err);
		options_release(&options);
	}
	if (code == 0 && fflush(stdout) != 0)
		code = error_set(&err, EXIT_STATUS_HOST, EIO, "cannot write to standard output");
	if (code < 0) {
		fprintf(stderr, "spmvm: %s\n", err.text);
		return (int)err.status;
	}
	return status;
}
