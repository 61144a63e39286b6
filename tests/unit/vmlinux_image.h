/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_VMLINUX_IMAGE_H
#define SPMVM_TESTS_UNIT_VMLINUX_IMAGE_H

#include "tests/unit/unit.h"

#include <elf.h>

/*
 * A small unpacked kernel with all that Linux's have: text, data with the addresses to relocate, BSS, and the lists
 * behind the ELF file. Made from the System V ABI and arch/x86/tools/relocs.c, not from the code that reads it. A test
 * then spoils what it likes.
 */
enum {
	KERNEL_TEXT_AT = 0x200, /* in the file */
	KERNEL_TEXT_SIZE = 0x300,
	KERNEL_DATA_AT = 0x500,
	KERNEL_DATA_SIZE = 0x100,
	KERNEL_SECTIONS_AT = 0x600,
	KERNEL_RELOCATIONS_AT = KERNEL_SECTIONS_AT + 2 * sizeof(Elf64_Shdr),
	KERNEL_FILE_SIZE = KERNEL_RELOCATIONS_AT + 7 * 4,
	KERNEL_DATA_OFFSET = 0x200000, /* in memory */
	KERNEL_SIZE = KERNEL_DATA_OFFSET + 0x4000,
	KERNEL_ENTRY = 0x40,
	KERNEL_WIDE = KERNEL_DATA_OFFSET + 3, /* places to relocate, behind the start of the image */
	KERNEL_WIDE_2 = KERNEL_DATA_OFFSET + 16,
	KERNEL_INVERSE = KERNEL_DATA_OFFSET + 32,
	KERNEL_NARROW = 0x100,
};
#define KERNEL_PHYSICAL UINT64_C(0x1000000)
#define KERNEL_VIRTUAL  UINT64_C(0xffffffff81000000)

static inline uint8_t kernel_text_byte(size_t i)
{
	return (uint8_t)(i * 5 + 1);
}

/* Fills bytes[KERNEL_FILE_SIZE]. */
static inline void kernel_write(uint8_t *bytes)
{
	const Elf64_Ehdr header = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = KERNEL_PHYSICAL + KERNEL_ENTRY,
		.e_phoff = sizeof(header),
		.e_shoff = KERNEL_SECTIONS_AT,
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 2,
	};
	/* data before text: what counts is the address */
	const Elf64_Phdr segments[] = {
		{.p_type = PT_LOAD,
		 .p_offset = KERNEL_DATA_AT,
		 .p_vaddr = KERNEL_VIRTUAL + KERNEL_DATA_OFFSET,
		 .p_paddr = KERNEL_PHYSICAL + KERNEL_DATA_OFFSET,
		 .p_filesz = KERNEL_DATA_SIZE,
		 .p_memsz = KERNEL_SIZE - KERNEL_DATA_OFFSET,
		 .p_align = 0x200000},
		{.p_type = PT_LOAD,
		 .p_offset = KERNEL_TEXT_AT,
		 .p_vaddr = KERNEL_VIRTUAL,
		 .p_paddr = KERNEL_PHYSICAL,
		 .p_filesz = KERNEL_TEXT_SIZE,
		 .p_memsz = KERNEL_TEXT_SIZE,
		 .p_align = 0x200000},
		{.p_type = PT_NOTE, .p_offset = UINT64_MAX, .p_filesz = 1},
	};
	const uint32_t relocations[7] = {
		0, 0x81000000u + KERNEL_WIDE,   0x81000000u + KERNEL_WIDE_2, 0, 0x81000000u + KERNEL_INVERSE,
		0, 0x81000000u + KERNEL_NARROW,
	};
	const uint64_t wide = KERNEL_VIRTUAL + 0x123, wide_2 = KERNEL_VIRTUAL + KERNEL_SIZE;
	const uint32_t inverse = 0x1000, narrow = 0x81000456;

	memset(bytes, 0, KERNEL_FILE_SIZE);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), segments, sizeof(segments));
	for (size_t i = 0; i < KERNEL_TEXT_SIZE; i++)
		bytes[KERNEL_TEXT_AT + i] = kernel_text_byte(i);
	memcpy(bytes + KERNEL_TEXT_AT + KERNEL_NARROW, &narrow, 4);
	memcpy(bytes + KERNEL_DATA_AT + KERNEL_WIDE - KERNEL_DATA_OFFSET, &wide, 8);
	memcpy(bytes + KERNEL_DATA_AT + KERNEL_WIDE_2 - KERNEL_DATA_OFFSET, &wide_2, 8);
	memcpy(bytes + KERNEL_DATA_AT + KERNEL_INVERSE - KERNEL_DATA_OFFSET, &inverse, 4);
	memcpy(bytes + KERNEL_RELOCATIONS_AT, relocations, sizeof(relocations));
}

#endif
