/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/elf_needs.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Real files have about a dozen program headers; the dynamic section of a big library a few hundred entries. */
enum { PROGRAM_HEADERS_MAX = 512, DYNAMIC_MAX = 4096 };

struct elf_file {
	const uint8_t *bytes;
	size_t size;
	Elf64_Phdr headers[PROGRAM_HEADERS_MAX];
	size_t header_count;
};

static bool inside(const struct elf_file *file, uint64_t offset, uint64_t size)
{
	return offset <= file->size && size <= file->size - offset;
}

bool elf_is_x86_64(const uint8_t *bytes, size_t size)
{
	return size >= ELF_HEAD_SIZE && memcmp(bytes, ELFMAG, SELFMAG) == 0 && bytes[EI_CLASS] == ELFCLASS64 &&
	       bytes[EI_DATA] == ELFDATA2LSB && bytes[18] == EM_X86_64 && bytes[19] == 0;
}

static int read_headers(struct elf_file *file)
{
	Elf64_Ehdr header;

	if (!inside(file, 0, sizeof(header)))
		return -EBADMSG;
	memcpy(&header, file->bytes, sizeof(header));
	if (header.e_phnum == 0)
		return 0; /* an object file, such as a kernel module */
	if (header.e_phnum > PROGRAM_HEADERS_MAX || header.e_phentsize != sizeof(Elf64_Phdr) ||
	    !inside(file, header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr)))
		return -EBADMSG;
	file->header_count = header.e_phnum;
	memcpy(file->headers, file->bytes + header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr));
	return 0;
}

static const Elf64_Phdr *find_header(const struct elf_file *file, uint32_t type)
{
	for (size_t i = 0; i < file->header_count; i++) {
		if (file->headers[i].p_type == type)
			return &file->headers[i];
	}
	return NULL;
}

/* Copies a string that must end within the part of the file from offset on, size bytes long, inside the file. */
static int copy_string(const struct elf_file *file, uint64_t offset, uint64_t size, char **copy)
{
	const char *text = (const char *)file->bytes + offset;
	size_t length = strnlen(text, size);

	if (length == size)
		return -EBADMSG;
	*copy = strdup(text);
	return *copy == NULL ? -ENOMEM : 0;
}

static int read_interpreter(const struct elf_file *file, struct elf_needs *needs)
{
	const Elf64_Phdr *header = find_header(file, PT_INTERP);

	if (header == NULL)
		return 0;
	if (!inside(file, header->p_offset, header->p_filesz))
		return -EBADMSG;
	return copy_string(file, header->p_offset, header->p_filesz, &needs->interpreter);
}

/* Where the bytes of a virtual address are in the file, and how many follow in its segment. */
static bool locate(const struct elf_file *file, uint64_t address, uint64_t *offset, uint64_t *left)
{
	for (size_t i = 0; i < file->header_count; i++) {
		const Elf64_Phdr *header = &file->headers[i];

		if (header->p_type != PT_LOAD || address < header->p_vaddr ||
		    address - header->p_vaddr >= header->p_filesz || !inside(file, header->p_offset, header->p_filesz))
			continue;
		*offset = header->p_offset + (address - header->p_vaddr);
		*left = header->p_filesz - (address - header->p_vaddr);
		return true;
	}
	return false;
}

/* The entry at an index of the dynamic section; DT_NULL behind its end. */
static Elf64_Dyn dynamic_entry(const struct elf_file *file, const Elf64_Phdr *section, size_t index)
{
	Elf64_Dyn entry = {.d_tag = DT_NULL};

	if (index < DYNAMIC_MAX && index < section->p_filesz / sizeof(entry))
		memcpy(&entry, file->bytes + section->p_offset + index * sizeof(entry), sizeof(entry));
	return entry;
}

struct strings {
	uint64_t offset, size; /* in the file */
};

/* Where DT_STRTAB is, as much of it as is in the file. */
static int find_strings(const struct elf_file *file, const Elf64_Phdr *section, struct strings *strings)
{
	uint64_t address = 0, size = 0;

	for (size_t i = 0;; i++) {
		Elf64_Dyn entry = dynamic_entry(file, section, i);

		if (entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag == DT_STRTAB)
			address = entry.d_un.d_ptr;
		else if (entry.d_tag == DT_STRSZ)
			size = entry.d_un.d_val;
	}
	if (!locate(file, address, &strings->offset, &strings->size))
		return -EBADMSG;
	if (size < strings->size)
		strings->size = size;
	return 0;
}

static int dynamic_string(const struct elf_file *file, const struct strings *strings, uint64_t index, char **copy)
{
	if (index >= strings->size)
		return -EBADMSG;
	return copy_string(file, strings->offset + index, strings->size - index, copy);
}

/* DT_RUNPATH makes the loader ignore DT_RPATH (gABI chapter 5, "Shared Object Dependencies"). */
static int read_search(const struct elf_file *file, const struct strings *strings, const Elf64_Dyn *entry,
		       struct elf_needs *needs)
{
	if (needs->search != NULL && (entry->d_tag == DT_RPATH || !needs->inherited))
		return 0;
	free(needs->search);
	needs->search = NULL;
	needs->inherited = entry->d_tag == DT_RPATH;
	return dynamic_string(file, strings, entry->d_un.d_val, &needs->search);
}

static int read_dynamic(const struct elf_file *file, struct elf_needs *needs)
{
	const Elf64_Phdr *section = find_header(file, PT_DYNAMIC);
	struct strings strings;
	int code;

	if (section == NULL)
		return 0;
	if (!inside(file, section->p_offset, section->p_filesz))
		return -EBADMSG;
	code = find_strings(file, section, &strings);
	for (size_t i = 0; code == 0; i++) {
		Elf64_Dyn entry = dynamic_entry(file, section, i);

		if (entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag == DT_RUNPATH || entry.d_tag == DT_RPATH)
			code = read_search(file, &strings, &entry, needs);
		if (entry.d_tag != DT_NEEDED)
			continue;
		if (needs->count == ELF_NEEDS_MAX)
			return -EBADMSG;
		code = dynamic_string(file, &strings, entry.d_un.d_val, &needs->libraries[needs->count]);
		if (code == 0)
			needs->count++;
	}
	return code;
}

int elf_needs_read(struct elf_needs *needs, const uint8_t *bytes, size_t size)
{
	struct elf_file file = {.bytes = bytes, .size = size};
	int code;

	*needs = (struct elf_needs){0};
	if (!elf_is_x86_64(bytes, size))
		return 0;
	code = read_headers(&file);
	if (code == 0)
		code = read_interpreter(&file, needs);
	if (code == 0)
		code = read_dynamic(&file, needs);
	if (code < 0)
		elf_needs_release(needs);
	return code;
}

void elf_needs_release(struct elf_needs *needs)
{
	if (needs == NULL)
		return;
	free(needs->interpreter);
	free(needs->search);
	for (size_t i = 0; i < needs->count; i++)
		free(needs->libraries[i]);
	*needs = (struct elf_needs){0};
}
