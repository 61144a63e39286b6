/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_INITRAMFS_H
#define SPMVM_BOOT_INITRAMFS_H

#include <stddef.h>

#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/boot/archive.h"
#include "vmm/boot/modules.h"

/*
 * The initramfs that spmvm makes when it is not given one: our PID 1 (guest/init), the kernel modules that SPM needs with
 * their dependencies, busybox, and what the user adds. Format newc (cpio.h), uncompressed; modules are unpacked on
 * the way (.ko, .ko.xz, .ko.zst, .ko.gz), because the order of loading is worked out here and init just loads a list.
 *
 *   /init                    guest/init
 *   /bin/busybox             when the host has one (a dynamic one comes with its libraries)
 *   /lib/modules/VERSION/... the modules, and /etc/spmvm/modules: their paths, one a line, in loading order
 *   /etc/spmvm/command       the user's command, run by init on the host's root file system instead of a shell
 *   /etc/spmvm/script        the user's script or program, run by init instead of a shell
 *   the user's files         at the paths asked for, programs with the shared libraries that they need
 */
struct initramfs_request {
	const char *modules;              /* the folder /lib/modules/VERSION of the kernel, or NULL for no modules */
	const struct module_wish *wishes; /* which to take, with what they depend on; see modules.h */
	size_t wish_count;
	const char *busybox;       /* path on the host, or NULL for none */
	const struct buf *command; /* the file GUEST_COMMAND of guest/protocol.h, or NULL */
	const char *script;        /* path on the host, or NULL; a pipe is fine */
	/*
	 * Each "PATH" or "PATH:GUEST_PATH", cut at the last ':'; a file or a whole folder. Without GUEST_PATH it is PATH seen
	 * from the guest's root: /usr/bin/numactl stays that, ./bench becomes /bench. A later file replaces an earlier one.
	 */
	const char *const *files;
	size_t file_count;
};

/*
 * Makes the archive, which is empty or was released before; on failure it is empty. Its size is a multiple of 4. The
 * same files give the same bytes. EXIT_STATUS_IMAGE for modules that cannot be read, EXIT_STATUS_CONFIG for a file of
 * the user's, with its option before the text. Everything in request and log is borrowed for the call.
 */
int initramfs_build(struct archive *archive, const struct initramfs_request *request, const struct log *log,
		    struct error *err);

/* The modules of the mission, in no particular order: dax_hmem, device_dax, kmem, pvpanic-mmio, ... */
extern const char *const INITRAMFS_MODULES[];
extern const size_t INITRAMFS_MODULE_COUNT;

#endif
