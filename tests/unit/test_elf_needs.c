/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/elf_writer.h"
#include "tests/unit/kernel_image.h"
#include "vmm/base/io.h"
#include "vmm/boot/elf_needs.h"

static const struct elf_spec PROGRAM = {
	.interpreter = "/lib64/ld.so",
	.runpath = "$ORIGIN/../lib:/opt/lib",
	.needed = {"libone.so.1", "libtwo.so.2"},
};

static int read_from_file(struct elf_needs *needs, const uint8_t *bytes, size_t size)
{
	struct memory_file file = memory_file_new(bytes, size);
	int code = elf_needs_read_file(needs, file.fd, size);

	close(file.fd);
	return code;
}

/* Both from a file, and from a heap block of exactly that size, so that ASan sees each step outside of it. */
static int read_exactly(struct elf_needs *needs, const uint8_t *bytes, size_t size)
{
	uint8_t *block = malloc(size == 0 ? 1 : size);
	int code;

	assert_non_null(block);
	memcpy(block, bytes, size);
	code = elf_needs_read(needs, block, size);
	free(block);
	if (code == 0)
		elf_needs_release(needs);
	assert_int_equal(read_from_file(needs, bytes, size), code);
	return code;
}

static void program_is_read(void **state)
{
	uint8_t file[ELF_FILE_SIZE];
	struct elf_needs needs;

	(void)state;
	elf_write(file, &PROGRAM);
	assert_int_equal(read_exactly(&needs, file, sizeof(file)), 0);
	assert_string_equal(needs.interpreter, "/lib64/ld.so");
	assert_string_equal(needs.search, "$ORIGIN/../lib:/opt/lib");
	assert_false(needs.inherited);
	assert_int_equal(needs.count, 2);
	assert_string_equal(needs.libraries[0], "libone.so.1");
	assert_string_equal(needs.libraries[1], "libtwo.so.2");
	elf_needs_release(&needs);
	assert_null(needs.interpreter);
	elf_needs_release(NULL);
}

static void rpath_is_inherited_unless_runpath_is_there(void **state)
{
	const struct elf_spec old = {.rpath = "/old"};
	const struct elf_spec both = {.rpath = "/old", .runpath = "/new"};
	uint8_t file[ELF_FILE_SIZE];
	struct elf_needs needs;
	Elf64_Dyn first;

	(void)state;
	elf_write(file, &old);
	assert_int_equal(read_exactly(&needs, file, sizeof(file)), 0);
	assert_null(needs.interpreter);
	assert_string_equal(needs.search, "/old");
	assert_true(needs.inherited);
	elf_needs_release(&needs);
	elf_write(file, &both);
	assert_int_equal(read_exactly(&needs, file, sizeof(file)), 0);
	assert_string_equal(needs.search, "/new");
	assert_false(needs.inherited);
	elf_needs_release(&needs);
	/* whichever comes first */
	memcpy(&first, file + ELF_DYNAMIC_AT, sizeof(first));
	memmove(file + ELF_DYNAMIC_AT, file + ELF_DYNAMIC_AT + sizeof(first), sizeof(first));
	memcpy(file + ELF_DYNAMIC_AT + sizeof(first), &first, sizeof(first));
	assert_int_equal(read_exactly(&needs, file, sizeof(file)), 0);
	assert_string_equal(needs.search, "/new");
	assert_false(needs.inherited);
	elf_needs_release(&needs);
}

static void this_very_program_is_read(void **state)
{
	struct buf file = {0};
	struct elf_needs needs;
	struct error err;
	bool has_cmocka = false;

	(void)state;
	assert_int_equal(io_read_file("/proc/self/exe", (size_t)1 << 28, &file, EXIT_STATUS_HOST, &err), 0);
	assert_int_equal(elf_needs_read(&needs, file.data, file.size), 0);
	assert_string_equal(needs.interpreter, "/lib64/ld-linux-x86-64.so.2");
	for (size_t i = 0; i < needs.count; i++)
		has_cmocka |= strcmp(needs.libraries[i], "libcmocka.so.0") == 0;
	assert_true(has_cmocka);
	elf_needs_release(&needs);
	buf_release(&file);
}

static void expect_nothing(const uint8_t *bytes, size_t size)
{
	struct elf_needs needs;

	assert_int_equal(read_exactly(&needs, bytes, size), 0);
	assert_null(needs.interpreter);
	assert_null(needs.search);
	assert_int_equal(needs.count, 0);
}

static void other_files_need_nothing(void **state)
{
	uint8_t file[ELF_FILE_SIZE];
	Elf64_Phdr *segments = (Elf64_Phdr *)(void *)(file + sizeof(Elf64_Ehdr));
	Elf64_Ehdr *header = (Elf64_Ehdr *)(void *)file;

	(void)state;
	expect_nothing((const uint8_t *)"", 0);
	expect_nothing((const uint8_t *)"#!/bin/sh\necho this is a script\n", 32);
	elf_write(file, &PROGRAM);
	expect_nothing(file, ELF_HEAD_SIZE - 1);
	header->e_ident[EI_CLASS] = ELFCLASS32;
	expect_nothing(file, sizeof(file));
	elf_write(file, &PROGRAM);
	header->e_machine = EM_AARCH64;
	expect_nothing(file, sizeof(file));
	elf_write(file, &PROGRAM);
	header->e_phnum = 0; /* a kernel module */
	expect_nothing(file, sizeof(file));
	elf_write(file, &PROGRAM);
	segments[1].p_type = PT_NOTE; /* a static program: no dynamic section, no interpreter */
	segments[2].p_type = PT_NOTE;
	expect_nothing(file, sizeof(file));
}

static void expect_bad(const uint8_t *file)
{
	struct elf_needs needs;

	assert_int_equal(read_exactly(&needs, file, ELF_FILE_SIZE), -EBADMSG);
	assert_null(needs.interpreter);
	assert_null(needs.search);
	assert_int_equal(needs.count, 0);
}

static void offsets_outside_are_refused(void **state)
{
	_Alignas(16) uint8_t file[ELF_FILE_SIZE];
	Elf64_Ehdr *header = (Elf64_Ehdr *)(void *)file;
	Elf64_Phdr *segments = (Elf64_Phdr *)(void *)(file + sizeof(Elf64_Ehdr));
	Elf64_Dyn *dynamic = (Elf64_Dyn *)(void *)(file + ELF_DYNAMIC_AT);
	static const uint64_t far[] = {ELF_FILE_SIZE, ELF_FILE_SIZE - 1, UINT64_MAX, UINT64_MAX - 100,
				       UINT64_C(1) << 63};

	(void)state;
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		elf_write(file, &PROGRAM);
		header->e_phoff = far[i];
		expect_bad(file);
		elf_write(file, &PROGRAM);
		segments[1].p_offset = far[i];
		expect_bad(file);
		elf_write(file, &PROGRAM);
		segments[2].p_offset = far[i];
		expect_bad(file);
		elf_write(file, &PROGRAM);
		segments[2].p_filesz = far[i];
		expect_bad(file);
		elf_write(file, &PROGRAM);
		dynamic[0].d_un.d_val = far[i]; /* the first DT_NEEDED */
		expect_bad(file);
		elf_write(file, &PROGRAM);
		segments[0].p_filesz = far[i] == ELF_FILE_SIZE ? ELF_FILE_SIZE + 1 : far[i];
		if (far[i] != ELF_FILE_SIZE - 1)
			expect_bad(file); /* the segment with the strings is not all there */
	}
	elf_write(file, &PROGRAM);
	header->e_phentsize = 8;
	expect_bad(file);
	elf_write(file, &PROGRAM);
	header->e_phnum = 0xffff;
	expect_bad(file);
	elf_write(file, &PROGRAM);
	segments[2].p_filesz = 3; /* "/li" without its zero */
	expect_bad(file);
}

static void too_many_libraries_are_refused(void **state)
{
	size_t count = ELF_NEEDS_MAX + 1;
	size_t size = ELF_FILE_SIZE + count * sizeof(Elf64_Dyn);
	uint8_t *file = calloc(1, size);
	const Elf64_Dyn entry = {.d_tag = DT_NEEDED, .d_un.d_val = 1};
	Elf64_Phdr dynamic;
	struct elf_needs needs;
	uint8_t tail[4 * sizeof(Elf64_Dyn)];

	(void)state;
	assert_non_null(file);
	elf_write(file, &PROGRAM);
	/* a new dynamic section behind the file: the many, then the tags for the strings */
	memcpy(tail, file + ELF_DYNAMIC_AT + 3 * sizeof(Elf64_Dyn), sizeof(tail));
	for (size_t i = 0; i < count; i++)
		memcpy(file + ELF_FILE_SIZE + i * sizeof(entry), &entry, sizeof(entry));
	memcpy(&dynamic, file + sizeof(Elf64_Ehdr) + sizeof(dynamic), sizeof(dynamic));
	dynamic.p_offset = ELF_FILE_SIZE - sizeof(tail);
	dynamic.p_filesz = sizeof(tail) + count * sizeof(Elf64_Dyn);
	memcpy(file + dynamic.p_offset, tail, 2 * sizeof(Elf64_Dyn)); /* DT_STRTAB and DT_STRSZ first */
	memcpy(file + dynamic.p_offset + 2 * sizeof(Elf64_Dyn), &entry, sizeof(entry));
	memcpy(file + dynamic.p_offset + 3 * sizeof(Elf64_Dyn), &entry, sizeof(entry));
	memcpy(file + sizeof(Elf64_Ehdr) + sizeof(dynamic), &dynamic, sizeof(dynamic));
	assert_int_equal(read_exactly(&needs, file, size), -EBADMSG);
	free(file);
}

/* Nothing but the result may differ: ASan watches every read. */
static void cut_and_damaged_files_do_no_harm(void **state)
{
	uint8_t file[ELF_FILE_SIZE];
	struct elf_needs needs;

	(void)state;
	elf_write(file, &PROGRAM);
	for (size_t size = 0; size < sizeof(file); size++) {
		if (read_exactly(&needs, file, size) == 0)
			elf_needs_release(&needs);
	}
	for (size_t i = 0; i < sizeof(file); i++) {
		static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};

		for (size_t j = 0; j < sizeof(values); j++) {
			uint8_t before = file[i];

			file[i] = values[j];
			if (read_exactly(&needs, file, sizeof(file)) == 0)
				elf_needs_release(&needs);
			file[i] = before;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(program_is_read),
		cmocka_unit_test(rpath_is_inherited_unless_runpath_is_there),
		cmocka_unit_test(this_very_program_is_read),
		cmocka_unit_test(other_files_need_nothing),
		cmocka_unit_test(offsets_outside_are_refused),
		cmocka_unit_test(too_many_libraries_are_refused),
		cmocka_unit_test(cut_and_damaged_files_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
