/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/base/io.h"
#include "vmm/kvm/access.h"
#include "vmm/kvm/cpuid.h"

/* KVM's own bound on a CPUID table (arch/x86/include/asm/kvm_host.h, KVM_MAX_CPUID_ENTRIES). */
enum { CPUID_ENTRIES_MAX = 256 };

/* What spmvm cannot do without. Each has been in every kernel since 4.12, the age of immediate_exit. */
static const struct {
	int number;
	const char *name;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
	{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
	{KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
	{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
	{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
	{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

void kvm_init(struct kvm_vm *vm)
{
	*vm = (struct kvm_vm){.kvm_fd = -1, .vm_fd = -1};
}

void kvm_release(struct kvm_vm *vm)
{
	io_close(&vm->vm_fd);
	io_close(&vm->kvm_fd);
	free(vm->cpuid);
	kvm_init(vm);
}

/* The value of a capability that counts something, or what api.rst says to assume when it is missing. */
static unsigned count_of(int kvm_fd, int capability, unsigned otherwise)
{
	int value = ioctl(kvm_fd, KVM_CHECK_EXTENSION, capability);

	return value > 0 ? (unsigned)value : otherwise;
}

static int check_device(int kvm_fd, const char *device, struct error *err)
{
	int version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "%s: not a KVM device (KVM_GET_API_VERSION: %s)", device,
				 strerror(errno));
	if (version != KVM_API_VERSION)
		return error_set(err, EXIT_STATUS_HOST, ENOTSUP, "%s: KVM API version %d, need %d: use another kernel",
				 device, version, KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, needed[i].number) <= 0)
			return error_set(err, EXIT_STATUS_HOST, ENOTSUP,
					 "%s: KVM lacks %s: use Linux 4.12 or later on x86-64", device, needed[i].name);
	}
	return 0;
}

/* KVM_CAP_PRE_FAULT_MEMORY of Linux 6.11, which Debian 12's header does not have. */
enum { PRE_FAULT_CAPABILITY = 236 };

static void read_limits(struct kvm_limits *limits, int kvm_fd)
{
	const int ids = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
	/*
	 * api.rst §4.7: 4 vcpus when nothing is said; the highest vcpu id is then their number. 32 slots were the first
	 * bound.
	 */
	unsigned recommended = count_of(kvm_fd, KVM_CAP_NR_VCPUS, 4);

	limits->max_vcpus = count_of(kvm_fd, KVM_CAP_MAX_VCPUS, recommended);
	limits->max_vcpu_id = count_of(kvm_fd, KVM_CAP_MAX_VCPU_ID, limits->max_vcpus);
	limits->max_memslots = count_of(kvm_fd, KVM_CAP_NR_MEMSLOTS, 32);
	limits->tsc_deadline = count_of(kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER, 0) > 0;
	limits->x2apic_ids = (count_of(kvm_fd, KVM_CAP_X2APIC_API, 0) & ids) == (unsigned)ids;
	limits->pre_fault = count_of(kvm_fd, PRE_FAULT_CAPABILITY, 0) > 0;
	limits->readonly_memory = count_of(kvm_fd, KVM_CAP_READONLY_MEM, 0) > 0;
	limits->hardware = kvm_backend_find("/sys/module", limits->backend, sizeof(limits->backend));
}

static int read_cpuid(struct kvm_vm *vm, const char *device, struct error *err)
{
	struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + CPUID_ENTRIES_MAX * sizeof(table->entries[0]));

	if (table == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory for KVM's CPUID table");
	vm->cpuid = table;
	table->nent = CPUID_ENTRIES_MAX;
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, table) != 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "%s: KVM_GET_SUPPORTED_CPUID: %s", device,
				 strerror(errno));
	vm->limits.phys_bits = kvm_cpuid_phys_bits(table);
	return 0;
}

int kvm_open(struct kvm_vm *vm, const char *device, struct error *err)
{
	int size, result;

	if (device == NULL)
		device = "/dev/kvm";
	result = kvm_device_open(device, err);
	if (result < 0)
		return result;
	vm->kvm_fd = result;
	result = check_device(vm->kvm_fd, device, err);
	if (result != 0)
		return result;
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return error_set(err, EXIT_STATUS_HOST, ENOTSUP,
				 "%s: KVM_GET_VCPU_MMAP_SIZE gives %d, need at least %zu", device, size,
				 sizeof(struct kvm_run));
	vm->run_size = (size_t)size;
	read_limits(&vm->limits, vm->kvm_fd);
	return read_cpuid(vm, device, err);
}
