/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/kvm/cpuid.h"

enum { ROOM = 32 };

/* A table as KVM gives it, kept small. */
struct fixture {
	struct kvm_cpuid2 *table;
};

static void add(struct fixture *f, uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
		uint32_t edx)
{
	assert_true(f->table->nent < ROOM);
	f->table->entries[f->table->nent++] = (struct kvm_cpuid_entry2){
		.function = function, .index = index, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx};
}

static struct fixture fixture_new(void)
{
	struct fixture f = {calloc(1, sizeof(*f.table) + ROOM * sizeof(f.table->entries[0]))};

	assert_non_null(f.table);
	return f;
}

/* What kvm_pvm and kvm_amd give on a Zen 5, shortened. */
static struct fixture amd_host(void)
{
	struct fixture f = fixture_new();

	add(&f, 0, 0, 0x1c, 0x68747541, 0x444d4163, 0x69746e65);
	add(&f, 1, 0, 0x00b00f21, 0x07550800, 0x01202000 | 1u << 15, 0x078bfbff);
	add(&f, 0xa, 0, 0x08300802, 0, 0, 0x603);
	add(&f, 0xb, 0, 0, 0, 0, 0);
	add(&f, 0x80000000, 0, 0x80000021, 0x68747541, 0x444d4163, 0x69746e65);
	add(&f, 0x80000001, 0, 0x00b00f21, 0x40000000, 0x11c00393, 0x23d3fbff);
	add(&f, 0x80000008, 0, 0x00003030, 0x50020005, 0x00007001, 0);
	add(&f, 0x8000001d, 0, 0x00004121, 0x02c0003f, 0x3f, 0);   /* L1 data, shared by two threads */
	add(&f, 0x8000001d, 1, 0x00004122, 0x01c0003f, 0x3f, 0);   /* L1 instruction */
	add(&f, 0x8000001d, 2, 0x00004143, 0x03c0003f, 0x3ff, 2);  /* L2 */
	add(&f, 0x8000001d, 3, 0x0003c163, 0x03c0003f, 0x7fff, 1); /* L3, shared by 16 */
	add(&f, 0x8000001d, 4, 0, 0, 0, 0);                        /* the end */
	add(&f, 0x8000001e, 0, 7, 0x0103, 0x0201, 5);
	add(&f, 0x80000022, 0, 1, 6, 0, 0);
	add(&f, 0x80000026, 0, 1, 2, 0x100, 7);
	add(&f, 0x80000026, 1, 4, 16, 0x201, 7);
	add(&f, 0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	add(&f, 0x40000001, 0, 0x01007efb, 0, 0, 0);
	return f;
}

static struct fixture intel_host(void)
{
	struct fixture f = fixture_new();

	add(&f, 0, 0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69);
	add(&f, 1, 0, 0x000806f8, 0x07400800, 0xfffa3203, 0x0f8bfbff);
	add(&f, 4, 0, 0xfc004121, 0x02c0003f, 0x3f, 0);
	add(&f, 4, 2, 0xfc004143, 0x03c0003f, 0x7ff, 0);
	add(&f, 4, 3, 0xfc1fc163, 0x0380003f, 0x1bfff, 4);
	add(&f, 4, 4, 0, 0, 0, 0);
	add(&f, 0xb, 0, 1, 2, 0x100, 7);
	add(&f, 0x1f, 0, 1, 2, 0x100, 7);
	add(&f, 0x80000000, 0, 0x80000008, 0, 0, 0);
	add(&f, 0x80000001, 0, 0, 0, 0x121, 0x2c100800);
	add(&f, 0x80000008, 0, 0x00003934, 0, 0, 0);
	return f;
}

static const struct kvm_cpuid_entry2 *leaf(const struct kvm_cpuid2 *table, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function == function && table->entries[i].index == index)
			return &table->entries[i];
	}
	return NULL;
}

static void assert_leaf(const struct kvm_cpuid2 *table, uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx,
			uint32_t ecx, uint32_t edx)
{
	const struct kvm_cpuid_entry2 *entry = leaf(table, function, index);

	assert_non_null(entry);
	assert_int_equal(entry->eax, eax);
	assert_int_equal(entry->ebx, ebx);
	assert_int_equal(entry->ecx, ecx);
	assert_int_equal(entry->edx, edx);
}

static struct kvm_cpuid2 *make(struct fixture *f, struct kvm_topology topology, bool tsc_deadline)
{
	struct kvm_cpuid2 *table = kvm_cpuid_make(f->table, &topology, tsc_deadline);

	assert_non_null(table);
	free(f->table);
	return table;
}

/* The third of three cores of the second package: APIC ids 4, 5, 6. */
static const struct kvm_topology third_core = {.apic_id = 6, .core_bits = 2, .package_cores = 3, .cpus = 6};
static const struct kvm_topology alone = {.apic_id = 0, .core_bits = 0, .package_cores = 1, .cpus = 1};

static void amd_features(void **state)
{
	struct fixture f = amd_host();
	struct kvm_cpuid2 *table = make(&f, third_core, true);

	(void)state;
	/* APIC id 6, three cores, CLFLUSH size kept; no PDCM; TSC-deadline and hypervisor; HTT */
	assert_leaf(table, 1, 0, 0x00b00f21, 0x06030800, 0x81202000, 0x178bfbff);
	free(table);
}

static void amd_cores_and_counters(void **state)
{
	struct fixture f = amd_host();
	struct kvm_cpuid2 *table = make(&f, third_core, true);

	(void)state;
	/* CmpLegacy and TopologyExtensions stay, the three counter extensions go */
	assert_leaf(table, 0x80000001, 0, 0x00b00f21, 0x40000000, 0x00400393, 0x23d3fbff);
	/* NC = 2, ApicIdSize = 2, address sizes untouched */
	assert_leaf(table, 0x80000008, 0, 0x00003030, 0x50020005, 0x00002002, 0);
	/* core 2 of node 1, one thread a core, one node a processor */
	assert_leaf(table, 0x8000001e, 0, 6, 2, 1, 0);
	assert_null(leaf(table, 0xa, 0));
	assert_null(leaf(table, 0x80000022, 0));
	assert_null(leaf(table, 0x80000026, 0));
	assert_null(leaf(table, 0x80000026, 1));
	assert_leaf(table, 0x40000001, 0, 0x01007efb, 0, 0, 0);
	free(table);
}

static void amd_caches(void **state)
{
	struct fixture f = amd_host();
	struct kvm_cpuid2 *table = make(&f, third_core, true);

	(void)state;
	assert_leaf(table, 0x8000001d, 0, 0x00000121, 0x02c0003f, 0x3f, 0);
	assert_leaf(table, 0x8000001d, 1, 0x00000122, 0x01c0003f, 0x3f, 0);
	assert_leaf(table, 0x8000001d, 2, 0x00000143, 0x03c0003f, 0x3ff, 2);
	assert_leaf(table, 0x8000001d, 3, 0x0000c163, 0x03c0003f, 0x7fff, 1);
	assert_leaf(table, 0x8000001d, 4, 0, 0, 0, 0);
	free(table);
}

static void levels(void **state)
{
	struct fixture f = amd_host();
	struct kvm_cpuid2 *table = make(&f, third_core, true);

	(void)state;
	assert_leaf(table, 0xb, 0, 0, 1, 0x100, 6);
	assert_leaf(table, 0xb, 1, 2, 3, 0x201, 6);
	assert_leaf(table, 0xb, 2, 0, 0, 2, 6);
	assert_int_equal(leaf(table, 0xb, 1)->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	assert_null(leaf(table, 0x1f, 0)); /* KVM did not offer it */
	free(table);
}

static void one_cpu(void **state)
{
	struct fixture f = amd_host();
	struct kvm_cpuid2 *table = make(&f, alone, false);

	(void)state;
	assert_leaf(table, 1, 0, 0x00b00f21, 0x00010800, 0x80202000, 0x078bfbff);
	assert_leaf(table, 0xb, 0, 0, 1, 0x100, 0);
	assert_leaf(table, 0xb, 1, 0, 1, 0x201, 0);
	assert_leaf(table, 0x80000008, 0, 0x00003030, 0x50020005, 0, 0);
	assert_int_equal(leaf(table, 0x80000001, 0)->ecx, 0x00400391);
	assert_leaf(table, 0x8000001d, 3, 0x00000163, 0x03c0003f, 0x7fff, 1);
	assert_leaf(table, 0x8000001e, 0, 0, 0, 0, 0);
	free(table);
}

static void amd_leaf_1e_is_added(void **state)
{
	struct fixture f = amd_host();
	struct kvm_cpuid2 *table;

	(void)state;
	for (uint32_t i = 0; i < f.table->nent; i++) {
		if (f.table->entries[i].function == 0x8000001e)
			f.table->entries[i].function = 0x8000001f;
	}
	table = make(&f, third_core, true);
	assert_leaf(table, 0x8000001e, 0, 6, 2, 1, 0);
	free(table);
}

static void amd_without_topology_extensions(void **state)
{
	struct fixture f = fixture_new();
	struct kvm_cpuid2 *table;

	(void)state;
	add(&f, 0, 0, 0xa, 0x68747541, 0x444d4163, 0x69746e65);
	add(&f, 0x80000000, 0, 0x80000008, 0, 0, 0);
	add(&f, 0x80000001, 0, 0, 0, 0, 0);
	table = make(&f, third_core, true);
	assert_int_equal(table->nent, 3); /* no 0xb, 0x8000001e or leaf 1 out of nowhere */
	assert_int_equal(leaf(table, 0x80000001, 0)->ecx, 2);
	free(table);
}

static void amd_short_of_leaf_1e(void **state)
{
	struct fixture f = fixture_new();
	struct kvm_cpuid2 *table;

	(void)state;
	add(&f, 0, 0, 0xa, 0x6f677948, 0, 0); /* Hygon */
	add(&f, 0x80000000, 0, 0x8000001d, 0, 0, 0);
	add(&f, 0x80000001, 0, 0, 0, 1u << 22, 0);
	table = make(&f, third_core, true);
	assert_null(leaf(table, 0x8000001e, 0));
	assert_int_equal(leaf(table, 0x80000001, 0)->ecx, 1u << 22 | 2);
	free(table);
}

static void intel(void **state)
{
	struct fixture f = intel_host();
	struct kvm_cpuid2 *table = make(&f, third_core, true);

	(void)state;
	/* four APIC ids are set aside for the three cores; PDCM (bit 15 of 0xfffa3203 is clear already) */
	assert_leaf(table, 1, 0, 0x000806f8, 0x06040800, 0xfffa3203, 0x1f8bfbff);
	assert_leaf(table, 4, 0, 0x0c000121, 0x02c0003f, 0x3f, 0);
	assert_leaf(table, 4, 2, 0x0c000143, 0x03c0003f, 0x7ff, 0);
	assert_leaf(table, 4, 3, 0x0c00c163, 0x0380003f, 0x1bfff, 4);
	assert_leaf(table, 4, 4, 0, 0, 0, 0);
	for (uint32_t function = 0xb; function <= 0x1f; function += 0x14) {
		assert_leaf(table, function, 0, 0, 1, 0x100, 6);
		assert_leaf(table, function, 1, 2, 3, 0x201, 6);
		assert_leaf(table, function, 2, 0, 0, 2, 6);
	}
	assert_leaf(table, 0x80000008, 0, 0x00003934, 0, 0, 0);
	assert_int_equal(leaf(table, 0x80000001, 0)->ecx, 0x121);
	free(table);
}

static void many_cores(void **state)
{
	const struct kvm_topology last = {.apic_id = 254, .core_bits = 8, .package_cores = 255, .cpus = 255};
	struct fixture f = intel_host();
	struct kvm_cpuid2 *table = make(&f, last, true);

	(void)state;
	assert_int_equal(leaf(table, 1, 0)->ebx, 0xfeff0800); /* 256 does not fit into eight bits */
	assert_int_equal(leaf(table, 4, 3)->eax, 0xfc3fc163); /* 255 in twelve bits, 63 in six */
	assert_int_equal(leaf(table, 0xb, 1)->ebx, 255);
	assert_int_equal(leaf(table, 0xb, 1)->eax, 8);
	free(table);
}

/* In no leaf is there anything else than what the tests above name: the rest is KVM's. */
static void supported_is_left_alone(void **state)
{
	struct fixture f = amd_host(), same = amd_host();
	struct kvm_cpuid2 *table = kvm_cpuid_make(f.table, &third_core, true);

	(void)state;
	assert_int_equal(f.table->nent, same.table->nent);
	assert_memory_equal(f.table->entries, same.table->entries, f.table->nent * sizeof(f.table->entries[0]));
	free(table);
	free(f.table);
	free(same.table);
}

static void phys_bits(void **state)
{
	struct fixture f = amd_host();
	struct kvm_cpuid_entry2 *sizes = &f.table->entries[6];

	(void)state;
	assert_int_equal(sizes->function, 0x80000008);
	assert_int_equal(kvm_cpuid_phys_bits(f.table), 48);
	sizes->eax = 0x00343934; /* 52 bits, nested paging of as many */
	assert_int_equal(kvm_cpuid_phys_bits(f.table), 52);
	sizes->eax = 0x00303934; /* 4-level nested paging under a 52-bit processor */
	assert_int_equal(kvm_cpuid_phys_bits(f.table), 48);
	sizes->eax = 0x0034392e;
	assert_int_equal(kvm_cpuid_phys_bits(f.table), 46);
	sizes->function = 0x80000007;
	assert_int_equal(kvm_cpuid_phys_bits(f.table), 36);
	free(f.table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(amd_features),
		cmocka_unit_test(amd_cores_and_counters),
		cmocka_unit_test(amd_caches),
		cmocka_unit_test(levels),
		cmocka_unit_test(one_cpu),
		cmocka_unit_test(amd_leaf_1e_is_added),
		cmocka_unit_test(amd_without_topology_extensions),
		cmocka_unit_test(amd_short_of_leaf_1e),
		cmocka_unit_test(intel),
		cmocka_unit_test(many_cores),
		cmocka_unit_test(supported_is_left_alone),
		cmocka_unit_test(phys_bits),
	};

	return cmocka_run_group_tests_name("cpuid", tests, NULL, NULL);
}
