/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmm/base/io.h"
#include "vmm/kvm/cpuid.h"
#include "vmm/kvm/exit.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/state.h"

/*
 * Linux 6.8's exit for a page that the host cannot give (api.rst §5, KVM_EXIT_MEMORY_FAULT); Debian 12's header does
 * not have it.
 */
#define EXIT_MEMORY_FAULT 39

/* Linux 6.11 (include/uapi/linux/kvm.h); neither has Debian 12's header this. It moves gpa and size on as it gets along. */
struct pre_fault_memory {
	uint64_t gpa, size, flags, padding[5];
};
#define PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct pre_fault_memory)

/*
 * Intel SDM vol. 3B, "Machine-Check Architecture": bits of IA32_MCG_CAP, IA32_MCG_STATUS and IA32_MCi_STATUS.
 */
#define CR4_MCE       (UINT64_C(1) << 6)
#define MCG_BANKS     2u /* bank 0 is the processor's own on some models */
#define MCG_CTL_P     (UINT64_C(1) << 8)
#define MCG_SER_P     (UINT64_C(1) << 24) /* tells recoverable errors from others */
#define MCG_RIPV      (UINT64_C(1) << 0)
#define MCG_EIPV      (UINT64_C(1) << 1)
#define MCG_MCIP      (UINT64_C(1) << 2)
#define MCI_VALID     (UINT64_C(1) << 63)
#define MCI_UC        (UINT64_C(1) << 61)
#define MCI_ENABLED   (UINT64_C(1) << 60)
#define MCI_MISCV     (UINT64_C(1) << 59)
#define MCI_ADDRV     (UINT64_C(1) << 58)
#define MCI_SIGNALED  (UINT64_C(1) << 56)
#define MCI_AR        (UINT64_C(1) << 55)
#define MCI_DATA_LOAD UINT64_C(0x134)
#define MISC_PAGE     UINT64_C(0x8c) /* a physical address (2 << 6), of which the lowest 12 bits do not count */

struct memory_fault {
	uint64_t flags, gpa, size;
};

void kvm_vcpu_init(struct kvm_vcpu *vcpu)
{
	*vcpu = (struct kvm_vcpu){.fd = -1};
}

void kvm_vcpu_release(struct kvm_vcpu *vcpu)
{
	if (vcpu->run != NULL)
		munmap(vcpu->run, vcpu->run_size);
	io_close(&vcpu->fd);
	kvm_vcpu_init(vcpu);
}

static int vcpu_error(const struct kvm_vcpu *vcpu, struct error *err, const char *call)
{
	int code = errno;

	return error_set(err, EXIT_STATUS_HOST, code, "vcpu %" PRIu32 ": %s: %s", vcpu->index, call, strerror(code));
}

static int check_bounds(const struct kvm_limits *limits, uint32_t index, uint32_t apic_id, struct error *err)
{
	if (index >= limits->max_vcpus)
		return error_set(err, EXIT_STATUS_HOST, EINVAL,
				 "too many vcpus: this host's KVM allows %u in one machine; ask for at most %u CPUs",
				 limits->max_vcpus, limits->max_vcpus);
	if (apic_id >= limits->max_vcpu_id)
		return error_set(err, EXIT_STATUS_HOST, EINVAL,
				 "vcpu %" PRIu32 ": APIC id %" PRIu32
				 " is too high: this host's KVM allows ids below %u; "
				 "use fewer CPUs, or fewer nodes with CPUs",
				 index, apic_id, limits->max_vcpu_id);
	return 0;
}

static int set_cpuid(const struct kvm_vcpu *vcpu, const struct kvm_vm *vm, const struct kvm_topology *topology,
		     struct error *err)
{
	struct kvm_cpuid2 *table = kvm_cpuid_make(vm->cpuid, topology, vm->limits.tsc_deadline);
	int result = 0;

	if (table == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "vcpu %" PRIu32 ": out of memory for CPUID",
				 vcpu->index);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, table) != 0)
		result = vcpu_error(vcpu, err, "KVM_SET_CPUID2");
	free(table);
	return result;
}

static int set_msrs(const struct kvm_vcpu *vcpu, struct error *err)
{
	union {
		struct kvm_msrs list; /* ends in an array without a size */
		uint8_t room[sizeof(struct kvm_msrs) + KVM_STATE_MSR_COUNT * sizeof(struct kvm_msr_entry)];
	} msrs = {.list.nmsrs = KVM_STATE_MSR_COUNT};
	int done;

	kvm_state_msrs(msrs.list.entries);
	done = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
	if (done < 0)
		return vcpu_error(vcpu, err, "KVM_SET_MSRS");
	if (done < KVM_STATE_MSR_COUNT) /* KVM stops at the first one that it refuses and says how many it took */
		return error_set(err, EXIT_STATUS_HOST, ENOTSUP, "vcpu %" PRIu32 ": KVM refuses MSR 0x%x = 0x%" PRIx64,
				 vcpu->index, msrs.list.entries[done].index, (uint64_t)msrs.list.entries[done].data);
	return 0;
}

static int set_lapic(const struct kvm_vcpu *vcpu, struct error *err)
{
	struct kvm_lapic_state lapic;

	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic) != 0)
		return vcpu_error(vcpu, err, "KVM_GET_LAPIC");
	kvm_state_lapic(&lapic);
	if (ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic) != 0)
		return vcpu_error(vcpu, err, "KVM_SET_LAPIC");
	return 0;
}

/* Banks in which kvm_vcpu_machine_check() can leave an error; without this the guest's would not be armed. */
static int set_up_machine_checks(const struct kvm_vcpu *vcpu, const struct kvm_vm *vm, struct error *err)
{
	uint64_t supported = 0, wanted;

	if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MCE) <= 0)
		return 0;
	if (ioctl(vm->kvm_fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported) != 0)
		return vcpu_error(vcpu, err, "KVM_X86_GET_MCE_CAP_SUPPORTED");
	wanted = MCG_BANKS | (supported & (MCG_CTL_P | MCG_SER_P));
	if (ioctl(vcpu->fd, KVM_X86_SETUP_MCE, &wanted) != 0)
		return vcpu_error(vcpu, err, "KVM_X86_SETUP_MCE");
	return 0;
}

int kvm_vcpu_create(struct kvm_vcpu *vcpu, struct kvm_vm *vm, uint32_t index, const struct kvm_topology *topology,
		    struct error *err)
{
	int result = check_bounds(&vm->limits, index, topology->apic_id, err);
	void *run;

	if (result != 0)
		return result;
	/* KVM starts the vcpu with id 0, and the id is the local APIC's. */
	assert((index == 0) == (topology->apic_id == 0));
	vcpu->index = index;
	vcpu->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, (unsigned long)topology->apic_id);
	if (vcpu->fd < 0) {
		result = vcpu_error(vcpu, err, "KVM_CREATE_VCPU");
		vcpu->fd = -1;
		return result;
	}
	run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return vcpu_error(vcpu, err, "mapping struct kvm_run");
	vcpu->run = run;
	vcpu->run_size = vm->run_size;
	result = set_cpuid(vcpu, vm, topology, err); /* first: it decides which MSRs there are */
	if (result == 0)
		result = set_msrs(vcpu, err);
	if (result == 0)
		result = set_up_machine_checks(vcpu, vm, err);
	if (result == 0 && index == 0)
		result = set_lapic(vcpu, err);
	return result;
}

int kvm_vcpu_set_start(struct kvm_vcpu *vcpu, const struct kvm_start *start, struct error *err)
{
	struct kvm_regs regs = kvm_state_regs(start);
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) != 0)
		return vcpu_error(vcpu, err, "KVM_GET_SREGS");
	kvm_state_sregs(start, &sregs);
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) != 0)
		return vcpu_error(vcpu, err, "KVM_SET_SREGS");
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) != 0)
		return vcpu_error(vcpu, err, "KVM_SET_REGS");
	return 0;
}

static int run_failed(const struct kvm_vcpu *vcpu, int code, struct error *err)
{
	static const char remedy[] = "the host has no memory for a page of the guest; see that huge pages, memory and "
				     "limits (ulimit, cgroup) suffice";
	const struct kvm_run *run = vcpu->run;
	struct memory_fault fault;

	if (code == EFAULT && run->exit_reason == EXIT_MEMORY_FAULT) {
		memcpy(&fault, &run->padding, sizeof(fault));
		return error_set(err, EXIT_STATUS_HOST, code,
				 "vcpu %" PRIu32 ": KVM_RUN: %s at guest address 0x%" PRIx64 ": %s", vcpu->index,
				 strerror(code), fault.gpa, remedy);
	}
	if (code == EFAULT || code == EHWPOISON)
		return error_set(err, EXIT_STATUS_HOST, code, "vcpu %" PRIu32 ": KVM_RUN: %s: %s", vcpu->index,
				 strerror(code), code == EFAULT ? remedy : "a memory cell of the host is broken");
	return error_set(err, EXIT_STATUS_HOST, code, "vcpu %" PRIu32 ": KVM_RUN: %s", vcpu->index, strerror(code));
}

/* After this, the caller looks at its stop flag; a kick that comes later sets immediate_exit again. */
static void forget_kick(struct kvm_run *run)
{
	__atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

int kvm_vcpu_pre_fault(struct kvm_vcpu *vcpu, struct range gpa)
{
	struct pre_fault_memory rest = {.gpa = gpa.start, .size = gpa.size};

	while (rest.size > 0) {
		if (ioctl(vcpu->fd, PRE_FAULT_MEMORY, &rest) != 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
	}
	return 0;
}

int kvm_vcpu_run(struct kvm_vcpu *vcpu, struct kvm_exit *exit, struct error *err)
{
	struct kvm_run *run = vcpu->run;

	if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
		kvm_exit_decode(run, exit);
	} else if (errno == EINTR || errno == EAGAIN) {
		/* EAGAIN: a vcpu that waited for SIPI was woken and runs with the next call. */
		exit->kind = KVM_EXIT_KIND_INTERRUPTED;
		exit->data = NULL;
		exit->text[0] = '\0';
	} else {
		return run_failed(vcpu, errno, err);
	}
	if (exit->kind == KVM_EXIT_KIND_INTERRUPTED)
		forget_kick(run);
	return 0;
}

int kvm_vcpu_machine_check(struct kvm_vcpu *vcpu, uint64_t gpa, struct error *err)
{
	/* The instruction has not been executed: the guest may go on at it, or end whoever it belongs to. */
	struct kvm_x86_mce mce = {
		.status = MCI_VALID | MCI_UC | MCI_ENABLED | MCI_MISCV | MCI_ADDRV | MCI_SIGNALED | MCI_AR |
			  MCI_DATA_LOAD,
		.addr = gpa,
		.misc = MISC_PAGE,
		.mcg_status = MCG_MCIP | MCG_EIPV | MCG_RIPV,
		.bank = MCG_BANKS - 1,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) != 0)
		return vcpu_error(vcpu, err, "KVM_GET_SREGS");
	if ((sregs.cr4 & CR4_MCE) == 0)
		return error_set(err, EXIT_STATUS_BACKING, EHWPOISON,
				 "vcpu %" PRIu32 ": memory at guest address 0x%" PRIx64
				 " is broken in the host, and the guest takes no machine checks; start it again",
				 vcpu->index, gpa);
	return ioctl(vcpu->fd, KVM_X86_SET_MCE, &mce) == 0 ? 0 : vcpu_error(vcpu, err, "KVM_X86_SET_MCE");
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	__atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

void kvm_vcpu_was_paused(const struct kvm_vcpu *vcpu)
{
	/* EINVAL: the guest has set up no kvmclock, and so has no way to be told */
	(void)ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
}
