/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_KVM_GUEST_H
#define SPMVM_TESTS_KVM_GUEST_H

#include "tests/unit/unit.h"

#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"

/*
 * A tiny guest for ring 1: one vcpu, 32 KiB of memory at 0, a payload of a few bytes. Everything from GUEST_MEMORY on
 * is unbacked.
 */
enum {
	GUEST_MEMORY = 0x8000,
	GUEST_GDT = 0x500,
	GUEST_CODE = 0x1000,
	GUEST_DATA = 0x1800,
	GUEST_TABLES = 0x2000, /* PML4, PDPT, the first and the fourth page directory */
	GUEST_AP_CODE = 0x6000,
	GUEST_STACK = 0x8000,
	GUEST_PORT = 0x80 /* where payloads report */
};

struct guest {
	struct kvm_vm vm;
	struct kvm_vcpu vcpu;
	uint8_t *memory;
};

/* Four cores in one package. */
static const struct kvm_topology guest_topology = {.apic_id = 0, .core_bits = 2, .package_cores = 4, .cpus = 4};

/* A guest that hangs must not look like one that is slow: the process dies of SIGALRM. */
static inline void guest_deadline(void)
{
	alarm(90);
}

/* Without a /dev/kvm the test fails; only who says so may skip it. */
static inline void guest_need_kvm(void)
{
	const char *no_kvm = getenv("SPMVM_NO_KVM");

	if (no_kvm == NULL || strcmp(no_kvm, "1") != 0)
		return;
	print_message("SKIPPED, nothing was tested: SPMVM_NO_KVM=1 says that there is no KVM here\n");
	skip();
}

#define guest_ok(call)                                                                                                 \
	do {                                                                                                           \
		struct error guest_err = {0};                                                                          \
		if ((call) != 0)                                                                                       \
			fail_msg("%s: %s", #call, guest_err.text);                                                     \
	} while (0)

static inline struct guest *guest_new(void)
{
	struct guest *guest;

	guest_need_kvm();
	guest = calloc(1, sizeof(*guest));
	assert_non_null(guest);
	kvm_init(&guest->vm);
	kvm_vcpu_init(&guest->vcpu);
	guest_ok(kvm_open(&guest->vm, NULL, &guest_err));
	guest_ok(kvm_create_vm(&guest->vm, &guest_err));
	guest->memory = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(guest->memory != MAP_FAILED);
	guest_ok(kvm_add_memslot(&guest->vm, (struct range){0, GUEST_MEMORY}, guest->memory, &guest_err));
	guest_ok(kvm_create_irqchip(&guest->vm, &guest_err));
	guest_ok(kvm_vcpu_create(&guest->vcpu, &guest->vm, 0, &guest_topology, &guest_err));
	return guest;
}

static inline void guest_free(struct guest *guest)
{
	kvm_vcpu_release(&guest->vcpu);
	kvm_release(&guest->vm);
	munmap(guest->memory, GUEST_MEMORY);
	free(guest);
}

static inline void guest_start_real(struct guest *guest, const uint8_t *code, size_t size)
{
	const struct kvm_start start = {.entry = GUEST_CODE, .stack = GUEST_STACK};

	memcpy(guest->memory + GUEST_CODE, code, size);
	guest_ok(kvm_vcpu_set_start(&guest->vcpu, &start, &guest_err));
}

static inline void guest_write_u64(struct guest *guest, size_t at, uint64_t value)
{
	memcpy(guest->memory + at, &value, sizeof(value));
}

/* The first GiB and the one with the local APIC, mapped at their own addresses with 2 MiB pages. */
static inline void guest_start_long(struct guest *guest, const uint8_t *code, size_t size)
{
	const struct kvm_start start = {
		.long_mode = true,
		.entry = GUEST_CODE,
		.stack = GUEST_STACK,
		.page_table = GUEST_TABLES,
		.rsi = 0x7000,
		.gdt = GUEST_GDT,
		.gdt_limit = sizeof(KVM_BOOT_GDT) - 1,
	};
	const uint64_t pdpt = GUEST_TABLES + 0x1000, first = pdpt + 0x1000, fourth = first + 0x1000;

	memcpy(guest->memory + GUEST_CODE, code, size);
	memcpy(guest->memory + GUEST_GDT, KVM_BOOT_GDT, sizeof(KVM_BOOT_GDT));
	guest_write_u64(guest, GUEST_TABLES, pdpt | 3);
	guest_write_u64(guest, pdpt, first | 3);
	guest_write_u64(guest, pdpt + 3 * 8, fourth | 3);
	for (uint64_t i = 0; i < 512; i++) {
		guest_write_u64(guest, first + i * 8, i * 2 * MIB | 0x83);
		guest_write_u64(guest, fourth + i * 8, (3 * GIB + i * 2 * MIB) | 0x83);
	}
	guest_ok(kvm_vcpu_set_start(&guest->vcpu, &start, &guest_err));
}

static inline struct kvm_exit guest_run(struct kvm_vcpu *vcpu)
{
	struct kvm_exit exit;

	guest_ok(kvm_vcpu_run(vcpu, &exit, &guest_err));
	if (exit.kind == KVM_EXIT_KIND_CRASH)
		print_message("the guest crashed: %s\n", exit.text);
	return exit;
}

/* Runs to the next exit, which must be this access, and returns it. */
static inline struct kvm_exit guest_access(struct kvm_vcpu *vcpu, enum kvm_exit_kind kind, uint64_t address,
					   size_t size, bool is_write)
{
	struct kvm_exit exit = guest_run(vcpu);

	assert_int_equal(exit.kind, kind);
	assert_true(exit.address == address);
	assert_int_equal(exit.size, size);
	assert_int_equal(exit.is_write, is_write);
	return exit;
}

/* The next exit is a write of that value. */
static inline void guest_writes(struct kvm_vcpu *vcpu, enum kvm_exit_kind kind, uint64_t address, size_t size,
				uint64_t value)
{
	struct kvm_exit exit = guest_access(vcpu, kind, address, size, true);
	uint64_t written = 0;

	assert_int_equal(exit.count, 1);
	memcpy(&written, exit.data, size);
	assert_true(written == value);
}

/* The next exit is a read; it gets that value. */
static inline void guest_reads(struct kvm_vcpu *vcpu, enum kvm_exit_kind kind, uint64_t address, size_t size,
			       uint64_t value)
{
	struct kvm_exit exit = guest_access(vcpu, kind, address, size, false);

	assert_int_equal(exit.count, 1);
	memcpy(exit.data, &value, size);
}

#endif
