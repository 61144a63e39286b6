/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_MODULES_H
#define SPMVM_BOOT_MODULES_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"

/*
 * Which kernel modules to load and in which order, from the files that depmod(8) leaves in /lib/modules/VERSION. Module names
 * are compared as the kernel does it: '-' and '_' are the same, and ".ko", ".ko.xz" and the like are not part of a name.
 */
struct module_order {
	char **paths; /* below the modules' folder, each once, what a module needs before it; heap, owned */
	size_t count;
};

struct module_text {
	const char *at; /* need not end with a zero */
	size_t size;
};

/* The texts of the files, in whatever state they are; all but the first may be empty. */
struct module_tables {
	const char *folder;              /* /lib/modules/VERSION, for messages */
	struct module_text dependencies; /* modules.dep: "PATH: PATH PATH" a line */
	struct module_text builtin;      /* modules.builtin: a path a line */
	struct module_text softdeps;     /* modules.softdep: "softdep MODULE pre: NAME NAME post: NAME" */
	/*
	 * modules.alias: "alias NAME MODULE". The largest of them, and of use only for a name that no module has, so it
	 * is asked for then. May be called more than once. NULL: there is none.
	 */
	struct module_text (*read_aliases)(void *context);
	void *context;
};

/* A module that is wanted, by its name or by an alias of it (not by one with wildcards, which are for devices). */
struct module_wish {
	const char *name;
	bool required; /* the user asked for it: an unknown one is an error */
};

/*
 * Works out the order for these modules and what they depend on, the "pre:" ones of modprobe.d(5)'s softdep included: ext4
 * mounts nothing without a crc32c, which it does not link to. What the kernel has built in is satisfied; what it does not
 * know is skipped with a debug line, or EXIT_STATUS_IMAGE when it is required. The same for tables that contradict themselves
 * (a cycle, a dependency that is not listed) or that lead out of the folder. The caller owns *order on success. Pure but for
 * the log.
 */
int module_order_from(struct module_order *order, const struct module_tables *tables, const struct module_wish *wishes,
		      size_t count, const struct log *log, struct error *err);

void module_order_release(struct module_order *order);

/* Where the name's packing starts in a path: "x/dax-hmem.ko.xz" -> ".xz", "x/kmem.ko" -> "". NULL when it is no module. */
const char *module_packing(const char *path);

/* A module's file may be this big when unpacked; Linux's largest (amdgpu) is a quarter of it. */
#define MODULE_SIZE_MAX (UINT64_C(64) << 20)

#endif
