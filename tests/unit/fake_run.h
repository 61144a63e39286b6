/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_FAKE_RUN_H
#define SPMVM_TESTS_UNIT_FAKE_RUN_H

#include "tests/unit/fake_kvm.h"
#include "tests/unit/kernel_image.h"
#include "tests/unit/machine_line.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>

#include "vmm/run.h"

enum { TOLD_MAX = 4096 };

/* A run of run_machine() on the fake KVM: its files, and what came of it. */
struct run {
	struct memory_file kernel, initrd;
	int status; /* -1 unless it ended */
	int code;
	struct error err;
	struct stages stages;
	char told[TOLD_MAX]; /* what was written to stderr */
};

static inline void run_init(struct run *run)
{
	struct kernel_image image = image_new("\xf4", 1);

	*run = (struct run){.status = -1};
	run->kernel = memory_file_new(image.bytes, image.size);
	run->initrd = memory_file_new("initrd", 6);
	image_free(&image);
}

static inline void run_release(struct run *run)
{
	close(run->kernel.fd);
	close(run->initrd.fd);
}

/* Calls run_machine(), or a test's function around it, with stderr caught and the signals' mask kept. */
static inline void run_config(struct run *run, const struct config *config,
			      int (*call)(const struct config *config, struct stages *stages, int *status,
					  struct error *err))
{
	int told[2], before = dup(STDERR_FILENO);
	sigset_t signals;
	ssize_t got;

	assert_int_equal(pipe2(told, O_CLOEXEC | O_NONBLOCK), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &signals);
	dup2(told[1], STDERR_FILENO);
	run->code = call(config, &run->stages, &run->status, &run->err);
	dup2(before, STDERR_FILENO);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
	got = read(told[0], run->told, sizeof(run->told) - 1);
	run->told[got > 0 ? got : 0] = '\0';
	close(told[0]);
	close(told[1]);
	close(before);
}

static inline int run_alone(const struct config *config, struct stages *stages, int *status, struct error *err)
{
	return run_machine(config, NULL, stages, status, err);
}

/* A command line that boots the run's files, which logs so much and ends with line; valid until the next one. */
static inline const char *run_text(const struct run *run, const char *level, const char *line)
{
	static char text[8192];

	snprintf(text, sizeof(text), "--kernel %s --initrd %s --log %s --serial none --sandbox off %s",
		 run->kernel.path, run->initrd.path, level, line);
	return text;
}

static inline void run_line(struct run *run, const char *line)
{
	struct machine_line machine = {0};

	line_config(&machine, run_text(run, "warn", line));
	run_config(run, machine.config, run_alone);
	line_release(&machine);
}

/* What a vcpu writes to a port, and to a register of a device in memory. */
static inline struct fake_step port_write(uint64_t port, uint32_t size, const void *bytes)
{
	return (struct fake_step){.exit = {.kind = KVM_EXIT_KIND_IO,
					   .address = port,
					   .data = (uint8_t *)(uintptr_t)bytes,
					   .size = size,
					   .count = 1,
					   .is_write = true}};
}

static inline struct fake_step register_write(uint64_t address, const void *bytes)
{
	struct fake_step step = port_write(address, 4, bytes);

	step.exit.kind = KVM_EXIT_KIND_MMIO;
	return step;
}

#endif
