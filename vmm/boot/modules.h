/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_MODULES_H
#define SPMVM_BOOT_MODULES_H

#include <stddef.h>

#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"

/*
 * Which kernel modules to load and in which order, from modules.dep(5) and modules.builtin in /lib/modules/VERSION. Module
 * names are compared as the kernel does it: '-' and '_' are the same, and ".ko", ".ko.xz" and the like are not part of
 * a name.
 */
struct module_order {
	char **paths; /* below the modules' folder, each once, what a module needs before it; heap, owned */
	size_t count;
};

/* The texts of the two files, in whatever state they are. */
struct module_tables {
	const char *dependencies; /* modules.dep: "PATH: PATH PATH" a line */
	size_t dependencies_size;
	const char *builtin; /* modules.builtin: a path a line; may be empty */
	size_t builtin_size;
};

/*
 * Works out the order for the named modules and what they depend on. Names that the kernel has built in are satisfied; unknown
 * ones are skipped with a debug line. EXIT_STATUS_IMAGE for tables that contradict themselves (a cycle, a dependency that
 * is not listed) or that lead out of the folder. The caller owns *order on success. Pure but for the log.
 */
int module_order_from(struct module_order *order, const struct module_tables *tables, const char *const *names,
		      size_t count, const struct log *log, struct error *err);

void module_order_release(struct module_order *order);

/* Where the name's packing starts in a path: "x/dax-hmem.ko.xz" -> ".xz", "x/kmem.ko" -> "". NULL when it is no module. */
const char *module_packing(const char *path);

/* A module's file may be this big when unpacked; Linux's largest (amdgpu) is a quarter of it. */
#define MODULE_SIZE_MAX (UINT64_C(64) << 20)

#endif
