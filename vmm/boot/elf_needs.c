/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/elf_needs.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/io.h"

/* Real files have about a dozen program headers; the dynamic section of a big library a few hundred entries. */
enum { PROGRAM_HEADERS_MAX = 512, DYNAMIC_MAX = 4096, STRING_MAX = 65536, STRING_STEP = 128 };

struct elf_file {
	const uint8_t *bytes; /* NULL: read it from fd */
	int fd;
	uint64_t size;
	Elf64_Phdr headers[PROGRAM_HEADERS_MAX];
	size_t header_count;
};

static bool inside(const struct elf_file *file, uint64_t offset, uint64_t size)
{
	return offset <= file->size && size <= file->size - offset;
}

static int fetch(const struct elf_file *file, uint64_t offset, void *to, size_t size)
{
	if (!inside(file, offset, size))
		return -EBADMSG;
	if (file->bytes == NULL)
		return io_pread_all(file->fd, to, size, offset);
	memcpy(to, file->bytes + offset, size);
	return 0;
}

bool elf_is_x86_64(const uint8_t *bytes, size_t size)
{
	return size >= ELF_HEAD_SIZE && memcmp(bytes, ELFMAG, SELFMAG) == 0 && bytes[EI_CLASS] == ELFCLASS64 &&
	       bytes[EI_DATA] == ELFDATA2LSB && bytes[18] == EM_X86_64 && bytes[19] == 0;
}

static int read_headers(struct elf_file *file)
{
	Elf64_Ehdr header;
	int code = fetch(file, 0, &header, sizeof(header));

	if (code < 0)
		return code;
	if (header.e_phnum == 0)
		return 0; /* an object file, such as a kernel module */
	if (header.e_phnum > PROGRAM_HEADERS_MAX || header.e_phentsize != sizeof(Elf64_Phdr))
		return -EBADMSG;
	file->header_count = header.e_phnum;
	return fetch(file, header.e_phoff, file->headers, header.e_phnum * sizeof(Elf64_Phdr));
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
	char *text = NULL;
	size_t length = 0;

	if (size > STRING_MAX)
		size = STRING_MAX;
	while (length < size) {
		size_t step = size - length < STRING_STEP ? size - length : STRING_STEP;
		char *grown = realloc(text, length + step);
		int code = grown == NULL ? -ENOMEM : fetch(file, offset + length, grown + length, step);

		if (grown != NULL)
			text = grown;
		if (code < 0) {
			free(text);
			return code;
		}
		if (memchr(text + length, '\0', step) != NULL) {
			*copy = text;
			return 0;
		}
		length += step;
	}
	free(text);
	return -EBADMSG;
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

/* The dynamic section, with a DT_NULL behind its end: *entries is heap, and the caller's after success. */
static int load_dynamic(const struct elf_file *file, const Elf64_Phdr *section, Elf64_Dyn **entries)
{
	size_t count = section->p_filesz / sizeof(Elf64_Dyn);
	int code;

	if (!inside(file, section->p_offset, section->p_filesz))
		return -EBADMSG;
	if (count > DYNAMIC_MAX)
		count = DYNAMIC_MAX;
	*entries = calloc(count + 1, sizeof(**entries));
	if (*entries == NULL)
		return -ENOMEM;
	code = fetch(file, section->p_offset, *entries, count * sizeof(**entries));
	if (code < 0)
		free(*entries);
	return code;
}

struct strings {
	uint64_t offset, size; /* in the file */
};

/* Where DT_STRTAB is, as much of it as is in the file. */
static int find_strings(const struct elf_file *file, const Elf64_Dyn *entries, struct strings *strings)
{
	uint64_t address = 0, size = 0;

	for (const Elf64_Dyn *entry = entries; entry->d_tag != DT_NULL; entry++) {
		if (entry->d_tag == DT_STRTAB)
			address = entry->d_un.d_ptr;
		else if (entry->d_tag == DT_STRSZ)
			size = entry->d_un.d_val;
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

static int read_entries(const struct elf_file *file, const Elf64_Dyn *entries, struct elf_needs *needs)
{
	struct strings strings;
	int code = find_strings(file, entries, &strings);

	for (const Elf64_Dyn *entry = entries; code == 0 && entry->d_tag != DT_NULL; entry++) {
		if (entry->d_tag == DT_RUNPATH || entry->d_tag == DT_RPATH)
			code = read_search(file, &strings, entry, needs);
		if (entry->d_tag != DT_NEEDED)
			continue;
		if (needs->count == ELF_NEEDS_MAX)
			return -EBADMSG;
		code = dynamic_string(file, &strings, entry->d_un.d_val, &needs->libraries[needs->count]);
		if (code == 0)
			needs->count++;
	}
	return code;
}

static int read_dynamic(const struct elf_file *file, struct elf_needs *needs)
{
	const Elf64_Phdr *section = find_header(file, PT_DYNAMIC);
	Elf64_Dyn *entries;
	int code;

	if (section == NULL)
		return 0;
	code = load_dynamic(file, section, &entries);
	if (code < 0)
		return code;
	code = read_entries(file, entries, needs);
	free(entries);
	return code;
}

static int read_needs(struct elf_needs *needs, struct elf_file *file)
{
	uint8_t head[ELF_HEAD_SIZE];
	int code;

	*needs = (struct elf_needs){0};
	if (file->size < sizeof(head))
		return 0;
	code = fetch(file, 0, head, sizeof(head));
	if (code < 0 || !elf_is_x86_64(head, sizeof(head)))
		return code;
	code = read_headers(file);
	if (code == 0)
		code = read_interpreter(file, needs);
	if (code == 0)
		code = read_dynamic(file, needs);
	if (code < 0)
		elf_needs_release(needs);
	return code;
}

int elf_needs_read(struct elf_needs *needs, const uint8_t *bytes, size_t size)
{
	return read_needs(needs, &(struct elf_file){.bytes = bytes, .fd = -1, .size = size});
}

int elf_needs_read_file(struct elf_needs *needs, int fd, uint64_t size)
{
	return read_needs(needs, &(struct elf_file){.fd = fd, .size = size});
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
