/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_STAGES_H
#define SPMVM_BASE_STAGES_H

#include <stdatomic.h>
#include <stdint.h>

#include "vmm/base/log.h"

/*
 * When the steps of a start were done: from main() to the boot processor's first KVM_RUN. They stand in the order in
 * which they come; each is marked once, when it is done, and one that a run leaves out is never marked.
 *
 * What comes before main(), the kernel's exec and the dynamic loader, is in none of them: a process cannot tell when
 * its exec began (/proc/self/stat counts in hundredths of a second). tests/bench/run measures from the exec, with the
 * parent's clock, which is the same clock as this.
 */
enum stage {
	STAGE_MAIN,      /* main() was entered */
	STAGE_OPTIONS,   /* the command line was read */
	STAGE_CONFIG,    /* the machine is known, with what was asked of the host for it */
	STAGE_KERNEL,    /* the kernel's header was read */
	STAGE_KVM,       /* /dev/kvm is open, its capabilities and CPUID are known */
	STAGE_BOARD,     /* memory map, devices and command line are planned, the console is open */
	STAGE_INITRAMFS, /* what the guest starts from was found, unpacked and measured */
	STAGE_VM,        /* KVM has made the VM */
	STAGE_MEMORY,    /* guest memory is mapped and in memslots */
	STAGE_POPULATED, /* what was asked for in advance is there; the ACPI tables are written */
	STAGE_DEVICES,   /* the interrupt controllers are made, the devices plugged in */
	STAGE_VCPUS,     /* the vcpus are made, and know the memory that was asked for in advance */
	STAGE_LOADED,    /* kernel, initramfs and boot parameters are in guest memory */
	STAGE_RUN,       /* the boot processor's first KVM_RUN is next */
	STAGE_COUNT
};

/*
 * CLOCK_MONOTONIC in ns; 0 as long as a stage is not done. A zeroed struct is ready. One writer a stage, any number of
 * readers.
 */
struct stages {
	_Atomic uint64_t at[STAGE_COUNT];
};

/* One short word for a log line or a label, such as "initramfs". */
const char *stage_name(enum stage stage);

/* The stage is done now. Any thread. */
void stages_mark(struct stages *stages, enum stage stage);

/*
 * How long a stage took: ns since the last one before it that is done; 0 for one that is not done itself, and for
 * STAGE_MAIN.
 */
uint64_t stages_took(const struct stages *stages, enum stage stage);

/* One debug line: every stage that is done with its time, and the sum. */
void stages_log(const struct stages *stages, const struct log *log);

#endif
