/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BENCH_EXITS_H
#define SPMVM_BENCH_EXITS_H

#include <jansson.h>
#include <sys/types.h>

/*
 * Counts exits to user space with the kernel's tracing (event kvm:kvm_userspace_exit, a histogram by thread and reason), and everything that
 * KVM counts of a VM itself (debugfs, kvm/PID-FD). Both need root, debugfs and tracefs.
 */

/* Sets the histogram up; mounts tracefs when debugfs does not show it. Returns 0, or -1 having said why on stderr. */
int exits_start(void);

/* Forgets what was counted so far. */
void exits_clear(void);

/*
 * What the process's threads and its VM have counted so far: {"to-user-space": N, "io": N, "mmio": N, "interrupted": N,
 * "other": N, "ports": {"0x3f8": N, ...}, "kvm": {"exits": N, ...}}. The caller owns it.
 */
json_t *exits_read(pid_t pid);

/* Takes the histogram away. */
void exits_stop(void);

#endif
