/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/guest.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "vmm/kvm/stats.h"

static void *page_new(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(page != MAP_FAILED);
	return page;
}

static void two_memslots(void **state)
{
	static const uint8_t code[] = {
		0xa0, 0x10, 0x18,             /* mov al, [GUEST_DATA + 0x10] */
		0xe6, 0x80,                   /* out 0x80, al */
		0xa0, 0x10, 0xa0,             /* mov al, [0xa010] */
		0xe6, 0x80,                   /* out 0x80, al */
		0xc6, 0x06, 0x11, 0xa0, 0x99, /* mov byte [0xa011], 0x99 */
		0xe6, 0x80,                   /* out 0x80, al */
	};
	struct guest *guest = guest_new();
	uint8_t *page = page_new();

	(void)state;
	guest_ok(kvm_add_memslot(&guest->vm, (struct range){0xa000, 4096}, page, &guest_err));
	guest->memory[GUEST_DATA + 0x10] = 0x5a;
	page[0x10] = 0xa5;
	guest_start_real(guest, code, sizeof(code));
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 1, 0x5a);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 1, 0xa5);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 1, 0xa5);
	assert_int_equal(page[0x11], 0x99);
	guest_free(guest);
	munmap(page, 4096);
}

/* Registers that are memory to read (devices/virtio/mmio.h): a read does not come here, a write does, or goes to its eventfd. */
static void readonly_memslot(void **state)
{
	static const uint8_t code[] = {
		0x66, 0xa1, 0x60, 0x90,             /* mov eax, [0x9060] */
		0x66, 0xe7, 0x80,                   /* out 0x80, eax */
		0x66, 0xb8, 0x01, 0x00, 0x00, 0x00, /* mov eax, 1 */
		0x66, 0xa3, 0x64, 0x90,             /* mov [0x9064], eax */
		0x66, 0xb8, 0x03, 0x00, 0x00, 0x00, /* mov eax, 3 */
		0x66, 0xa3, 0x64, 0x90,             /* mov [0x9064], eax */
		0x66, 0xa1, 0x60, 0x90,             /* mov eax, [0x9060] */
		0x66, 0xe7, 0x80,                   /* out 0x80, eax */
	};
	struct guest *guest = guest_new();
	uint32_t *page = page_new();
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	eventfd_t count;

	(void)state;
	if (!guest->vm.limits.readonly_memory) {
		print_message("SKIPPED: this KVM has no KVM_CAP_READONLY_MEM\n");
		skip();
	}
	guest_ok(kvm_add_readonly_memslot(&guest->vm, (struct range){0x9000, 4096}, page, &guest_err));
	guest_ok(kvm_add_ioeventfd(&guest->vm, event, 0x9064, 1, &guest_err));
	page[0x60 / 4] = 0x1234567;
	guest_start_real(guest, code, sizeof(code));
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, 0x1234567);
	page[0x60 / 4] = 0x89abcde;
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_MMIO, 0x9064, 4, 3);
	assert_int_equal(eventfd_read(event, &count), 0);
	assert_int_equal(count, 1);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, 0x89abcde);
	assert_int_equal(page[0x64 / 4], 0);
	guest_free(guest);
	close(event);
	munmap(page, 4096);
}

/* Nothing is to be seen of it but the errors: the guest finds its memory, and KVM knows where there is none. */
static void pre_fault(void **state)
{
	static const uint8_t code[] = {
		0x66, 0xa1, 0x00, 0x90, /* mov eax, [0x9000] */
		0x66, 0xe7, 0x80,       /* out 0x80, eax */
	};
	struct guest *guest = guest_new();
	uint32_t *page = page_new();

	(void)state;
	if (!guest->vm.limits.pre_fault) {
		guest_free(guest);
		munmap(page, 4096);
		print_message("SKIPPED: this KVM has no KVM_CAP_PRE_FAULT_MEMORY\n");
		skip();
	}
	page[0] = 0x1234567;
	guest_ok(kvm_add_memslot(&guest->vm, (struct range){0x9000, 4096}, page, &guest_err));
	guest_start_real(guest, code, sizeof(code));
	assert_int_equal(kvm_vcpu_pre_fault(&guest->vcpu, (struct range){0x9000, 4096}), 0);
	assert_int_equal(kvm_vcpu_pre_fault(&guest->vcpu, (struct range){0x90000000, 4096}), -ENOENT);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, 0x1234567);
	guest_free(guest);
	munmap(page, 4096);
}

static void memslot_errors(void **state)
{
	struct guest *guest = guest_new();
	char want[600];
	void *page = page_new();
	struct error err = {0};

	(void)state;
	assert_int_equal(kvm_add_memslot(&guest->vm, (struct range){0x4000, 4096}, page, &err), -EEXIST);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text,
			    "KVM memslot 1 for 0x4000-0x4fff: File exists: the addresses overlap another memslot");
	assert_int_equal(kvm_add_memslot(&guest->vm, (struct range){0x10800, 4096}, page, &err), -EINVAL);
	assert_int_equal(err.status, EXIT_STATUS_INTERNAL);
	snprintf(want, sizeof(want), "memslot 1 (0x10800, 0x1000 bytes at %p) is not made of 4 KiB pages", page);
	assert_string_equal(err.text, want);
	assert_int_equal(kvm_add_memslot(&guest->vm, (struct range){0x10000, 0}, page, &err), -EINVAL);
	guest->vm.limits.max_memslots = 1;
	assert_int_equal(kvm_add_memslot(&guest->vm, (struct range){0x10000, 4096}, page, &err), -ENOSPC);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text,
			    "no KVM memslot is left for 0x10000-0x10fff: this host has 1; use fewer or adjacent "
			    "memory blocks");
	guest->vm.limits.max_memslots = 2;
	guest_ok(kvm_add_memslot(&guest->vm, (struct range){0x10000, 4096}, page, &guest_err));
	guest_free(guest);
	munmap(page, 4096);
}

/* Where IBM PCs have 8259s there is nothing that interrupts: both masked, and no GSI leads to them. */
static void pics_are_masked(void **state)
{
	struct guest *guest = guest_new();
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_PIC_MASTER};
	struct kvm_irq_level level = {.irq = 4, .level = 1};

	(void)state;
	assert_int_equal(ioctl(guest->vm.vm_fd, KVM_IRQ_LINE, &level), 0);
	for (; chip.chip_id <= KVM_IRQCHIP_PIC_SLAVE; chip.chip_id++) {
		assert_int_equal(ioctl(guest->vm.vm_fd, KVM_GET_IRQCHIP, &chip), 0);
		assert_int_equal(chip.chip.pic.imr, 0xff);
		assert_int_equal(chip.chip.pic.irr, 0);
	}
	chip.chip_id = KVM_IRQCHIP_IOAPIC;
	assert_int_equal(ioctl(guest->vm.vm_fd, KVM_GET_IRQCHIP, &chip), 0);
	assert_int_equal(chip.chip.ioapic.irr, 1 << 4);
	guest_free(guest);
}

/*
 * What the guest's drivers do: pin to vector vector at APIC id 0, fixed, edge-triggered, and the local APIC on (SVR bit
 * 8).
 */
static void program_interrupt(struct guest *guest, unsigned pin, uint8_t vector)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};
	struct kvm_lapic_state lapic;
	const uint32_t enabled = 0x1ff;

	assert_int_equal(ioctl(guest->vm.vm_fd, KVM_GET_IRQCHIP, &chip), 0);
	chip.chip.ioapic.redirtbl[pin].bits = vector;
	assert_int_equal(ioctl(guest->vm.vm_fd, KVM_SET_IRQCHIP, &chip), 0);
	assert_int_equal(ioctl(guest->vcpu.fd, KVM_GET_LAPIC, &lapic), 0);
	memcpy(lapic.regs + 0xf0, &enabled, sizeof(enabled));
	assert_int_equal(ioctl(guest->vcpu.fd, KVM_SET_LAPIC, &lapic), 0);
}

static void irqfd_wakes_halted_guest(void **state)
{
	static const uint8_t code[] = {
		0xfb,       /* sti */
		0xf4,       /* hlt */
		0xeb, 0xfd, /* jmp to the hlt */
	};
	static const uint8_t handler[] = {
		0xb0, 0x21, /* mov al, 0x21 */
		0xe6, 0x80, /* out 0x80, al */
		0xcf,       /* iret */
	};
	struct guest *guest = guest_new();
	const uint16_t vector[2] = {GUEST_AP_CODE, 0}; /* offset, segment */
	int event = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_true(event >= 0);
	memcpy(guest->memory + 4 * 0x21, vector, sizeof(vector));
	memcpy(guest->memory + GUEST_AP_CODE, handler, sizeof(handler));
	guest_start_real(guest, code, sizeof(code));
	program_interrupt(guest, 5, 0x21);
	guest_ok(kvm_add_irqfd(&guest->vm, event, 5, &guest_err));
	assert_int_equal(eventfd_write(event, 1), 0);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 1, 0x21);
	guest_free(guest);
	close(event);
}

static void irqfd_errors(void **state)
{
	struct guest *guest = guest_new();
	struct error err = {0};
	int event = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(kvm_add_irqfd(&guest->vm, event, 24, &err), -EINVAL);
	assert_int_equal(err.status, EXIT_STATUS_INTERNAL);
	assert_string_equal(err.text, "GSI 24 is above 23, the IOAPIC's last pin");
	guest_ok(kvm_add_irqfd(&guest->vm, event, 23, &guest_err));
	assert_int_equal(kvm_add_irqfd(&guest->vm, event, 23, &err), -EBUSY);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text, "KVM_IRQFD of GSI 23: Device or resource busy: this eventfd has a route already");
	assert_int_equal(kvm_add_irqfd(&guest->vm, guest->vm.vm_fd, 1, &err), -EINVAL);
	assert_string_equal(err.text, "KVM_IRQFD of GSI 1: Invalid argument");
	guest_free(guest);
	close(event);
}

/* KVM's own count of exits covers at least those that came here. */
static void statistics(void **state)
{
	static const uint8_t code[] = {0xe6, 0x80, 0xeb, 0xfc}; /* out 0x80, al; again */
	struct guest *guest = guest_new();
	struct kvm_stats stats;
	uint64_t before = 0;
	size_t exits = 0;
	int result;

	(void)state;
	guest_start_real(guest, code, sizeof(code));
	result = kvm_stats_open(&stats, guest->vcpu.fd);
	if (result == -ENOTTY || result == -EINVAL) {
		guest_free(guest);
		print_message("SKIPPED: this KVM has no KVM_GET_STATS_FD\n");
		skip();
	}
	assert_int_equal(result, 0);
	while (exits < stats.count && strcmp(stats.stats[exits].name, "exits") != 0)
		exits++;
	assert_true(exits < stats.count);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kvm_stats_read(&stats), 0);
		assert_true(i == 0 || kvm_stats_value(&stats, exits) >= before + 10);
		before = kvm_stats_value(&stats, exits);
		for (int n = 0; n < 10; n++)
			guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 1, 0);
	}
	kvm_stats_release(&stats);
	guest_free(guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_memslots),    cmocka_unit_test(readonly_memslot),
		cmocka_unit_test(pre_fault),       cmocka_unit_test(memslot_errors),
		cmocka_unit_test(pics_are_masked), cmocka_unit_test(irqfd_wakes_halted_guest),
		cmocka_unit_test(irqfd_errors),    cmocka_unit_test(statistics),
	};

	guest_deadline();
	return cmocka_run_group_tests_name("vm", tests, NULL, NULL);
}
