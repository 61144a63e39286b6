/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_GUEST_MEM_H
#define SPMVM_MEMORY_GUEST_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/range.h"

/*
 * Guest-physical memory as this process sees it: one host-virtual span for each run of touching regions. The one place
 * where a guest-physical address from outside is checked. Frozen before the first vcpu runs, so look-ups take no lock.
 */
struct guest_mem_run {
	struct range gpa;
	uint8_t *hva;
	/* what mmap() gave, to be unmapped: larger than the run, because hva is congruent to the GPA modulo 1 GiB */
	void *reservation;
	size_t reserved;
};

struct guest_mem {
	struct guest_mem_run *runs; /* sorted by gpa; heap, owned here */
	size_t count, capacity;
};

/*
 * Unmaps every run, and with them what was mapped into them. Takes NULL and a zeroed value too; leaves it zeroed and
 * ready.
 */
void guest_mem_release(struct guest_mem *mem);

/*
 * Reserves address space (PROT_NONE, MAP_NORESERVE) for a run and adds it. The host-virtual address is congruent to the
 * GPA modulo 1 GiB, or KVM could not use 2 MiB and 1 GiB mappings. Backends are mapped into it afterwards; until then
 * an access faults, as it does beside the run. gpa is a multiple of 4 KiB in start and size. -EEXIST
 * (EXIT_STATUS_INTERNAL) for an overlap with a run that is there, -ENOMEM (EXIT_STATUS_HOST). Main thread, before the
 * first vcpu runs.
 */
int guest_mem_reserve(struct guest_mem *mem, struct range gpa, struct error *err);

/*
 * Where the guest-physical range is in this process, or NULL unless it lies wholly in one run. size may be 0: then gpa
 * itself must be guest memory. Any gpa and size, however hostile. Any thread; the pointer is good until
 * guest_mem_release().
 */
void *guest_mem_at(const struct guest_mem *mem, uint64_t gpa, uint64_t size);

/*
 * Copies to and from the guest; -EFAULT unless the whole range is guest memory, and then nothing is copied. Any thread.
 */
int guest_mem_write(const struct guest_mem *mem, uint64_t gpa, const void *bytes, size_t size);
int guest_mem_read(const struct guest_mem *mem, uint64_t gpa, void *bytes, size_t size);

#endif
