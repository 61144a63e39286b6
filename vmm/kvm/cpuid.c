/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/cpuid.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Leaves that KVM may leave out and that are added here: 0xb with three levels, 0x1f with as many, 0x8000001e. */
enum { ADDED_MAX = 8 };

/* Leaf 1 (Intel SDM vol. 2A, CPUID; AMD64 APM vol. 3 E.3.2). */
#define LEAF1_ECX_PDCM         (1u << 15)
#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_HTT          (1u << 28)

/* Leaf 0x80000001 (AMD64 APM vol. 3 E.4.2). */
#define AMD_ECX_CMP_LEGACY    (1u << 1)
#define AMD_ECX_TOPOLOGY      (1u << 22)
#define AMD_ECX_PERF_COUNTERS (1u << 23 | 1u << 24 | 1u << 28) /* core, northbridge and L3 counters */

/* Domain types of leaves 0xb and 0x1f, in ECX[15:8]. */
enum { DOMAIN_NONE, DOMAIN_SMT, DOMAIN_CORE };

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *table, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[i];

		if (entry->function == function && entry->index == index)
			return entry;
	}
	return NULL;
}

/* The entry, made when it is not there; the table has room for ADDED_MAX more than KVM gave. */
static struct kvm_cpuid_entry2 *want(struct kvm_cpuid2 *table, uint32_t function, uint32_t index, uint32_t flags)
{
	struct kvm_cpuid_entry2 *entry = find(table, function, index);

	if (entry == NULL) {
		entry = &table->entries[table->nent++];
		*entry = (struct kvm_cpuid_entry2){.function = function, .index = index};
	}
	entry->flags = flags;
	return entry;
}

/*
 * Takes a function with all its indices away: KVM answers zeros, "not there", for a leaf within the maximum that it
 * does not find.
 */
static void hide(struct kvm_cpuid2 *table, uint32_t function)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function != function)
			table->entries[kept++] = table->entries[i];
	}
	table->nent = kept;
}

static uint32_t with_bits(uint32_t value, unsigned shift, unsigned width, uint32_t field)
{
	uint32_t mask = ((1u << width) - 1) << shift;

	return (value & ~mask) | (field << shift & mask);
}

static uint32_t with_flag(uint32_t value, uint32_t flag, bool set)
{
	return set ? value | flag : value & ~flag;
}

static uint32_t at_most(uint32_t value, uint32_t bound)
{
	return value < bound ? value : bound;
}

static uint32_t highest(struct kvm_cpuid2 *table, uint32_t base)
{
	const struct kvm_cpuid_entry2 *entry = find(table, base, 0);

	return entry != NULL ? entry->eax : 0;
}

/* AMD and Hygon, whose processors are AMD's Zen, describe themselves alike ("Auth", "Hygo" in leaf 0's EBX). */
static bool is_amd(struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *entry = find(table, 0, 0);

	return entry != NULL && (entry->ebx == 0x68747541 || entry->ebx == 0x6f677948);
}

static void set_features(struct kvm_cpuid2 *table, const struct kvm_topology *topology, bool tsc_deadline)
{
	struct kvm_cpuid_entry2 *entry = find(table, 1, 0);
	/*
	 * EBX[23:16]: Intel means the APIC ids that are set aside for a package, AMD the cores that are in it (SDM vol.
	 * 2A, CPUID; APM vol. 3 E.5.2). Eight bits; more are only in leaf 0xb.
	 */
	uint32_t logical = is_amd(table) ? topology->package_cores : 1u << topology->core_bits;

	if (entry == NULL)
		return;
	entry->ebx = with_bits(entry->ebx, 24, 8, topology->apic_id);
	entry->ebx = with_bits(entry->ebx, 16, 8, at_most(logical, 255));
	entry->ecx = with_flag(entry->ecx, LEAF1_ECX_TSC_DEADLINE, tsc_deadline);
	entry->ecx |= LEAF1_ECX_HYPERVISOR;
	entry->edx = with_flag(entry->edx, LEAF1_EDX_HTT, topology->package_cores > 1);
}

/*
 * No performance counters: they make every entry to the guest slower and show it the host's events. All ways to find
 * them are closed: Intel's leaf 0xa and IA32_PERF_CAPABILITIES (PDCM), AMD's extended counters and leaf 0x80000022.
 */
static void hide_counters(struct kvm_cpuid2 *table)
{
	struct kvm_cpuid_entry2 *features = find(table, 1, 0), *extended = find(table, 0x80000001, 0);

	if (features != NULL)
		features->ecx &= ~LEAF1_ECX_PDCM;
	if (extended != NULL)
		extended->ecx &= ~AMD_ECX_PERF_COUNTERS;
	hide(table, 0xa);
	hide(table, 0x80000022);
}

/*
 * Extended topology (SDM vol. 2A, leaves 0BH and 1FH; APM vol. 3 E.3.8): one thread a core, cores, and the level that
 * ends the list.
 */
static void set_levels(struct kvm_cpuid2 *table, uint32_t function, const struct kvm_topology *topology)
{
	const struct {
		uint32_t shift, count, domain;
	} levels[] = {
		{0, 1, DOMAIN_SMT},
		{topology->core_bits, topology->package_cores, DOMAIN_CORE},
		{0, 0, DOMAIN_NONE},
	};

	hide(table, function);
	for (uint32_t i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 *entry = want(table, function, i, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);

		entry->eax = levels[i].shift;
		entry->ebx = levels[i].count;
		entry->ecx = levels[i].domain << 8 | i;
		entry->edx = topology->apic_id;
	}
}

/*
 * Which processors share a cache (EAX[25:14], APIC ids less one): L1 and L2 belong to a core, L3 to the package. The
 * number of ids that a package sets aside is a power of two, so that APIC ids divided by it number the packages, as
 * Linux computes it.
 */
static void share_caches(struct kvm_cpuid2 *table, uint32_t function, const struct kvm_topology *topology)
{
	uint32_t ids = (1u << topology->core_bits) - 1;

	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[i];

		if (entry->function != function || (entry->eax & 0x1f) == 0)
			continue;
		entry->eax = with_bits(entry->eax, 14, 12, (entry->eax >> 5 & 7) >= 3 ? ids : 0);
		/* Intel only: core ids in a package, less one, six bits (SDM vol. 2A, leaf 4, EAX[31:26]). */
		if (function == 4)
			entry->eax = with_bits(entry->eax, 26, 6, at_most(ids, 63));
	}
}

/* AMD64 APM vol. 3 E.4.7 (0x80000008), E.4.15 to E.4.17 (0x8000001d, 0x8000001e), E.5 (how they are put together). */
static void set_amd(struct kvm_cpuid2 *table, const struct kvm_topology *topology)
{
	struct kvm_cpuid_entry2 *extended = find(table, 0x80000001, 0), *sizes = find(table, 0x80000008, 0), *entry;
	uint32_t core = topology->apic_id & ((1u << topology->core_bits) - 1);

	if (sizes != NULL) {
		sizes->ecx = with_bits(sizes->ecx, 0, 8, topology->package_cores - 1);
		sizes->ecx = with_bits(sizes->ecx, 12, 4, topology->core_bits);
	}
	if (extended == NULL)
		return;
	extended->ecx = with_flag(extended->ecx, AMD_ECX_CMP_LEGACY, topology->package_cores > 1);
	if ((extended->ecx & AMD_ECX_TOPOLOGY) == 0)
		return;
	share_caches(table, 0x8000001d, topology);
	if (highest(table, 0x80000000) < 0x8000001e)
		return;
	entry = want(table, 0x8000001e, 0, 0);
	entry->eax = topology->apic_id;
	entry->ebx = core;                                     /* one thread a core: ThreadsPerComputeUnit is 0 */
	entry->ecx = topology->apic_id >> topology->core_bits; /* NodeId; NodesPerProcessor 0 means one */
	entry->edx = 0;
}

struct kvm_cpuid2 *kvm_cpuid_make(const struct kvm_cpuid2 *supported, const struct kvm_topology *topology,
				  bool tsc_deadline)
{
	struct kvm_cpuid2 *table;

	assert(topology->package_cores > 0 && topology->core_bits <= 8 &&
	       topology->package_cores <= 1u << topology->core_bits);
	table = calloc(1, sizeof(*table) + (supported->nent + ADDED_MAX) * sizeof(table->entries[0]));
	if (table == NULL)
		return NULL;
	table->nent = supported->nent;
	memcpy(table->entries, supported->entries, supported->nent * sizeof(table->entries[0]));

	hide_counters(table);
	set_features(table, topology, tsc_deadline);
	if (highest(table, 0) >= 0xb)
		set_levels(table, 0xb, topology);
	if (find(table, 0x1f, 0) != NULL)
		set_levels(table, 0x1f, topology);
	hide(table, 0x80000026); /* AMD's successor of 0xb: the host's, so without it 0xb counts */
	if (is_amd(table))
		set_amd(table, topology);
	else
		share_caches(table, 4, topology);
	return table;
}

unsigned kvm_cpuid_phys_bits(const struct kvm_cpuid2 *supported)
{
	unsigned bits, mappable;

	for (uint32_t i = 0; i < supported->nent; i++) {
		if (supported->entries[i].function != 0x80000008)
			continue;
		/*
		 * EAX[7:0] is MAXPHYADDR. Newer kernels put the bits that nested paging can map into EAX[23:16]
		 * (GuestPhysAddrSize) when these are fewer; a guest page above them could never be mapped.
		 */
		bits = supported->entries[i].eax & 0xff;
		mappable = supported->entries[i].eax >> 16 & 0xff;
		return mappable != 0 && mappable < bits ? mappable : bits;
	}
	return 36; /* a processor without the leaf (SDM vol. 3A, "Enumeration of Paging Features") */
}
