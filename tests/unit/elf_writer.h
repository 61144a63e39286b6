/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_ELF_WRITER_H
#define SPMVM_TESTS_ELF_WRITER_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Writes small dynamic x86-64 ELF files for tests: one load segment over the whole file at ELF_BASE, an interpreter, a string table and
 * a dynamic section. Offsets are fixed, so that a test can damage a known field.
 */
#define ELF_BASE UINT64_C(0x400000)
enum { ELF_INTERP_AT = 512, ELF_STRINGS_AT = 640, ELF_DYNAMIC_AT = 1536, ELF_FILE_SIZE = 2048 };

struct elf_spec {
	const char *interpreter; /* NULL for none */
	const char *rpath, *runpath;
	const char *needed[8]; /* up to the first NULL */
};

struct elf_text {
	uint8_t *bytes;
	size_t strings, dynamic; /* used */
};

static inline void elf_tag(struct elf_text *text, int64_t tag, uint64_t value)
{
	Elf64_Dyn entry = {.d_tag = tag, .d_un.d_val = value};

	memcpy(text->bytes + ELF_DYNAMIC_AT + text->dynamic, &entry, sizeof(entry));
	text->dynamic += sizeof(entry);
}

static inline void elf_string_tag(struct elf_text *text, int64_t tag, const char *string)
{
	if (string == NULL)
		return;
	elf_tag(text, tag, text->strings);
	memcpy(text->bytes + ELF_STRINGS_AT + text->strings, string, strlen(string) + 1);
	text->strings += strlen(string) + 1;
}

/* Fills bytes[ELF_FILE_SIZE]. */
static inline void elf_write(uint8_t *bytes, const struct elf_spec *spec)
{
	Elf64_Ehdr header = {.e_type = ET_DYN,
			     .e_machine = EM_X86_64,
			     .e_version = EV_CURRENT,
			     .e_phoff = sizeof(header),
			     .e_ehsize = sizeof(header),
			     .e_phentsize = sizeof(Elf64_Phdr),
			     .e_phnum = 3};
	Elf64_Phdr segments[3] = {
		{.p_type = PT_LOAD, .p_vaddr = ELF_BASE, .p_filesz = ELF_FILE_SIZE, .p_memsz = ELF_FILE_SIZE},
		{.p_type = PT_DYNAMIC, .p_offset = ELF_DYNAMIC_AT, .p_filesz = ELF_FILE_SIZE - ELF_DYNAMIC_AT},
		{.p_type = PT_NULL},
	};
	struct elf_text text = {.bytes = bytes, .strings = 1};

	memset(bytes, 0, ELF_FILE_SIZE);
	memcpy(header.e_ident, ELFMAG, SELFMAG);
	header.e_ident[EI_CLASS] = ELFCLASS64;
	header.e_ident[EI_DATA] = ELFDATA2LSB;
	header.e_ident[EI_VERSION] = EV_CURRENT;
	if (spec->interpreter != NULL) {
		segments[2] = (Elf64_Phdr){
			.p_type = PT_INTERP, .p_offset = ELF_INTERP_AT, .p_filesz = strlen(spec->interpreter) + 1};
		memcpy(bytes + ELF_INTERP_AT, spec->interpreter, strlen(spec->interpreter) + 1);
	}
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + header.e_phoff, segments, sizeof(segments));
	for (size_t i = 0; i < 8 && spec->needed[i] != NULL; i++)
		elf_string_tag(&text, DT_NEEDED, spec->needed[i]);
	elf_string_tag(&text, DT_RPATH, spec->rpath);
	elf_string_tag(&text, DT_RUNPATH, spec->runpath);
	elf_tag(&text, DT_STRTAB, ELF_BASE + ELF_STRINGS_AT);
	elf_tag(&text, DT_STRSZ, text.strings);
	elf_tag(&text, DT_NULL, 0);
}

#endif
