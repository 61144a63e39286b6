/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOOT_ELF_NEEDS_H
#define SPMVM_BOOT_ELF_NEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a program or shared library asks the dynamic loader for (System V gABI chapter 5, "Dynamic Linking"). Every string is a copy.
 */
enum { ELF_NEEDS_MAX = 256 };

struct elf_needs {
	char *interpreter; /* path of the loader (PT_INTERP); NULL in a library and in a static program */
	char *search;      /* folders to search first, separated by ':' (DT_RUNPATH, else DT_RPATH); NULL when none */
	bool inherited;    /* search came from DT_RPATH: it holds for the libraries' own libraries, too */
	char *libraries[ELF_NEEDS_MAX]; /* DT_NEEDED, in order */
	size_t count;
};

/*
 * Reads the bytes of a whole file, which may be anything: every offset is checked. A file that is no x86-64 ELF file, and
 * one without a dynamic section, needs nothing. 0; -EBADMSG for an ELF file with offsets that lead out of it; -ENOMEM.
 * elf_needs_release() after success only. Pure.
 */
int elf_needs_read(struct elf_needs *needs, const uint8_t *bytes, size_t size);

/*
 * The same of a file of this size that is open for reading; only what is looked at is read. -errno, too, when it cannot
 * be read.
 */
int elf_needs_read_file(struct elf_needs *needs, int fd, uint64_t size);

void elf_needs_release(struct elf_needs *needs);

/* Whether the first bytes of a file are those of an x86-64 ELF file: what the loader will accept at a search. */
enum { ELF_HEAD_SIZE = 20 };
bool elf_is_x86_64(const uint8_t *bytes, size_t size);

#endif
