/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vmlinux_image.h"

#include <errno.h>

#include "vmm/boot/vmlinux.h"

static int parse(struct vmlinux *vmlinux, const uint8_t *bytes, size_t size, uint64_t size_max, struct error *err)
{
	uint8_t *exact = malloc(size + (size == 0)); /* so that a sanitizer sees what reads beyond the file */
	int code;

	assert_non_null(exact);
	memcpy(exact, bytes, size);
	code = vmlinux_parse(vmlinux, exact, size, size_max, err);
	free(exact);
	return code;
}

static void a_kernel_is_taken_apart(void **state)
{
	uint8_t bytes[KERNEL_FILE_SIZE];
	struct vmlinux vmlinux;
	struct error err = {0};

	(void)state;
	kernel_write(bytes);
	assert_int_equal(vmlinux_parse(&vmlinux, bytes, sizeof(bytes), KERNEL_SIZE, &err), 0);
	assert_int_equal(vmlinux.segment_count, 2);
	assert_int_equal(vmlinux.segments[0].offset, 0);
	assert_int_equal(vmlinux.segments[0].size, KERNEL_TEXT_SIZE);
	assert_ptr_equal(vmlinux.segments[0].bytes, bytes + KERNEL_TEXT_AT);
	assert_int_equal(vmlinux.segments[1].offset, KERNEL_DATA_OFFSET);
	assert_int_equal(vmlinux.segments[1].size, KERNEL_DATA_SIZE);
	assert_ptr_equal(vmlinux.segments[1].bytes, bytes + KERNEL_DATA_AT);
	assert_true(vmlinux.physical == KERNEL_PHYSICAL && vmlinux.virtual == KERNEL_VIRTUAL);
	assert_int_equal(vmlinux.size, KERNEL_SIZE);
	assert_int_equal(vmlinux.entry, KERNEL_ENTRY);
	assert_int_equal(vmlinux.relocations.wide.count, 2);
	assert_int_equal(vmlinux.relocations.inverse.count, 1);
	assert_int_equal(vmlinux.relocations.narrow.count, 1);
}

/* Debian's 7.2 has its entry in the data's segment. */
static void the_entry_may_be_in_any_segment(void **state)
{
	const uint64_t entry = KERNEL_PHYSICAL + KERNEL_DATA_OFFSET + KERNEL_DATA_SIZE - 1;
	uint8_t bytes[KERNEL_FILE_SIZE];
	struct vmlinux vmlinux;
	struct error err = {0};

	(void)state;
	kernel_write(bytes);
	memcpy(bytes + offsetof(Elf64_Ehdr, e_entry), &entry, 8);
	assert_int_equal(parse(&vmlinux, bytes, sizeof(bytes), KERNEL_SIZE, &err), 0);
	assert_true(vmlinux.entry == entry - KERNEL_PHYSICAL);
}

static void no_relocations_are_none(void **state)
{
	uint8_t bytes[KERNEL_FILE_SIZE];
	struct vmlinux vmlinux;
	struct error err = {0};

	(void)state;
	kernel_write(bytes);
	assert_int_equal(parse(&vmlinux, bytes, KERNEL_RELOCATIONS_AT, KERNEL_SIZE, &err), 0);
	assert_true(relocations_none(&vmlinux.relocations));
	/* nor need there be sections: the last segment ends the file */
	memset(bytes + offsetof(Elf64_Ehdr, e_shnum), 0, 2);
	assert_int_equal(parse(&vmlinux, bytes, KERNEL_SECTIONS_AT, KERNEL_SIZE, &err), 0);
}

enum { DATA = sizeof(Elf64_Ehdr), TEXT = DATA + sizeof(Elf64_Phdr) };
#define FIELD(type, field) offsetof(type, field), sizeof(((type *)NULL)->field)
#define PHDR(field)        FIELD(Elf64_Phdr, field)

static void a_spoilt_field_is_refused(void **state)
{
	static const struct {
		size_t at, width;
		uint64_t value;
		const char *why;
	} SPOILT[] = {
		{0, 1, 0, "not an ELF file"},
		{EI_CLASS, 1, ELFCLASS32, "not for x86-64"},
		{EI_DATA, 1, ELFDATA2MSB, "not for x86-64"},
		{FIELD(Elf64_Ehdr, e_machine), EM_AARCH64, "not for x86-64"},
		{FIELD(Elf64_Ehdr, e_type), ET_REL, "not linked"},
		{FIELD(Elf64_Ehdr, e_phentsize), 55, "its tables have entries of another size"},
		{FIELD(Elf64_Ehdr, e_shentsize), 0, "its tables have entries of another size"},
		{FIELD(Elf64_Ehdr, e_phnum), 0, "it has no segment to load"},
		{FIELD(Elf64_Ehdr, e_phnum), 0xffff, "a table is out of bounds"},
		{FIELD(Elf64_Ehdr, e_phoff), UINT64_MAX - 8, "a table is out of bounds"},
		{FIELD(Elf64_Ehdr, e_phoff), KERNEL_FILE_SIZE - 64, "a table is out of bounds"},
		{FIELD(Elf64_Ehdr, e_shoff), KERNEL_FILE_SIZE - 64, "a table is out of bounds"},
		{FIELD(Elf64_Ehdr, e_shoff), UINT64_MAX, "a table is out of bounds"},
		{FIELD(Elf64_Ehdr, e_shoff), KERNEL_SECTIONS_AT + 4, "its relocations are damaged"},
		{FIELD(Elf64_Ehdr, e_entry), KERNEL_PHYSICAL - 1, "its entry is out of bounds"},
		{FIELD(Elf64_Ehdr, e_entry), KERNEL_PHYSICAL + KERNEL_TEXT_SIZE, "its entry is out of bounds"},
		{FIELD(Elf64_Ehdr, e_entry), KERNEL_VIRTUAL, "its entry is out of bounds"},
		{TEXT + PHDR(p_type), PT_NOTE, "it is not linked for where Linux runs|its entry is out of bounds"},
		{TEXT + PHDR(p_offset), KERNEL_FILE_SIZE - KERNEL_TEXT_SIZE + 1, "a segment is out of bounds"},
		{TEXT + PHDR(p_offset), UINT64_MAX, "a segment is out of bounds"},
		{TEXT + PHDR(p_filesz), UINT64_MAX, "a segment is out of bounds"},
		{TEXT + PHDR(p_filesz), KERNEL_TEXT_SIZE + 1, "a segment is larger in the file than in memory"},
		{TEXT + PHDR(p_memsz), KERNEL_DATA_OFFSET + 1, "two segments overlap"},
		{TEXT + PHDR(p_memsz), UINT64_MAX, "a segment's address is out of bounds"},
		{TEXT + PHDR(p_paddr), UINT64_MAX, "a segment's address is out of bounds"},
		{TEXT + PHDR(p_paddr), KERNEL_PHYSICAL + 4096, "it is not linked for where Linux runs"},
		{TEXT + PHDR(p_paddr), KERNEL_PHYSICAL + KERNEL_DATA_OFFSET, "two segments overlap"},
		{TEXT + PHDR(p_paddr), 0, "it is larger than the header of its bzImage says"},
		{TEXT + PHDR(p_vaddr), KERNEL_VIRTUAL + 4096, "it is not linked for where Linux runs"},
		{TEXT + PHDR(p_vaddr), KERNEL_PHYSICAL, "it is not linked for where Linux runs"},
		{TEXT + PHDR(p_vaddr), 0xffffffffc0000000, "it is not linked for where Linux runs"},
		{TEXT + PHDR(p_vaddr), 0xffffffffbfe00000, "it is not linked for where Linux runs"},
		{TEXT + PHDR(p_align), 4096, "a segment is not aligned to 2 MiB"},
		{DATA + PHDR(p_memsz), KERNEL_SIZE - KERNEL_DATA_OFFSET + 1,
		 "it is larger than the header of its bzImage says"},
		{DATA + PHDR(p_memsz), 32, "a segment is larger in the file than in memory"},
		{KERNEL_RELOCATIONS_AT, 4, 1, "its relocations are damaged"},
		{KERNEL_RELOCATIONS_AT + 4, 4, 0, "its relocations are damaged"},
		{KERNEL_RELOCATIONS_AT + 4, 4, 0x81000000 + KERNEL_SIZE - 7, "a relocation is out of bounds"},
		{KERNEL_RELOCATIONS_AT + 4, 4, 0x80ffffff, "a relocation is out of bounds"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(SPOILT) / sizeof(SPOILT[0]); i++) {
		uint8_t bytes[KERNEL_FILE_SIZE];
		struct vmlinux vmlinux;
		struct error err = {0};

		kernel_write(bytes);
		memcpy(bytes + SPOILT[i].at, &SPOILT[i].value, SPOILT[i].width);
		if (parse(&vmlinux, bytes, sizeof(bytes), KERNEL_SIZE, &err) != -EBADMSG ||
		    err.status != EXIT_STATUS_IMAGE || strstr(err.text, "the unpacked kernel: ") != err.text ||
		    strstr(SPOILT[i].why, err.text + strlen("the unpacked kernel: ")) == NULL)
			fail_msg("%zu: \"%s\", not \"%s\"", i, err.text, SPOILT[i].why);
	}
}

static void a_cut_off_file_is_refused(void **state)
{
	uint8_t bytes[KERNEL_FILE_SIZE];

	(void)state;
	kernel_write(bytes);
	for (size_t size = 0; size < KERNEL_FILE_SIZE; size++) {
		struct vmlinux vmlinux;
		struct error err = {0};
		/* that nothing follows the ELF file cannot be seen, nor that the last places are missing */
		bool whole = size == KERNEL_RELOCATIONS_AT || (size >= KERNEL_RELOCATIONS_AT + 16 && size % 4 == 0);

		assert_int_equal(parse(&vmlinux, bytes, size, KERNEL_SIZE, &err), whole ? 0 : -EBADMSG);
	}
}

static void there_are_at_most_16_segments(void **state)
{
	uint8_t bytes[sizeof(Elf64_Ehdr) + 17 * sizeof(Elf64_Phdr)] = {0};
	Elf64_Ehdr header;
	uint8_t kernel[KERNEL_FILE_SIZE];
	struct vmlinux vmlinux;
	struct error err = {0};

	(void)state;
	kernel_write(kernel);
	memcpy(&header, kernel, sizeof(header));
	header.e_shnum = 0;
	for (uint16_t count = 16; count <= 17; count++) {
		header.e_phnum = count;
		memcpy(bytes, &header, sizeof(header));
		for (uint64_t i = 0; i < count; i++) {
			const Elf64_Phdr segment = {.p_type = PT_LOAD,
						    .p_vaddr = KERNEL_VIRTUAL + i * 0x1000,
						    .p_paddr = KERNEL_PHYSICAL + i * 0x1000,
						    .p_filesz = 0x50,
						    .p_memsz = 0x1000,
						    .p_align = 0x200000};

			memcpy(bytes + sizeof(header) + i * sizeof(segment), &segment, sizeof(segment));
		}
		assert_int_equal(
			vmlinux_parse(&vmlinux, bytes, sizeof(header) + count * sizeof(Elf64_Phdr), 0x20000, &err),
			count == 16 ? 0 : -EBADMSG);
	}
	assert_string_equal(err.text, "the unpacked kernel: it has more than 16 segments");
}

static void segments_go_to_their_places(void **state)
{
	uint8_t bytes[KERNEL_FILE_SIZE], *image = malloc(KERNEL_SIZE);
	struct vmlinux vmlinux;
	struct error err = {0};
	uint64_t wide;
	uint32_t narrow;

	(void)state;
	assert_non_null(image);
	kernel_write(bytes);
	assert_int_equal(vmlinux_parse(&vmlinux, bytes, sizeof(bytes), KERNEL_SIZE, &err), 0);
	memset(image, 0xa5, KERNEL_SIZE);
	vmlinux_load(&vmlinux, image, false, 0);
	assert_memory_equal(image, bytes + KERNEL_TEXT_AT, KERNEL_TEXT_SIZE);
	assert_memory_equal(image + KERNEL_DATA_OFFSET, bytes + KERNEL_DATA_AT, KERNEL_DATA_SIZE);
	for (size_t i = KERNEL_TEXT_SIZE; i < KERNEL_SIZE; i++) {
		if (i < KERNEL_DATA_OFFSET || i >= KERNEL_DATA_OFFSET + KERNEL_DATA_SIZE)
			assert_int_equal(image[i], 0xa5);
	}
	vmlinux_load(&vmlinux, image, false, 0x1400000);
	memcpy(&wide, image + KERNEL_WIDE, 8);
	assert_true(wide == KERNEL_VIRTUAL + 0x1400123);
	memcpy(&wide, image + KERNEL_WIDE_2, 8);
	assert_true(wide == KERNEL_VIRTUAL + KERNEL_SIZE + 0x1400000);
	memcpy(&narrow, image + KERNEL_NARROW, 4);
	assert_true(narrow == 0x82400456);
	memcpy(&narrow, image + KERNEL_INVERSE, 4);
	assert_true(narrow == 0x1000 - 0x1400000u);
	free(image);
}

static bool is_all(const uint8_t *bytes, uint8_t value, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != value)
			return false;
	}
	return true;
}

/* Pages are the image's, wherever a segment begins and ends in one; any byte but 0 makes a page worth its copy. */
static void pages_of_zeros_are_not_copied(void **state)
{
	enum { PAGE = 4096, START = PAGE - 100, SIZE = 100 + 3 * PAGE + 13, IMAGE = 6 * PAGE };
	static uint8_t bytes[SIZE], image[IMAGE];
	struct vmlinux vmlinux = {.segments = {{START, bytes, SIZE}}, .segment_count = 1, .size = IMAGE};

	(void)state;
	bytes[100 + 2 * PAGE - 1] = 1; /* the last one of a page */
	bytes[SIZE - 1] = 2;           /* less than eight from a word */
	memset(image, 0xa5, IMAGE);
	vmlinux_load(&vmlinux, image, true, 0);
	assert_true(is_all(image, 0xa5, 2 * PAGE));
	assert_memory_equal(image + 2 * PAGE, bytes + 100 + PAGE, PAGE);
	assert_true(is_all(image + 3 * PAGE, 0xa5, PAGE));
	assert_memory_equal(image + 4 * PAGE, bytes + 100 + 3 * PAGE, 13);
	assert_true(is_all(image + 4 * PAGE + 13, 0xa5, 2 * PAGE - 13));

	vmlinux_load(&vmlinux, image, false, 0);
	assert_true(is_all(image, 0xa5, START));
	assert_memory_equal(image + START, bytes, SIZE);
	assert_true(is_all(image + 4 * PAGE + 13, 0xa5, 2 * PAGE - 13));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kernel_is_taken_apart),     cmocka_unit_test(the_entry_may_be_in_any_segment),
		cmocka_unit_test(no_relocations_are_none),     cmocka_unit_test(a_spoilt_field_is_refused),
		cmocka_unit_test(a_cut_off_file_is_refused),   cmocka_unit_test(there_are_at_most_16_segments),
		cmocka_unit_test(segments_go_to_their_places), cmocka_unit_test(pages_of_zeros_are_not_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
