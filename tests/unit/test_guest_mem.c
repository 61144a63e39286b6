/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/mman.h>

#include "vmm/memory/guest_mem.h"

static bool out_of_memory, out_of_addresses;

void *__real_reallocarray(void *block, size_t count, size_t size);
void *__wrap_reallocarray(void *block, size_t count, size_t size);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);

void *__wrap_reallocarray(void *block, size_t count, size_t size)
{
	return out_of_memory ? NULL : __real_reallocarray(block, count, size);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (out_of_addresses) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(at, size, protection, flags, fd, offset);
}

static void reserve(struct guest_mem *mem, uint64_t start, uint64_t size)
{
	struct error err = {.text = ""};
	int code = guest_mem_reserve(mem, (struct range){start, size}, &err);

	assert_string_equal(err.text, "");
	assert_int_equal(code, 0);
}

/* Puts memory into a part of a run, as a backend would. */
static void back(const struct guest_mem *mem, uint64_t start, uint64_t size)
{
	void *at = guest_mem_at(mem, start, size);

	assert_non_null(at);
	assert_ptr_equal(__real_mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 at);
}

static void hva_is_congruent_to_gpa(void **state)
{
	static const uint64_t starts[] = {0x1000, 2 * MIB, 3 * GIB / 2, 4 * GIB, 5 * TIB + 6 * MIB};
	struct guest_mem mem = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		uint8_t *at;

		reserve(&mem, starts[i], 64 * KIB);
		at = guest_mem_at(&mem, starts[i], 64 * KIB);
		assert_non_null(at);
		assert_int_equal(((uintptr_t)at - starts[i]) % GIB, 0);
		assert_true(at >= (uint8_t *)mem.runs[i].reservation);
		assert_true(at + 64 * KIB < (uint8_t *)mem.runs[i].reservation + mem.runs[i].reserved);
	}
	guest_mem_release(&mem);
	assert_int_equal(mem.count, 0);
	guest_mem_release(&mem);
	guest_mem_release(NULL);
}

static void only_whole_ranges_of_one_run_are_found(void **state)
{
	struct guest_mem mem = {0};

	(void)state;
	assert_null(guest_mem_at(&mem, 0, 0));
	/* out of order, with a gap, and two that touch; more than the first allocation holds */
	for (uint64_t i = 0; i < 9; i++)
		reserve(&mem, 8 * GIB - i * MIB, 64 * KIB);
	reserve(&mem, 0, MIB);
	reserve(&mem, MIB, MIB);
	assert_ptr_equal(guest_mem_at(&mem, 0, MIB), mem.runs[0].hva);
	assert_ptr_equal(guest_mem_at(&mem, MIB - 1, 1), mem.runs[0].hva + MIB - 1);
	assert_ptr_equal(guest_mem_at(&mem, MIB, 1), mem.runs[1].hva);
	assert_null(guest_mem_at(&mem, MIB - 1, 2)); /* two runs are two mappings */
	assert_non_null(guest_mem_at(&mem, 2 * MIB - 1, 0));
	assert_null(guest_mem_at(&mem, 2 * MIB, 0));
	assert_null(guest_mem_at(&mem, 2 * MIB, 1));
	assert_null(guest_mem_at(&mem, 0, 2 * MIB));
	assert_null(guest_mem_at(&mem, 1, UINT64_MAX));
	assert_null(guest_mem_at(&mem, UINT64_MAX, 1));
	assert_null(guest_mem_at(&mem, UINT64_MAX, UINT64_MAX));
	assert_null(guest_mem_at(&mem, 4 * GIB, 1));
	for (uint64_t i = 0; i < 9; i++)
		assert_non_null(guest_mem_at(&mem, 8 * GIB - i * MIB, 64 * KIB));
	for (size_t i = 1; i < mem.count; i++)
		assert_true(range_end(mem.runs[i - 1].gpa) <= mem.runs[i].gpa.start);
	guest_mem_release(&mem);
}

static void copies_are_whole_or_not_at_all(void **state)
{
	struct guest_mem mem = {0};
	char bytes[8] = "abcdefg", read[8] = "";

	(void)state;
	reserve(&mem, MIB, 64 * KIB);
	back(&mem, MIB, 64 * KIB);
	assert_int_equal(guest_mem_write(&mem, MIB + 5, bytes, sizeof(bytes)), 0);
	assert_int_equal(guest_mem_read(&mem, MIB + 5, read, sizeof(read)), 0);
	assert_string_equal(read, "abcdefg");
	assert_int_equal(guest_mem_write(&mem, MIB + 64 * KIB - 7, bytes, sizeof(bytes)), -EFAULT);
	assert_int_equal(*(uint8_t *)guest_mem_at(&mem, MIB + 64 * KIB - 7, 1), 0);
	assert_int_equal(guest_mem_read(&mem, MIB - 1, read, 1), -EFAULT);
	assert_string_equal(read, "abcdefg");
	assert_int_equal(guest_mem_write(&mem, MIB, NULL, 0), 0);
	assert_int_equal(guest_mem_read(&mem, MIB, NULL, 0), 0);
	assert_int_equal(guest_mem_read(&mem, 0, NULL, 0), -EFAULT);
	guest_mem_release(&mem);
}

static void reserve_reports_what_is_wrong(void **state)
{
	struct guest_mem mem = {0};
	struct error err = {.text = ""};

	(void)state;
	reserve(&mem, MIB, MIB);
	assert_int_equal(guest_mem_reserve(&mem, (struct range){2 * MIB - 4 * KIB, MIB}, &err), -EEXIST);
	assert_int_equal(err.status, EXIT_STATUS_INTERNAL);
	assert_string_equal(err.text, "guest memory 0x1ff000-0x2fefff overlaps 0x100000-0x1fffff");
	assert_int_equal(guest_mem_reserve(&mem, (struct range){0, UINT64_C(1) << 51}, &err), -EEXIST);
	assert_int_equal(guest_mem_reserve(&mem, (struct range){GIB, UINT64_C(1) << 51}, &err), -ENOMEM);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text, "cannot reserve 2147483648 MiB of address space for guest memory at 0x40000000: "
				      "Cannot allocate memory; use less memory or lift the limit (ulimit -v)");
	out_of_addresses = true;
	assert_int_equal(guest_mem_reserve(&mem, (struct range){GIB, MIB}, &err), -ENOMEM);
	out_of_addresses = false;
	assert_non_null(strstr(err.text, "cannot reserve 1 MiB of address space"));
	assert_int_equal(mem.count, 1);
	guest_mem_release(&mem);
	out_of_memory = true;
	assert_int_equal(guest_mem_reserve(&mem, (struct range){GIB, MIB}, &err), -ENOMEM);
	out_of_memory = false;
	assert_int_equal(mem.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hva_is_congruent_to_gpa),
		cmocka_unit_test(only_whole_ranges_of_one_run_are_found),
		cmocka_unit_test(copies_are_whole_or_not_at_all),
		cmocka_unit_test(reserve_reports_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
