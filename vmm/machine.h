/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MACHINE_H
#define SPMVM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/base/stages.h"
#include "vmm/board.h"
#include "vmm/boot/linux_boot.h"
#include "vmm/console.h"
#include "vmm/kvm/kvm.h"
#include "vmm/workbench.h"

/*
 * A running machine made from a board: host memory, memslots, devices, vcpus. Main thread only, unless said otherwise.
 */
struct machine;

/* Why a machine stopped. Written once: the first cause wins. */
enum stop_cause {
	STOP_NONE,
	STOP_POWEROFF, /* ACPI S5 */
	STOP_RESET,    /* the reset register, the keyboard controller */
	STOP_EXIT,     /* a script's end, through the debug-exit port: value is its status */
	STOP_TIMEOUT,  /* --timeout was up */
	STOP_QUIT,     /* the console's escape */
	STOP_SIGNAL,   /* value is the signal's number */
	STOP_CONSOLE,  /* nobody reads the console any more */
	STOP_PANIC,    /* the guest's kernel said so */
	STOP_CRASH,    /* triple fault, or KVM cannot go on */
	STOP_FAULT     /* a system call of ours failed */
};

/*
 * Builds the machine: backends opened, mapped and populated, memslots registered, ACPI tables written, devices on their buses, vcpus created. board,
 * console, workbench (of the configuration's command; NULL without one), stages (marked from STAGE_VM to STAGE_VCPUS, and STAGE_RUN by machine_run()) and log are borrowed and outlive the machine; kvm (opened by kvm_open()) too, and machine_free() closes it, since the VM must be gone
 * before its memory. EXIT_STATUS_HOST. On success the caller owns *machine.
 */
int machine_new(struct machine **machine, const struct board *board, struct kvm_vm *kvm, struct console *console,
		struct workbench *workbench, struct stages *stages, const struct log *log, struct error *err);

/* Stops and joins what runs, undoes everything in reverse order. Takes NULL. */
void machine_free(struct machine *machine);

/*
 * Opens KVM's own statistics for machine_collect(), and has reports written to file (borrowed; NULL: none are) while the machine runs
 * and at its end. Once, before machine_run().
 */
struct metrics_file;
int machine_open_metrics(struct machine *machine, struct metrics_file *file, struct error *err);

/*
 * Adds what the machine has counted to an empty metrics, which then borrows names from the machine. Looks at the page tables of
 * guest memory for what is resident: some ms for each GiB that is mapped with 4 KiB pages.
 */
struct metrics;
void machine_collect(const struct machine *machine, struct metrics *metrics);

/* What linux_boot_load() needs of the machine. */
const struct guest_mem *machine_memory(const struct machine *machine);

/* The registers that the boot processor starts with. */
int machine_set_start(struct machine *machine, const struct linux_boot *boot, struct error *err);

/*
 * Runs the guest until something stops it. Blocks SIGINT, SIGTERM and SIGHUP in this thread and takes them through a signalfd. Returns 0 with the exit
 * status that the stop means in *status, after a line on the log where the cause is not a clean end.
 */
int machine_run(struct machine *machine, int *status, struct error *err);

#endif
