/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/kvm.h"

/*
 * Intel processors without unrestricted guests run real mode through a TSS and an identity map that KVM puts into
 * guest-physical memory, three pages and one (api.rst §4.37, §4.60). They go into the 32-bit hole, where no RAM and no
 * device is: below the 16 MiB of a firmware flash (from 0xff000000) and away from the IOAPIC and the local APICs
 * (0xfec00000, 0xfee00000).
 */
#define IDENTITY_MAP_ADDRESS UINT64_C(0xfeffc000)
#define TSS_ADDRESS          UINT64_C(0xfeffd000)

static int host_error(struct error *err, const char *call)
{
	int code = errno;

	return error_set(err, EXIT_STATUS_HOST, code, "%s: %s", call, strerror(code));
}

/*
 * The 8259s stay, as KVM has them in its one package with the IOAPIC, but every line is masked (Intel 8259A data sheet,
 * OCW1).
 */
static int mask_pics(int vm_fd, struct error *err)
{
	const uint32_t pics[] = {KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE};

	for (size_t i = 0; i < sizeof(pics) / sizeof(pics[0]); i++) {
		struct kvm_irqchip chip = {.chip_id = pics[i]};

		if (ioctl(vm_fd, KVM_GET_IRQCHIP, &chip) != 0)
			return host_error(err, "KVM_GET_IRQCHIP");
		chip.chip.pic.imr = 0xff;
		if (ioctl(vm_fd, KVM_SET_IRQCHIP, &chip) != 0)
			return host_error(err, "KVM_SET_IRQCHIP");
	}
	return 0;
}

/*
 * GSI n is the IOAPIC's pin n and nothing else; KVM's own table would raise the 8259s' lines too, and GSI 0 at pin 2.

 */
static int route_gsis(int vm_fd, struct error *err)
{
	struct kvm_irq_routing *routing;
	int result = 0;

	routing = calloc(1, sizeof(*routing) + KVM_GSI_COUNT * sizeof(routing->entries[0]));
	if (routing == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory for the interrupt routes");
	routing->nr = KVM_GSI_COUNT;
	for (uint32_t gsi = 0; gsi < KVM_GSI_COUNT; gsi++) {
		routing->entries[gsi] = (struct kvm_irq_routing_entry){
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = gsi},
		};
	}
	if (ioctl(vm_fd, KVM_SET_GSI_ROUTING, routing) != 0)
		result = host_error(err, "KVM_SET_GSI_ROUTING");
	free(routing);
	return result;
}

/* Making a VM can be interrupted: it takes a mutex and, on some hosts, starts threads. */
static int open_vm(struct kvm_vm *vm, struct error *err)
{
	do {
		vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	} while (vm->vm_fd < 0 && errno == EINTR);
	if (vm->vm_fd >= 0)
		return 0;
	vm->vm_fd = -1;
	if (errno == EBUSY)
		return error_set(err, EXIT_STATUS_HOST, EBUSY,
				 "KVM_CREATE_VM: %s: another hypervisor holds the processor's virtualization; stop it",
				 strerror(EBUSY));
	return host_error(err, "KVM_CREATE_VM");
}

int kvm_create_vm(struct kvm_vm *vm, struct error *err)
{
	uint64_t identity_map = IDENTITY_MAP_ADDRESS;
	int result = open_vm(vm, err);

	if (result != 0)
		return result;
	if (ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) != 0)
		return host_error(err, "KVM_SET_IDENTITY_MAP_ADDR");
	if (ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) != 0)
		return host_error(err, "KVM_SET_TSS_ADDR");
	return 0;
}

int kvm_create_irqchip(struct kvm_vm *vm, struct error *err)
{
	struct kvm_enable_cap x2apic = {
		.cap = KVM_CAP_X2APIC_API,
		.args = {KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK},
	};
	int result;

	if (vm->limits.x2apic_ids && ioctl(vm->vm_fd, KVM_ENABLE_CAP, &x2apic) != 0)
		return host_error(err, "KVM_ENABLE_CAP of KVM_CAP_X2APIC_API");
	if (ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, 0) != 0)
		return host_error(err, "KVM_CREATE_IRQCHIP");
	result = mask_pics(vm->vm_fd, err);
	if (result != 0)
		return result;
	return route_gsis(vm->vm_fd, err);
}

static int add_memslot(struct kvm_vm *vm, struct range gpa, void *hva, uint32_t flags, struct error *err)
{
	struct kvm_userspace_memory_region region = {
		.slot = vm->next_memslot,
		.flags = flags,
		.guest_phys_addr = gpa.start,
		.memory_size = gpa.size,
		.userspace_addr = (uintptr_t)hva,
	};
	uint64_t last = range_end(gpa) - 1;
	int code;

	if (gpa.size == 0 || !is_aligned(gpa.start | gpa.size | (uintptr_t)hva, 4 * KIB))
		return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
				 "memslot %" PRIu32 " (0x%" PRIx64 ", 0x%" PRIx64
				 " bytes at %p) is not made of 4 KiB pages",
				 vm->next_memslot, gpa.start, gpa.size, hva);
	if (vm->next_memslot >= vm->limits.max_memslots)
		return error_set(err, EXIT_STATUS_HOST, ENOSPC,
				 "no KVM memslot is left for 0x%" PRIx64 "-0x%" PRIx64
				 ": this host has %u; use fewer or adjacent memory blocks",
				 gpa.start, last, vm->limits.max_memslots);
	if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) != 0) {
		code = errno;
		return error_set(err, EXIT_STATUS_HOST, code,
				 "KVM memslot %" PRIu32 " for 0x%" PRIx64 "-0x%" PRIx64 ": %s%s", vm->next_memslot,
				 gpa.start, last, strerror(code),
				 code == EEXIST ? ": the addresses overlap another memslot" : "");
	}
	vm->next_memslot++;
	return 0;
}

int kvm_add_memslot(struct kvm_vm *vm, struct range gpa, void *hva, struct error *err)
{
	return add_memslot(vm, gpa, hva, 0, err);
}

int kvm_add_readonly_memslot(struct kvm_vm *vm, struct range gpa, void *hva, struct error *err)
{
	return add_memslot(vm, gpa, hva, KVM_MEM_READONLY, err);
}

int kvm_add_irqfd(struct kvm_vm *vm, int eventfd, uint32_t gsi, struct error *err)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)eventfd, .gsi = gsi};
	int code;

	if (gsi >= KVM_GSI_COUNT)
		return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
				 "GSI %" PRIu32 " is above %d, the IOAPIC's last pin", gsi, KVM_GSI_COUNT - 1);
	if (ioctl(vm->vm_fd, KVM_IRQFD, &irqfd) == 0)
		return 0;
	code = errno;
	return error_set(err, EXIT_STATUS_HOST, code, "KVM_IRQFD of GSI %" PRIu32 ": %s%s", gsi, strerror(code),
			 code == EBUSY ? ": this eventfd has a route already" : "");
}

int kvm_add_ioeventfd(struct kvm_vm *vm, int eventfd, uint64_t gpa, uint32_t value, struct error *err)
{
	const struct kvm_ioeventfd kick = {
		.datamatch = value,
		.addr = gpa,
		.len = 4,
		.fd = eventfd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (ioctl(vm->vm_fd, KVM_IOEVENTFD, &kick) == 0)
		return 0;
	return error_set(err, EXIT_STATUS_HOST, errno, "KVM_IOEVENTFD at 0x%" PRIx64 ": %s", gpa, strerror(errno));
}

int kvm_get_clock(const struct kvm_vm *vm, uint64_t *nanoseconds, struct error *err)
{
	struct kvm_clock_data clock = {0};

	if (ioctl(vm->vm_fd, KVM_GET_CLOCK, &clock) != 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "KVM_GET_CLOCK: %s", strerror(errno));
	*nanoseconds = clock.clock;
	return 0;
}

int kvm_set_clock(const struct kvm_vm *vm, uint64_t nanoseconds, struct error *err)
{
	struct kvm_clock_data clock = {.clock = nanoseconds};

	if (ioctl(vm->vm_fd, KVM_SET_CLOCK, &clock) != 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "KVM_SET_CLOCK: %s", strerror(errno));
	return 0;
}
