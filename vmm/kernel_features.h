/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KERNEL_FEATURES_H
#define SPMVM_KERNEL_FEATURES_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/kernel_config.h"
#include "vmm/config.h"

/* What spmvm wants of a guest's kernel, and whether a kernel has it. One table, which the doctor shows and a run checks. */

/* What a machine has that a kernel must be able to drive; sets of these. */
enum kernel_need {
	KERNEL_NEED_BOOT = 1 << 0,    /* every machine */
	KERNEL_NEED_INIT = 1 << 1,    /* the built-in initramfs */
	KERNEL_NEED_CONSOLE = 1 << 2, /* a shell or script on COM1 */
	KERNEL_NEED_SPM = 1 << 3,     /* --spm */
	KERNEL_NEED_COMMAND = 1 << 4, /* -- COMMAND */
	KERNEL_NEED_BLK = 1 << 5,
	KERNEL_NEED_NET = 1 << 6,
	KERNEL_NEED_SHARE = 1 << 7,
	KERNEL_NEED_VSOCK = 1 << 8,
	KERNEL_NEED_PORT = 1 << 9,
	KERNEL_NEED_MAXMEM = 1 << 10,
};

/* What the mission's plain case is made of: without one of these, a kernel boots no machine with SPM. */
#define KERNEL_NEEDS_OF_SPM (KERNEL_NEED_BOOT | KERNEL_NEED_INIT | KERNEL_NEED_CONSOLE | KERNEL_NEED_SPM)

enum { KERNEL_FEATURE_OPTIONS = 5 };

struct kernel_feature {
	const char *name; /* as people know it */
	const char *why;  /* what it is good for, behind "for" */
	struct {
		const char *name;          /* without CONFIG_ */
		const char *module;        /* NULL when it can be no module */
	} options[KERNEL_FEATURE_OPTIONS]; /* all of them; the first NULL ends the list */
	unsigned needs; /* the kernel needs that cannot be met without it; 0 when only the feature is lost */
};

extern const struct kernel_feature KERNEL_FEATURES[];
extern const size_t KERNEL_FEATURE_COUNT;

/* The worst that the kernel says to any of the feature's options. */
enum kernel_option kernel_feature_ask(const struct kernel_feature *feature, const struct kernel_config *config);

/* What this machine needs. */
unsigned kernel_needs(const struct config *config);

/*
 * Refuses a kernel that lacks an option which one of the needs cannot do without: -ENOTSUP, EXIT_STATUS_IMAGE, such as "--kernel K lacks
 * CONFIG_OVERLAY_FS, the module virtiofs: spmvm doctor --kernel K explains". What is not known is not refused.
 */
int kernel_check(const char *path, const struct kernel_config *config, unsigned needs, struct error *err);

/*
 * For a run: looks for the kernel's configuration (not inside the kernel, which takes longer than a boot should) and checks it for this machine.
 * modules: the folder of its modules, or NULL. EXIT_STATUS_IMAGE as above, or EXIT_STATUS_HOST without memory.
 */
int kernel_check_for(const struct config *config, const struct bzimage *image, const char *modules,
		     const struct log *log, struct error *err);

#endif
