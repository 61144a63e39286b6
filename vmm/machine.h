/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MACHINE_H
#define SPMVM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

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
	STOP_FAULT,    /* a system call of ours failed */
	/* of a control (see below): */
	STOP_CONTROL_QUIT,
	STOP_CONTROL_RESET
};

/*
 * Builds the machine: backends opened, mapped and populated, memslots registered, ACPI tables written, devices on their
 * buses, vcpus created. board, console, workbench (of the configuration's command; NULL without one), stages (marked
 * from STAGE_VM to STAGE_VCPUS, and STAGE_RUN by machine_run()) and log are borrowed and outlive the machine; kvm
 * (opened by kvm_open()) too, and machine_free() closes it, since the VM must be gone before its memory.
 * EXIT_STATUS_HOST. On success the caller owns *machine.
 */
int machine_new(struct machine **machine, const struct board *board, struct kvm_vm *kvm, struct console *console,
		struct workbench *workbench, struct stages *stages, const struct log *log, struct error *err);

/* Stops and joins what runs, undoes everything in reverse order. Takes NULL. */
void machine_free(struct machine *machine);

/*
 * Opens KVM's own statistics for machine_collect(), and has reports written to file (borrowed; NULL: none are) while
 * the machine runs and at its end. Once, before machine_run().
 */
struct metrics_file;
int machine_open_metrics(struct machine *machine, struct metrics_file *file, struct error *err);

/*
 * Adds what the machine has counted to an empty metrics, which then borrows names from the machine. Looks at the page
 * tables of guest memory for what is resident: some ms for each GiB that is mapped with 4 KiB pages.
 */
struct metrics;
void machine_collect(const struct machine *machine, struct metrics *metrics);

/* What linux_boot_load() needs of the machine. */
const struct guest_mem *machine_memory(const struct machine *machine);

/* The registers that the boot processor starts with. */
int machine_set_start(struct machine *machine, const struct linux_boot *boot, struct error *err);

/*
 * Who steers a machine from outside and is told what happens to it: vmm/qmp/. Both functions are called on the main
 * thread, while machine_run() runs.
 */
enum machine_event_kind {
	MACHINE_EVENT_PAUSED,
	MACHINE_EVENT_RESUMED,
	MACHINE_EVENT_POWERDOWN,   /* the power button was pressed */
	MACHINE_EVENT_NEEDS_RESET, /* a virtio device whose ring the guest broke, or whose back end died */
	MACHINE_EVENT_PANICKED,    /* the guest's kernel; MACHINE_EVENT_ENDED follows */
	MACHINE_EVENT_ENDED        /* the last */
};

struct machine_event {
	enum machine_event_kind kind;
	const char *device;    /* of MACHINE_EVENT_NEEDS_RESET: its option */
	enum stop_cause cause; /* of MACHINE_EVENT_ENDED */
};

struct machine_control {
	int fd;                                                /* ready() is called while it is readable; borrowed */
	void (*ready)(void *context, struct machine *machine); /* may call all that follows below */
	void (*event)(void *context, const struct machine_event *event);
	void *context;
	int folder; /* that its socket is to be removed from at the end, by unlinkat(); -1 for none; borrowed */
};

/*
 * Runs the guest until something stops it. control is borrowed, or NULL. Blocks SIGINT, SIGTERM and SIGHUP in this
 * thread and takes them through a signalfd. Returns 0 with the exit status that the stop means in *status, after a line on the
 * log where the cause is not a clean end.
 */
int machine_run(struct machine *machine, const struct machine_control *control, int *status, struct error *err);

/* -------------------------------------------------------------------------------------- for its control */

enum machine_state { MACHINE_RUNNING, MACHINE_PAUSED, MACHINE_ENDING };
enum machine_state machine_state(const struct machine *machine);

/* What it was made from. */
const struct board *machine_board(const struct machine *machine);

/* The thread of a vcpu, as gettid(2) has it; 0 before it has come that far. */
pid_t machine_vcpu_thread(const struct machine *machine, size_t index);

/*
 * The vcpus leave the guest and stay out until machine_resume(). When machine_pause() returns, none executes the
 * guest's instructions, and its kvmclock stands still. What the guest has queued at its devices before is still served,
 * and what comes for it from outside goes into the buffers that it has offered. False when there was nothing to do: the
 * machine was paused already, or not, or ends.
 */
bool machine_pause(struct machine *machine);
bool machine_resume(struct machine *machine);

/* The guest sees its ACPI power button being pressed; what it makes of that is its own affair. */
void machine_press_power_button(struct machine *machine);

/* Sets the stop cause unless there is one already; says whether this call set it. Any thread. */
bool machine_stop(struct machine *machine, enum stop_cause cause, uint32_t value);

/* The virtio-mem device of --maxmem. */
struct machine_hotplug {
	struct range region;
	uint64_t block_size, requested, plugged; /* bytes */
	uint32_t node;
};

/* False when the machine has none. */
bool machine_hotplug(const struct machine *machine, struct machine_hotplug *hotplug);

/* Asks the guest for so many bytes; -ENODEV, and otherwise what virtio_mem_set_requested() says. */
int machine_set_hotplug(struct machine *machine, uint64_t bytes, struct error *err);

#endif
