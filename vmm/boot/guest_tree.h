/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_GUEST_TREE_H
#define SPMVM_BOOT_GUEST_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/boot/archive.h"
#include "vmm/boot/cpio.h"
#include "vmm/boot/library.h"

/*
 * The guest's root file system while it is written into an archive: makes the folders above a path as they are needed, and
 * brings files, folders and programs of the host into it. What is put at the path of an earlier file replaces it.
 *
 * Guest paths are absolute and normal (path_normal()). Functions that fail leave a half-written archive; the owner drops it.
 */
enum {
	GUEST_TREE_ENTRIES_MAX = 100000,
	GUEST_TREE_DEPTH_MAX = 64, /* folders in each other below one that the user named */
};
#define GUEST_TREE_FILE_MAX  ((size_t)1 << 30) /* bytes of one file; a file system for more belongs on a disk */
#define GUEST_TREE_TOTAL_MAX ((size_t)2 << 30)

struct guest_tree {
	struct cpio cpio;
	struct archive *archive; /* borrowed */
	struct buf *out;         /* the archive's buffer */
	const struct log *log;   /* borrowed */
	struct library_folders folders;
	void *paths; /* of tsearch(3): every guest path so far and whether it is a folder */
	size_t entries;
};

/* root: put before the paths of the host's libraries; "" but in tests. guest_tree_release() after failure, too. */
int guest_tree_init(struct guest_tree *tree, struct archive *archive, const char *root, const struct log *log,
		    struct error *err);
void guest_tree_release(struct guest_tree *tree);

/*
 * Enters a path into the tree with the folders above it. Called by everything below; a caller that writes an entry
 * through tree->cpio itself calls it first. EXIT_STATUS_CONFIG for a path that is a file and a folder at once, and
 * for too many entries.
 */
enum guest_kind { GUEST_FOLDER, GUEST_OTHER };
int guest_tree_enter(struct guest_tree *tree, const char *guest, enum guest_kind kind, struct error *err);

/* A file of bytes at hand. */
int guest_tree_bytes(struct guest_tree *tree, const char *guest, uint32_t mode, const void *bytes, size_t size,
		     struct error *err);

/*
 * Of a file of the host that is large enough (ARCHIVE_PART_MIN) only the name goes into the archive; 1 then, with *fd
 * open for reading, which the caller closes, and *size. 0, and nothing done, for any other file, and one that cannot be
 * opened. fd and size are NULL where the caller has read of the file already, and it is not opened once more.
 */
int guest_tree_part(struct guest_tree *tree, const char *host, const char *guest, uint32_t mode, int *fd,
		    uint64_t *size, struct error *err);

/*
 * A file of the host with what it needs to run: for a dynamic program its loader and libraries, recursively, at the places where
 * the guest's loader looks for them (each once). A library that the host does not have is a warning: the user may bring
 * it in another way. Links are followed. mode: permission bits. EXIT_STATUS_CONFIG for a file that cannot be read.
 */
int guest_tree_program(struct guest_tree *tree, const char *host, const char *guest, uint32_t mode, struct error *err);

/*
 * A file or a whole folder of the host, modes kept, owned by root in the guest. Links inside of a folder stay links; devices,
 * pipes and sockets in it are passed over with a warning.
 */
int guest_tree_host(struct guest_tree *tree, const char *host, const char *guest, struct error *err);

#endif
