/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/guest_mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The largest page of KVM's second-level tables: Linux maps with it only where HVA and GPA agree in the bits below. */
#define CONGRUENCE GIB

void guest_mem_release(struct guest_mem *mem)
{
	if (mem == NULL)
		return;
	for (size_t i = 0; i < mem->count; i++)
		munmap(mem->runs[i].reservation, mem->runs[i].reserved);
	free(mem->runs);
	*mem = (struct guest_mem){0};
}

/* The first run that ends behind gpa, or count. */
static size_t first_ending_after(const struct guest_mem *mem, uint64_t gpa)
{
	size_t low = 0, high = mem->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (range_end(mem->runs[middle].gpa) > gpa)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int grow(struct guest_mem *mem)
{
	size_t capacity = mem->capacity == 0 ? 8 : 2 * mem->capacity;
	struct guest_mem_run *runs;

	if (mem->count < mem->capacity)
		return 0;
	runs = reallocarray(mem->runs, capacity, sizeof(*runs));
	if (runs == NULL)
		return -ENOMEM;
	mem->runs = runs;
	mem->capacity = capacity;
	return 0;
}

static int reserve_address_space(struct guest_mem_run *run, struct error *err)
{
	uintptr_t start;

	/* One GiB more, to slide the run to congruence; at least a page of it stays behind the run, inaccessible. */
	run->reserved = run->gpa.size + CONGRUENCE;
	run->reservation = mmap(NULL, run->reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (run->reservation == MAP_FAILED) {
		int code = errno;

		return error_set(err, EXIT_STATUS_HOST, code,
				 "cannot reserve %" PRIu64 " MiB of address space for guest memory at 0x%" PRIx64
				 ": %s; use less memory or lift the limit (ulimit -v)",
				 run->gpa.size / MIB, run->gpa.start, strerror(code));
	}
	start = (uintptr_t)run->reservation;
	run->hva = (uint8_t *)run->reservation + ((run->gpa.start - start) & (CONGRUENCE - 1));
	return 0;
}

int guest_mem_reserve(struct guest_mem *mem, struct range gpa, struct error *err)
{
	struct guest_mem_run run = {.gpa = gpa};
	size_t at;
	int code;

	assert(gpa.size > 0 && is_aligned(gpa.start | gpa.size, 4 * KIB));
	assert(range_is_valid(gpa) && range_end(gpa) <= UINT64_C(1) << 52); /* the largest MAXPHYADDR */
	at = first_ending_after(mem, gpa.start);
	if (at < mem->count && range_overlaps(mem->runs[at].gpa, gpa)) {
		return error_set(err, EXIT_STATUS_INTERNAL, EEXIST,
				 "guest memory 0x%" PRIx64 "-0x%" PRIx64 " overlaps 0x%" PRIx64 "-0x%" PRIx64,
				 gpa.start, range_end(gpa) - 1, mem->runs[at].gpa.start,
				 range_end(mem->runs[at].gpa) - 1);
	}
	if (grow(mem) < 0)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory");
	code = reserve_address_space(&run, err);
	if (code < 0)
		return code;
	memmove(&mem->runs[at + 1], &mem->runs[at], (mem->count - at) * sizeof(run));
	mem->runs[at] = run;
	mem->count++;
	return 0;
}

void *guest_mem_at(const struct guest_mem *mem, uint64_t gpa, uint64_t size)
{
	size_t at = first_ending_after(mem, gpa);

	if (at == mem->count || gpa < mem->runs[at].gpa.start)
		return NULL;
	if (!range_contains(mem->runs[at].gpa, (struct range){gpa, size}))
		return NULL;
	return mem->runs[at].hva + (gpa - mem->runs[at].gpa.start);
}

int guest_mem_write(const struct guest_mem *mem, uint64_t gpa, const void *bytes, size_t size)
{
	void *at = guest_mem_at(mem, gpa, size);

	if (at == NULL)
		return -EFAULT;
	if (size > 0)
		memcpy(at, bytes, size);
	return 0;
}

int guest_mem_read(const struct guest_mem *mem, uint64_t gpa, void *bytes, size_t size)
{
	const void *at = guest_mem_at(mem, gpa, size);

	if (at == NULL)
		return -EFAULT;
	if (size > 0)
		memcpy(bytes, at, size);
	return 0;
}
