/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_WORKBENCH_H
#define SPMVM_WORKBENCH_H

#include <stdbool.h>

#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/config.h"

/*
 * The host's end of a command that a guest runs ("spmvm -- COMMAND"): its streams, which are this process's own and go through ports of the console device, and
 * what the guest's init is told, at the start by a file in the initramfs and later through the control port (guest/protocol.h).
 *
 * Main thread only.
 */
struct workbench {
	int fds[STREAM_END];       /* the host side of each port, until workbench_take(); -1 when unset or taken */
	int control;               /* the writing end of STREAM_CONTROL's pipe */
	int typed;                 /* with a terminal: the writing end of STREAM_STDIN's pipe; else -1 */
	bool terminal;             /* stdin and stdout are a terminal, so the command gets one */
	unsigned char signals[65]; /* how often each was handed on */
};

/* After a struct workbench was zeroed or released, its descriptors count as unset. */
void workbench_init(struct workbench *workbench);
void workbench_release(struct workbench *workbench);

/*
 * Takes this process's stdin, stdout and stderr for the command. Where it can, it opens them anew, so that making them non-blocking is nobody else's
 * concern. EXIT_STATUS_HOST.
 */
int workbench_open(struct workbench *workbench, struct error *err);

/*
 * Writes the records of GUEST_COMMAND: the command, this process's environment and current folder, folders of --rw, where the kernel's modules are (NULL: unknown).
 * EXIT_STATUS_CONFIG for a folder that is not there, EXIT_STATUS_HOST.
 */
int workbench_describe(const struct workbench *workbench, const struct config *config, const char *modules,
		       struct buf *records, struct error *err);

/* The descriptor for a stream's port; the caller's from now on. */
int workbench_take(struct workbench *workbench, enum config_stream stream);

/* Bytes typed on the terminal, for the command's. What does not fit into a full pipe is dropped, as a terminal does it. */
void workbench_type(const struct workbench *workbench, const void *bytes, size_t size);

/* Hands a signal to the command. False when it was handed on before: the user wants the machine to end. */
bool workbench_signal(struct workbench *workbench, int signal);

/* Tells the guest the terminal's size. */
void workbench_resize(const struct workbench *workbench);

#endif
