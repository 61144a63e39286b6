/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_SANDBOX_H
#define SPMVM_SANDBOX_H

#include <linux/filter.h>
#include <stddef.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/config.h"

/*
 * What this process gives away before the guest runs, so that a guest which takes it over gets little. In two steps:
 *
 *   sandbox_enter()    the whole process, while it has one thread: descriptors, namespaces with an empty root folder,
 *                      resource limits, capabilities, no_new_privs, Landlock. What is made afterwards inherits it.
 *   sandbox_confine()  each thread for itself: the system calls that it still has need of (sandbox_rules.c).
 *
 * Everything is open by then, and nothing can be opened afterwards. Programs that work for the machine (virtiofsd,
 * passt) were started before and have sandboxes of their own. docs/threat-model.md says what each step is for.
 */
enum sandbox_thread { SANDBOX_MAIN, SANDBOX_VCPU, SANDBOX_THREADS };

/* What a machine may have and another not; sets of these, beside 1 << enum config_device_kind. */
enum {
	SANDBOX_FOLDER = 1 << 16,
	SANDBOX_CONTROL = 1 << 17,
	SANDBOX_METRICS = 1 << 18,
	SANDBOX_PLAIN_IO = 1 << 19, /* a disk without io_uring */
};

struct sandbox_options {
	enum sandbox_mode mode;
	unsigned needs;       /* what the machine has: the system calls of nothing else are allowed */
	const int *inherited; /* descriptors that spmvm was started with and works with; ours are all O_CLOEXEC */
	size_t inherited_count;
	const int *folder;     /* of which a file may still be removed (adds SANDBOX_FOLDER); NULL: of none */
	const struct log *log; /* outlives the sandbox */
	/* Called before a forbidden system call ends the process: async-signal-safe, any thread. May be NULL. */
	void (*at_end)(void *context);
	void *context;
};

struct sandbox {
	struct sock_fprog filters[SANDBOX_THREADS]; /* heap */
};

/*
 * The process's step. Where the kernel lacks something, SANDBOX_DEFAULT is a warning, and the rest is done all the same;
 * with SANDBOX_ON it is EXIT_STATUS_HOST, and the process may be half confined: it is to end. Once a process.
 */
int sandbox_enter(struct sandbox *sandbox, const struct sandbox_options *options, struct error *err);

/* The thread's own step; nothing takes it back. */
int sandbox_confine(const struct sandbox *sandbox, enum sandbox_thread thread, struct error *err);

void sandbox_release(struct sandbox *sandbox);

/* ---- for the parts of it, and the doctor */

/* Landlock's version in this kernel; 0 when there is none. */
int sandbox_landlock_version(void);

/* Whether the kernel has seccomp filters. */
bool sandbox_has_filters(void);

/* sandbox_process.c: all of the process's step but the filters. missing is a text of what the kernel did not give. */
void sandbox_confine_process(const struct sandbox_options *options, char *missing, size_t size);

/* sandbox_filter.c: the program for a thread, heap in *program; -ENOMEM. And the end of a process that breaks it. */
int sandbox_make_filter(struct sock_fprog *program, enum sandbox_thread thread, unsigned needs, bool only_log);
int sandbox_install_filter(const struct sock_fprog *program);
void sandbox_watch_violations(const struct sandbox_options *options);
/* Its at_end() is not called any more. */
void sandbox_forget_end(void);

#endif
