/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_LIBRARY_H
#define SPMVM_BOOT_LIBRARY_H

#include <stddef.h>

/*
 * Finds a shared library on the host as the dynamic loader would (ld.so(8)), and says where in the guest its loader will look
 * for it. The guest has no ld.so.cache, so a library from one of the folders of /etc/ld.so.conf goes beside the C library.
 */
struct library_folders {
	char **configured; /* the folders of root/etc/ld.so.conf and ld.so.conf.d, in order; owned */
	size_t count;
	const char *root;     /* put before every path of the host; "" but in tests; borrowed */
	const char *c_folder; /* the system folder that has the C library; a constant */
};

/* Reads the configuration; files that cannot be read are taken as empty. -ENOMEM. */
int library_folders_load(struct library_folders *folders, const char *root);
void library_folders_release(struct library_folders *folders);

/* A list of folders from an ELF file; its $ORIGIN is the folder of that file. All borrowed. */
struct library_path {
	const char *list; /* separated by ':'; NULL for none */
	const char *host_origin, *guest_origin;
};

/* Who asks: the object that names the library. */
struct library_search {
	struct library_path own;       /* its DT_RUNPATH or DT_RPATH */
	struct library_path inherited; /* DT_RPATH of the program that it is loaded for */
};

/* Both absolute, without "." and ".."; heap, owned by the caller. */
struct library_place {
	char *host, *guest;
};

/* 0; -ENOENT when no folder has a library of that name for x86-64; -ENOMEM. */
int library_find(struct library_place *place, const struct library_folders *folders, const char *name,
		 const struct library_search *search);

void library_place_release(struct library_place *place);

/*
 * A copy of path without doubled and closing slashes and without "." and ".." parts; ".." at the root stays there, as in
 * the kernel. Works on the text alone. A relative path counts from the root. NULL without memory.
 */
char *path_normal(const char *path);

#endif
