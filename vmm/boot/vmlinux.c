/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/vmlinux.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "vmm/base/range.h"

static int bad(struct error *err, const char *why)
{
	return error_set(err, EXIT_STATUS_IMAGE, EBADMSG, "the unpacked kernel: %s", why);
}

static int check_header(const Elf64_Ehdr *header, struct error *err)
{
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
		return bad(err, "not an ELF file");
	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
	    header->e_machine != EM_X86_64)
		return bad(err, "not for x86-64");
	if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
		return bad(err, "not linked");
	if (header->e_phentsize != sizeof(Elf64_Phdr) ||
	    (header->e_shnum > 0 && header->e_shentsize != sizeof(Elf64_Shdr)))
		return bad(err, "its tables have entries of another size");
	return 0;
}

/* Moves *end behind the ELF file's tables. Only they and the segments tell where the file ends. */
static int find_end(const Elf64_Ehdr *header, size_t size, uint64_t *end, struct error *err)
{
	const struct range file = {0, size};
	const struct range tables[] = {
		{header->e_phoff, (uint64_t)header->e_phnum * sizeof(Elf64_Phdr)},
		{header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr)},
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (tables[i].size == 0)
			continue;
		if (!range_contains(file, tables[i]))
			return bad(err, "a table is out of bounds");
		if (range_end(tables[i]) > *end)
			*end = range_end(tables[i]);
	}
	return 0;
}

/* Where a segment goes in memory, and its bytes. */
struct placed {
	struct range physical;
	uint64_t virtual;
	const uint8_t *bytes;
	uint64_t size;
};

static int take_segment(const Elf64_Phdr *segment, const uint8_t *bytes, size_t size, struct placed *placed,
			struct error *err)
{
	const struct range in_file = {segment->p_offset, segment->p_filesz};

	*placed = (struct placed){{segment->p_paddr, segment->p_memsz}, segment->p_vaddr, NULL, segment->p_filesz};
	if (!range_contains((struct range){0, size}, in_file))
		return bad(err, "a segment is out of bounds");
	if (segment->p_filesz > segment->p_memsz)
		return bad(err, "a segment is larger in the file than in memory");
	if (!range_is_valid(placed->physical))
		return bad(err, "a segment's address is out of bounds");
	if (segment->p_align % VMLINUX_ALIGNMENT != 0)
		return bad(err, "a segment is not aligned to 2 MiB");
	placed->bytes = bytes + segment->p_offset;
	return 0;
}

/* Enters a segment by its address. */
static int insert(struct placed *segments, size_t *count, const struct placed *segment, struct error *err)
{
	size_t i = *count;

	if (i == VMLINUX_SEGMENTS_MAX)
		return bad(err, "it has more than 16 segments");
	for (size_t j = 0; j < i; j++) {
		if (range_overlaps(segments[j].physical, segment->physical))
			return bad(err, "two segments overlap");
	}
	for (; i > 0 && segments[i - 1].physical.start > segment->physical.start; i--)
		segments[i] = segments[i - 1];
	segments[i] = *segment;
	(*count)++;
	return 0;
}

static int take_segments(const Elf64_Ehdr *header, const uint8_t *bytes, size_t size, struct placed *segments,
			 size_t *count, uint64_t *end, struct error *err)
{
	for (size_t i = 0; i < header->e_phnum; i++) {
		struct placed placed;
		Elf64_Phdr segment;
		int code;

		memcpy(&segment, bytes + header->e_phoff + i * sizeof(segment), sizeof(segment));
		if (segment.p_type != PT_LOAD || segment.p_memsz == 0)
			continue;
		code = take_segment(&segment, bytes, size, &placed, err);
		if (code == 0)
			code = insert(segments, count, &placed, err);
		if (code < 0)
			return code;
		if (segment.p_offset + segment.p_filesz > *end)
			*end = segment.p_offset + segment.p_filesz;
	}
	return *count > 0 ? 0 : bad(err, "it has no segment to load");
}

static int take_image(struct vmlinux *vmlinux, const struct placed *segments, uint64_t entry, uint64_t size_max,
		      struct error *err)
{
	const struct placed *first = &segments[0], *last = &segments[vmlinux->segment_count - 1];
	bool entered = false;

	vmlinux->physical = first->physical.start;
	vmlinux->virtual = first->virtual;
	vmlinux->size = range_end(last->physical) - first->physical.start;
	if (vmlinux->size > size_max)
		return bad(err, "it is larger than the header of its bzImage says");
	if (!is_aligned(vmlinux->physical, VMLINUX_ALIGNMENT) || !is_aligned(vmlinux->virtual, VMLINUX_ALIGNMENT) ||
	    !range_contains((struct range){VMLINUX_MAP, VMLINUX_MAP_SIZE},
			    (struct range){vmlinux->virtual, vmlinux->size}))
		return bad(err, "it is not linked for where Linux runs");
	for (size_t i = 0; i < vmlinux->segment_count; i++) {
		const struct range code = {segments[i].physical.start, segments[i].size};

		vmlinux->segments[i] =
			(struct vmlinux_segment){code.start - vmlinux->physical, segments[i].bytes, code.size};
		entered = entered || range_holds(code, entry);
	}
	/* a physical address, as it is entered with one-to-one paging */
	vmlinux->entry = entry - vmlinux->physical;
	return entered ? 0 : bad(err, "its entry is out of bounds");
}

int vmlinux_parse(struct vmlinux *vmlinux, const uint8_t *bytes, size_t size, uint64_t size_max, struct error *err)
{
	struct placed segments[VMLINUX_SEGMENTS_MAX] = {0};
	uint64_t end = sizeof(Elf64_Ehdr);
	Elf64_Ehdr header;
	int code;

	*vmlinux = (struct vmlinux){0};
	if (size < sizeof(header))
		return bad(err, "not an ELF file");
	memcpy(&header, bytes, sizeof(header));
	code = check_header(&header, err);
	if (code == 0)
		code = find_end(&header, size, &end, err);
	if (code == 0)
		code = take_segments(&header, bytes, size, segments, &vmlinux->segment_count, &end, err);
	if (code == 0)
		code = take_image(vmlinux, segments, header.e_entry, size_max, err);
	if (code < 0)
		return code;
	if (relocations_find(&vmlinux->relocations, bytes + end, size - (size_t)end) < 0)
		return bad(err, "its relocations are damaged");
	if (!relocations_are_within(&vmlinux->relocations, vmlinux->virtual, vmlinux->size))
		return bad(err, "a relocation is out of bounds");
	return 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	uint64_t word = 0;

	for (; size >= sizeof(word) && word == 0; bytes += sizeof(word), size -= sizeof(word))
		memcpy(&word, bytes, sizeof(word));
	for (; size > 0 && word == 0; bytes++, size--)
		word = *bytes;
	return word == 0;
}

/* A page of the image at a time: that is what memory is given by. */
static void copy_segment(const struct vmlinux_segment *segment, uint8_t *image, bool zeroed)
{
	size_t size;

	for (uint64_t done = 0; done < segment->size; done += size) {
		const uint64_t at = segment->offset + done, rest = segment->size - done;

		size = (size_t)(align_down(at, 4 * KIB) + 4 * KIB - at);
		if (size > rest)
			size = (size_t)rest;
		if (!zeroed || !is_zero(segment->bytes + done, size))
			memcpy(image + at, segment->bytes + done, size);
	}
}

void vmlinux_load(const struct vmlinux *vmlinux, uint8_t *image, bool zeroed, uint64_t delta)
{
	for (size_t i = 0; i < vmlinux->segment_count; i++)
		copy_segment(&vmlinux->segments[i], image, zeroed);
	if (delta != 0)
		relocations_apply(&vmlinux->relocations, image, vmlinux->virtual, delta);
}
