/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KERNEL_FILES_H
#define SPMVM_KERNEL_FILES_H

#include <limits.h>

#include "vmm/base/error.h"

/* Where a host keeps kernels, their modules and what the built-in initramfs takes along. */

/*
 * The newest vmlinuz-* in folder ("/boot"), by version number. EXIT_STATUS_IMAGE when there is none, naming the remedy.
 */
int kernel_find_newest(const char *folder, char path[PATH_MAX], struct error *err);

/*
 * The modules of a release: beside the kernel first (an unpacked package has boot/ and lib/ in one folder), then in
 * /lib/modules. -ENOENT, with no error text, when there are none; path then is the last place that was tried.
 */
int kernel_find_modules(const char *kernel, const char *release, char path[PATH_MAX]);

/* The host's busybox, or NULL. */
const char *busybox_find(void);

#endif
