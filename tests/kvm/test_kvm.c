/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/guest.h"

#include <errno.h>

static void limits(void **state)
{
	struct kvm_vm vm;

	(void)state;
	guest_need_kvm();
	kvm_init(&vm);
	guest_ok(kvm_open(&vm, NULL, &guest_err));
	print_message(
		"backend %s (%s), %u physical bits, %u vcpus, ids below %u, %u memslots, TSC deadline %s, x2APIC ids %s\n",
		vm.limits.backend, vm.limits.hardware ? "hardware" : "software", vm.limits.phys_bits,
		vm.limits.max_vcpus, vm.limits.max_vcpu_id, vm.limits.max_memslots,
		vm.limits.tsc_deadline ? "yes" : "no", vm.limits.x2apic_ids ? "yes" : "no");
	assert_in_range(vm.limits.phys_bits, 32, 52);
	assert_in_range(vm.limits.max_vcpus, 1, vm.limits.max_vcpu_id);
	assert_true(vm.limits.max_memslots >= 32);
	assert_int_equal(vm.limits.hardware,
			 access("/sys/module/kvm_amd", F_OK) == 0 || access("/sys/module/kvm_intel", F_OK) == 0);
	assert_true(strncmp(vm.limits.backend, "kvm_", 4) == 0 || strcmp(vm.limits.backend, "unknown") == 0);
	assert_true(vm.kvm_fd >= 0);
	assert_int_equal(vm.vm_fd, -1);
	kvm_release(&vm);
}

static void release(void **state)
{
	struct kvm_vm vm;
	struct kvm_vcpu vcpu;

	(void)state;
	guest_need_kvm();
	kvm_vcpu_init(&vcpu);
	kvm_vcpu_release(&vcpu);
	kvm_init(&vm);
	kvm_release(&vm);
	guest_ok(kvm_open(&vm, "/dev/kvm", &guest_err));
	kvm_release(&vm);
	assert_int_equal(vm.kvm_fd, -1);
	assert_null(vm.cpuid);
	kvm_release(&vm);
	guest_ok(kvm_open(&vm, "/dev/kvm", &guest_err));
	kvm_release(&vm);
}

static void no_such_device(void **state)
{
	struct error err = {0};
	struct kvm_vm vm;

	(void)state;
	kvm_init(&vm);
	assert_int_equal(kvm_open(&vm, "/dev/no-kvm", &err), -ENOENT);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text,
			    "/dev/no-kvm: No such file or directory: load KVM with modprobe kvm_amd or modprobe "
			    "kvm_intel; if that fails, turn on virtualization in the firmware or in the "
			    "hypervisor around this machine");
	assert_int_equal(vm.kvm_fd, -1);
	kvm_release(&vm);
}

static void another_device(void **state)
{
	struct error err = {0};
	struct kvm_vm vm;

	(void)state;
	kvm_init(&vm);
	assert_int_equal(kvm_open(&vm, "/dev/null", &err), -ENOTTY);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text,
			    "/dev/null: not a KVM device (KVM_GET_API_VERSION: Inappropriate ioctl for device)");
	kvm_release(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits),
		cmocka_unit_test(release),
		cmocka_unit_test(no_such_device),
		cmocka_unit_test(another_device),
	};

	guest_deadline();
	return cmocka_run_group_tests_name("kvm", tests, NULL, NULL);
}
