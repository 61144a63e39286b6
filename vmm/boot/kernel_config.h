/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_KERNEL_CONFIG_H
#define SPMVM_BOOT_KERNEL_CONFIG_H

#include <limits.h>
#include <stdbool.h>

#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/boot/bzimage.h"

/*
 * How a kernel was configured (Kconfig's .config), and which modules it has. The configuration comes from the first of these that is
 * there and whole:
 *
 *   a text        beside the kernel config-RELEASE, or config-X for a vmlinuz-X and config for a vmlinuz; .config of the build
 *                 tree when the kernel is its arch/x86/boot/bzImage; config or build/.config among its modules
 *   the kernel    CONFIG_IKCONFIG=y: a gzip file between IKCFG_ST and IKCFG_ED in the unpacked kernel (Linux kernel/configs.c)
 *   configs.ko    the same as a module, CONFIG_IKCONFIG=m
 *
 * Without any of them modules.builtin and modules.dep still tell about what has a module's name; the rest is unknown, and said to be.
 */
enum kernel_config_source { KERNEL_CONFIG_NONE, KERNEL_CONFIG_TEXT, KERNEL_CONFIG_IN_KERNEL, KERNEL_CONFIG_IN_MODULE };

struct kernel_config {
	enum kernel_config_source source;
	char place[PATH_MAX];             /* the file that it is from */
	struct buf text;                  /* a newline, then the configuration; empty for KERNEL_CONFIG_NONE */
	bool has_modules;                 /* both tables are there */
	struct buf builtin, dependencies; /* the texts of modules.builtin and modules.dep, as they are */
};

enum kernel_option {
	KERNEL_OPTION_UNKNOWN,
	KERNEL_OPTION_NO,
	KERNEL_OPTION_LOST, /* a module by the configuration, but not among the kernel's modules, if those were found at all */
	KERNEL_OPTION_MODULE,
	KERNEL_OPTION_YES
};

/*
 * Reads what there is about the kernel. modules is its modules' folder, or NULL. unpack: also look into the kernel itself, which takes
 * half a second. Files that are damaged, cut off or too big are passed over with a debug line, so only -ENOMEM (EXIT_STATUS_HOST) fails.
 * The caller releases *config, also after a failure. Any thread.
 */
int kernel_config_load(struct kernel_config *config, const struct bzimage *image, const char *modules, bool unpack,
		       const struct log *log, struct error *err);

/* Takes a zeroed one too. */
void kernel_config_release(struct kernel_config *config);

/* name: "VIRTIO_FS", without CONFIG_. module: the name of its module ("virtiofs"), or NULL when it cannot be one. */
enum kernel_option kernel_config_option(const struct kernel_config *config, const char *name, const char *module);

/* ---------------------------------------------------------------------------------- parts, for the tests */

/*
 * Takes a configuration's text. -EBADMSG, with nothing changed, for what is none: without one CONFIG_ line, with a zero byte, or cut off (each
 * line of a whole one ends in a newline). -ENOMEM.
 */
int kernel_config_from_text(struct kernel_config *config, const uint8_t *text, size_t size);

/* The same out of a kernel or a configs.ko, unpacked. -ENOENT when there is no configuration in it. */
int kernel_config_from_image(struct kernel_config *config, const uint8_t *image, size_t size);

#endif
