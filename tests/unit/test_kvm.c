/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole of vmm/kvm against a KVM that does what the test says: every ioctl goes to __wrap_ioctl() (linked with
 * -Wl,--wrap=ioctl), /dev/null plays the device and memfds play the VM and its vcpu. So each call can be made to fail
 * in turn.
 */
#include "tests/unit/entries.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"

enum { RUN_SIZE = 3 * 4096 };

static struct fake {
	unsigned calls;   /* made so far that could fail */
	unsigned fail_at; /* which of them fails, from 1; 0 none */
	int fail_code;
	unsigned interrupts; /* this many times KVM_CREATE_VM is interrupted first */
	int version;
	int missing; /* a capability that is not there, or -1 */
	int run_size;
	int msrs_taken;
	int run_code;         /* KVM_RUN fails with it */
	uint32_t exit_reason; /* of KVM_RUN */
	struct kvm_run *run;  /* where KVM_RUN writes it */
	uint64_t cr4;
	uint64_t mcg_cap; /* of KVM_X86_SETUP_MCE */
	struct kvm_x86_mce mce;
} fake;

static void fake_reset(void)
{
	fake = (struct fake){.version = KVM_API_VERSION, .missing = -1, .run_size = RUN_SIZE, .msrs_taken = 2};
}

static int failed(int code)
{
	errno = code;
	return -1;
}

static int new_file(void)
{
	int fd = memfd_create("fake-kvm", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, RUN_SIZE), 0);
	return fd;
}

static int capability(int number)
{
	if (number == fake.missing)
		return 0;
	switch (number) {
	case KVM_CAP_NR_VCPUS:
		return 2;
	case KVM_CAP_MAX_VCPUS:
		return 64;
	case KVM_CAP_MAX_VCPU_ID:
		return 256;
	case KVM_CAP_NR_MEMSLOTS:
		return 509;
	case KVM_CAP_X2APIC_API:
		return 3;
	default:
		return 1;
	}
}

static int answer(unsigned long request, void *argument)
{
	struct kvm_cpuid2 *table = argument;

	switch (request) {
	case KVM_GET_SUPPORTED_CPUID:
		table->nent = 1;
		table->entries[0] = (struct kvm_cpuid_entry2){.function = 0x80000008, .eax = 0x302e};
		return 0;
	case KVM_CREATE_VM:
		if (fake.interrupts > 0) {
			fake.interrupts--;
			return failed(EINTR);
		}
		return new_file();
	case KVM_CREATE_VCPU:
		return new_file();
	case KVM_SET_MSRS:
		return fake.msrs_taken;
	case KVM_GET_SREGS:
		((struct kvm_sregs *)argument)->cr4 = fake.cr4;
		return 0;
	case KVM_X86_GET_MCE_CAP_SUPPORTED:
		*(uint64_t *)argument = 0x9000120; /* 32 banks, CTL_P, SER_P and LMCE */
		return 0;
	case KVM_X86_SETUP_MCE:
		fake.mcg_cap = *(uint64_t *)argument;
		return 0;
	case KVM_X86_SET_MCE:
		fake.mce = *(struct kvm_x86_mce *)argument;
		return 0;
	case KVM_RUN:
		if (fake.run != NULL)
			fake.run->exit_reason = fake.exit_reason;
		return fake.run_code != 0 ? failed(fake.run_code) : 0;
	default:
		return 0;
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *argument;

	va_start(args, request);
	argument = va_arg(args, void *);
	va_end(args);
	assert_true(fd >= 0);
	switch (request) {
	case KVM_GET_API_VERSION:
		return fake.version;
	case KVM_CHECK_EXTENSION:
		return capability((int)(intptr_t)argument);
	case KVM_GET_VCPU_MMAP_SIZE:
		return fake.run_size;
	default:
		fake.calls++;
		return fake.calls == fake.fail_at ? failed(fake.fail_code) : answer(request, argument);
	}
}

static const struct kvm_topology alone = {.apic_id = 0, .core_bits = 0, .package_cores = 1, .cpus = 1};

/* Everything that a machine calls before it runs. */
static int build(struct kvm_vm *vm, struct kvm_vcpu *vcpu, struct error *err)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));
	int result = kvm_open(vm, "/dev/null", err);

	if (result == 0)
		result = kvm_create_vm(vm, err);
	if (result == 0)
		result = kvm_add_memslot(vm, (struct range){0, sizeof(page)}, page, err);
	if (result == 0)
		result = kvm_create_irqchip(vm, err);
	if (result == 0)
		result = kvm_add_irqfd(vm, vm->kvm_fd, 0, err);
	if (result == 0)
		result = kvm_vcpu_create(vcpu, vm, 0, &alone, err);
	if (result == 0)
		result = kvm_vcpu_set_start(vcpu, &(struct kvm_start){.long_mode = true}, err);
	return result;
}

/* Each call fails in turn; the error names it, and nothing is left behind. */
static void every_call_fails_once(void **state)
{
	static const char *const texts[] = {
		"/dev/null: KVM_GET_SUPPORTED_CPUID: Operation not permitted",
		"KVM_CREATE_VM: Operation not permitted",
		"KVM_SET_IDENTITY_MAP_ADDR: Operation not permitted",
		"KVM_SET_TSS_ADDR: Operation not permitted",
		"KVM memslot 0 for 0x0-0xfff: Operation not permitted",
		"KVM_ENABLE_CAP of KVM_CAP_X2APIC_API: Operation not permitted",
		"KVM_CREATE_IRQCHIP: Operation not permitted",
		"KVM_GET_IRQCHIP: Operation not permitted",
		"KVM_SET_IRQCHIP: Operation not permitted",
		"KVM_GET_IRQCHIP: Operation not permitted",
		"KVM_SET_IRQCHIP: Operation not permitted",
		"KVM_SET_GSI_ROUTING: Operation not permitted",
		"KVM_IRQFD of GSI 0: Operation not permitted",
		"vcpu 0: KVM_CREATE_VCPU: Operation not permitted",
		"vcpu 0: KVM_SET_CPUID2: Operation not permitted",
		"vcpu 0: KVM_SET_MSRS: Operation not permitted",
		"vcpu 0: KVM_X86_GET_MCE_CAP_SUPPORTED: Operation not permitted",
		"vcpu 0: KVM_X86_SETUP_MCE: Operation not permitted",
		"vcpu 0: KVM_GET_LAPIC: Operation not permitted",
		"vcpu 0: KVM_SET_LAPIC: Operation not permitted",
		"vcpu 0: KVM_GET_SREGS: Operation not permitted",
		"vcpu 0: KVM_SET_SREGS: Operation not permitted",
		"vcpu 0: KVM_SET_REGS: Operation not permitted",
	};
	const size_t count = sizeof(texts) / sizeof(texts[0]);
	size_t files = entries_in("/proc/self/fd");

	(void)state;
	for (size_t i = 0; i <= count; i++) {
		struct kvm_vm vm;
		struct kvm_vcpu vcpu;
		struct error err = {0};
		int result;

		fake_reset();
		fake.fail_at = (unsigned)i + 1;
		fake.fail_code = EPERM;
		kvm_init(&vm);
		kvm_vcpu_init(&vcpu);
		result = build(&vm, &vcpu, &err);
		kvm_vcpu_release(&vcpu);
		kvm_release(&vm);
		assert_int_equal(entries_in("/proc/self/fd"), files);
		assert_int_equal(result, i < count ? -EPERM : 0);
		assert_int_equal(err.status, i < count ? EXIT_STATUS_HOST : EXIT_STATUS_OK);
		assert_string_equal(err.text, i < count ? texts[i] : "");
	}
	assert_int_equal(fake.calls, count);
}

static void assert_open_fails(int code, const char *text)
{
	struct error err = {0};
	struct kvm_vm vm;

	kvm_init(&vm);
	assert_int_equal(kvm_open(&vm, "/dev/null", &err), code);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text, text);
	kvm_release(&vm);
}

static void old_api(void **state)
{
	char want[200];

	(void)state;
	fake_reset();
	fake.version = 11;
	assert_open_fails(-ENOTSUP, "/dev/null: KVM API version 11, need 12: use another kernel");
	fake_reset();
	fake.run_size = 16;
	snprintf(want, sizeof(want), "/dev/null: KVM_GET_VCPU_MMAP_SIZE gives 16, need at least %zu",
		 sizeof(struct kvm_run));
	assert_open_fails(-ENOTSUP, want);
}

static void missing_capabilities(void **state)
{
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
	char want[200];

	(void)state;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		fake_reset();
		fake.missing = needed[i].number;
		snprintf(want, sizeof(want), "/dev/null: KVM lacks %s: use Linux 4.12 or later on x86-64",
			 needed[i].name);
		assert_open_fails(-ENOTSUP, want);
	}
}

static struct kvm_limits limits_without(int missing)
{
	struct error err = {0};
	struct kvm_limits limits;
	struct kvm_vm vm;

	fake_reset();
	fake.missing = missing;
	kvm_init(&vm);
	assert_int_equal(kvm_open(&vm, "/dev/null", &err), 0);
	limits = vm.limits;
	kvm_release(&vm);
	return limits;
}

static void limits(void **state)
{
	struct kvm_limits all = limits_without(-1);

	(void)state;
	assert_int_equal(all.phys_bits, 46);
	assert_int_equal(all.max_vcpus, 64);
	assert_int_equal(all.max_vcpu_id, 256);
	assert_int_equal(all.max_memslots, 509);
	assert_true(all.tsc_deadline && all.x2apic_ids && all.readonly_memory);
	assert_int_equal(limits_without(KVM_CAP_MAX_VCPUS).max_vcpus, 2);
	assert_int_equal(limits_without(KVM_CAP_MAX_VCPU_ID).max_vcpu_id, 64);
	assert_int_equal(limits_without(KVM_CAP_NR_MEMSLOTS).max_memslots, 32);
	assert_false(limits_without(KVM_CAP_TSC_DEADLINE_TIMER).tsc_deadline);
	assert_false(limits_without(KVM_CAP_X2APIC_API).x2apic_ids);
	assert_false(limits_without(KVM_CAP_READONLY_MEM).readonly_memory);
}

static void create_vm_is_interrupted_or_busy(void **state)
{
	struct error err = {0};
	struct kvm_vm vm;

	(void)state;
	fake_reset();
	fake.interrupts = 3;
	kvm_init(&vm);
	assert_int_equal(kvm_open(&vm, "/dev/null", &err), 0);
	assert_int_equal(kvm_create_vm(&vm, &err), 0);
	kvm_release(&vm);

	fake_reset();
	fake.fail_at = 2;
	fake.fail_code = EBUSY;
	assert_int_equal(kvm_open(&vm, "/dev/null", &err), 0);
	assert_int_equal(kvm_create_vm(&vm, &err), -EBUSY);
	assert_int_equal(vm.vm_fd, -1);
	assert_string_equal(err.text,
			    "KVM_CREATE_VM: Device or resource busy: another hypervisor holds the processor's "
			    "virtualization; stop it");
	kvm_release(&vm);
}

static void msr_is_refused(void **state)
{
	struct error err = {0};
	struct kvm_vm vm;
	struct kvm_vcpu vcpu;

	(void)state;
	fake_reset();
	fake.msrs_taken = 1;
	kvm_init(&vm);
	kvm_vcpu_init(&vcpu);
	assert_int_equal(build(&vm, &vcpu, &err), -ENOTSUP);
	assert_string_equal(err.text, "vcpu 0: KVM refuses MSR 0x2ff = 0x806");
	kvm_vcpu_release(&vcpu);
	kvm_release(&vm);
}

/* Intel SDM vol. 3B, "Architecturally Defined SRAR Errors", data load. */
static void a_machine_check_says_where(void **state)
{
	struct error err = {0};
	struct kvm_vm vm;
	struct kvm_vcpu vcpu;

	(void)state;
	fake_reset();
	kvm_init(&vm);
	kvm_vcpu_init(&vcpu);
	assert_int_equal(build(&vm, &vcpu, &err), 0);
	assert_int_equal(fake.mcg_cap, 0x1000102);                                      /* two banks, CTL_P and SER_P */
	assert_int_equal(kvm_vcpu_machine_check(&vcpu, 0x140003000, &err), -EHWPOISON); /* it would be a triple fault */
	assert_int_equal(err.status, EXIT_STATUS_BACKING);
	assert_string_equal(err.text,
			    "vcpu 0: memory at guest address 0x140003000 is broken in the host, and the guest "
			    "takes no machine checks; start it again");
	assert_int_equal(fake.mce.status, 0);
	fake.cr4 = 0x40;
	assert_int_equal(kvm_vcpu_machine_check(&vcpu, 0x140003000, &err), 0);
	assert_int_equal(fake.mce.bank, 1);
	assert_true(fake.mce.status == 0xbd80000000000134);
	assert_int_equal(fake.mce.addr, 0x140003000);
	assert_int_equal(fake.mce.misc, 0x8c);
	assert_int_equal(fake.mce.mcg_status, 7);
	fake.fail_at = fake.calls + 2;
	fake.fail_code = EINVAL;
	assert_int_equal(kvm_vcpu_machine_check(&vcpu, 0, &err), -EINVAL);
	assert_string_equal(err.text, "vcpu 0: KVM_X86_SET_MCE: Invalid argument");
	kvm_vcpu_release(&vcpu);
	kvm_release(&vm);
}

static void run_fails(void **state)
{
	static const struct {
		int code;
		uint32_t reason;
		const char *text;
	} failures[] = {
		{EFAULT, KVM_EXIT_UNKNOWN,
		 "vcpu 0: KVM_RUN: Bad address: the host has no memory for a page of the guest; see that huge pages, memory "
		 "and limits (ulimit, cgroup) suffice"},
		{EFAULT, 39,
		 "vcpu 0: KVM_RUN: Bad address at guest address 0x140003000: the host has no memory for a page of the guest; "
		 "see that huge pages, memory and limits (ulimit, cgroup) suffice"},
		{EHWPOISON, KVM_EXIT_UNKNOWN,
		 "vcpu 0: KVM_RUN: Memory page has hardware error: a memory cell of the host is broken"},
		{EINVAL, KVM_EXIT_UNKNOWN, "vcpu 0: KVM_RUN: Invalid argument"},
	};
	const uint64_t fault[3] = {0, 0x140003000, 4096}; /* flags, address, size */
	struct error err = {0};
	struct kvm_vm vm;
	struct kvm_vcpu vcpu;
	struct kvm_exit exit;

	(void)state;
	fake_reset();
	kvm_init(&vm);
	kvm_vcpu_init(&vcpu);
	assert_int_equal(build(&vm, &vcpu, &err), 0);
	fake.run = vcpu.run;
	memcpy(fake.run->padding, fault, sizeof(fault));
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		fake.run_code = failures[i].code;
		fake.exit_reason = failures[i].reason;
		assert_int_equal(kvm_vcpu_run(&vcpu, &exit, &err), -failures[i].code);
		assert_int_equal(err.status, EXIT_STATUS_HOST);
		assert_string_equal(err.text, failures[i].text);
	}
	kvm_vcpu_release(&vcpu);
	kvm_release(&vm);
}

/* The kick stays until a run was interrupted, whatever interrupted it. */
static void kick_is_kept(void **state)
{
	static const int codes[] = {EINTR, EAGAIN, 0};
	struct error err = {0};
	struct kvm_vm vm;
	struct kvm_vcpu vcpu;
	struct kvm_exit exit;

	(void)state;
	fake_reset();
	kvm_init(&vm);
	kvm_vcpu_init(&vcpu);
	assert_int_equal(build(&vm, &vcpu, &err), 0);
	fake.run = vcpu.run;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		kvm_vcpu_kick(&vcpu);
		fake.run_code = 0;
		fake.exit_reason = KVM_EXIT_MMIO;
		assert_int_equal(kvm_vcpu_run(&vcpu, &exit, &err), 0);
		assert_int_equal(exit.kind, KVM_EXIT_KIND_MMIO);
		assert_int_equal(fake.run->immediate_exit, 1);
		fake.run_code = codes[i];
		fake.exit_reason = KVM_EXIT_INTR;
		assert_int_equal(kvm_vcpu_run(&vcpu, &exit, &err), 0);
		assert_int_equal(exit.kind, KVM_EXIT_KIND_INTERRUPTED);
		assert_int_equal(fake.run->immediate_exit, 0);
	}
	kvm_vcpu_release(&vcpu);
	kvm_release(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_call_fails_once),
		cmocka_unit_test(old_api),
		cmocka_unit_test(missing_capabilities),
		cmocka_unit_test(limits),
		cmocka_unit_test(create_vm_is_interrupted_or_busy),
		cmocka_unit_test(msr_is_refused),
		cmocka_unit_test(a_machine_check_says_where),
		cmocka_unit_test(run_fails),
		cmocka_unit_test(kick_is_kept),
	};

	return cmocka_run_group_tests_name("kvm", tests, NULL, NULL);
}
