/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/buf.h"

struct fake_kvm fake_kvm;

const uint64_t KVM_BOOT_GDT[4] = {0, 0, UINT64_C(0x00af9b000000ffff), UINT64_C(0x00cf93000000ffff)};

/* What a vcpu's mapping holds: the kick, and the bytes of the exit under way. */
struct fake_run {
	atomic_int kicked;
	uint8_t data[64];
	struct fake_step *open_read; /* the step that waits for its answer */
};

void fake_kvm_reset(void)
{
	fake_kvm = (struct fake_kvm){
		.limits = {.phys_bits = 46,
			   .max_vcpus = 255,
			   .max_vcpu_id = 4096,
			   .max_memslots = FAKE_MEMSLOTS_MAX,
			   .readonly_memory = true,
			   .hardware = true,
			   .backend = "kvm_fake"},
	};
}

/* assert() is compiled out of some builds; a machine that misuses KVM must not pass in any. */
static void must(bool holds)
{
	if (holds)
		return;
	fputs("fake_kvm.c: a call breaks the contract of vmm/kvm/kvm.h\n", stderr);
	abort();
}

static int fails(const char *call, struct error *err)
{
	int code = fake_kvm.fails != NULL ? fake_kvm.fails(call) : 0;

	if (code < 0)
		return error_set(err, EXIT_STATUS_HOST, -code, "%s: %s", call, strerror(-code));
	return 0;
}

/* open() and close() are not the test's to fail: these are the fake's own. */
static int new_descriptor(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	must(fd >= 0);
	return fd;
}

static void close_descriptor(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void kvm_init(struct kvm_vm *vm)
{
	*vm = (struct kvm_vm){.kvm_fd = -1, .vm_fd = -1};
}

int kvm_open(struct kvm_vm *vm, const char *device, struct error *err)
{
	int code = fails("kvm_open", err);

	(void)device;
	must(vm->kvm_fd == -1);
	if (code < 0)
		return code;
	vm->kvm_fd = new_descriptor();
	vm->limits = fake_kvm.limits;
	return 0;
}

int kvm_create_vm(struct kvm_vm *vm, struct error *err)
{
	int code = fails("kvm_create_vm", err);

	must(vm->kvm_fd >= 0 && vm->vm_fd == -1);
	if (code < 0)
		return code;
	vm->vm_fd = new_descriptor();
	fake_kvm.irqchip = false;
	fake_kvm.memslot_count = 0;
	fake_kvm.irqfd_count = 0;
	fake_kvm.pre_faulted_count = 0;
	fake_kvm.kick_count = 0;
	return 0;
}

int kvm_create_irqchip(struct kvm_vm *vm, struct error *err)
{
	int code = fails("kvm_create_irqchip", err);

	must(vm->vm_fd >= 0 && !fake_kvm.irqchip);
	if (code < 0)
		return code;
	fake_kvm.irqchip = true;
	return 0;
}

void kvm_release(struct kvm_vm *vm)
{
	close_descriptor(&vm->vm_fd);
	close_descriptor(&vm->kvm_fd);
	kvm_init(vm);
}

static int add_memslot(const char *call, const struct kvm_vm *vm, struct range gpa, void *hva, bool readonly,
		       struct error *err)
{
	int code = fails(call, err);

	must(vm->vm_fd >= 0 && !fake_kvm.irqchip && fake_kvm.memslot_count < FAKE_MEMSLOTS_MAX);
	if (code < 0)
		return code;
	for (size_t i = 0; i < fake_kvm.memslot_count; i++)
		must(!range_overlaps(fake_kvm.memslots[i].gpa, gpa));
	fake_kvm.memslots[fake_kvm.memslot_count].gpa = gpa;
	fake_kvm.memslots[fake_kvm.memslot_count].readonly = readonly;
	fake_kvm.memslots[fake_kvm.memslot_count++].hva = hva;
	return 0;
}

int kvm_add_memslot(struct kvm_vm *vm, struct range gpa, void *hva, struct error *err)
{
	return add_memslot("kvm_add_memslot", vm, gpa, hva, false, err);
}

int kvm_add_readonly_memslot(struct kvm_vm *vm, struct range gpa, void *hva, struct error *err)
{
	must(vm->limits.readonly_memory);
	return add_memslot("kvm_add_readonly_memslot", vm, gpa, hva, true, err);
}

int kvm_add_irqfd(struct kvm_vm *vm, int eventfd, uint32_t gsi, struct error *err)
{
	int code = fails("kvm_add_irqfd", err);

	must(vm->vm_fd >= 0 && fake_kvm.irqchip && fake_kvm.irqfd_count < FAKE_IRQFDS_MAX &&
	     fcntl(eventfd, F_GETFD) >= 0);
	if (code < 0)
		return code;
	fake_kvm.irqfds[fake_kvm.irqfd_count].eventfd = eventfd;
	fake_kvm.irqfds[fake_kvm.irqfd_count++].gsi = gsi;
	return 0;
}

int kvm_add_ioeventfd(struct kvm_vm *vm, int eventfd, uint64_t gpa, uint32_t value, struct error *err)
{
	int code = fails("kvm_add_ioeventfd", err);

	must(vm->vm_fd >= 0 && fake_kvm.kick_count < FAKE_KICKS_MAX && fcntl(eventfd, F_GETFD) >= 0);
	if (code < 0)
		return code;
	for (size_t i = 0; i < fake_kvm.kick_count; i++)
		must(fake_kvm.kicks[i].gpa != gpa || fake_kvm.kicks[i].value != value);
	fake_kvm.kicks[fake_kvm.kick_count].eventfd = eventfd;
	fake_kvm.kicks[fake_kvm.kick_count].gpa = gpa;
	fake_kvm.kicks[fake_kvm.kick_count++].value = value;
	return 0;
}

int kvm_get_clock(const struct kvm_vm *vm, uint64_t *nanoseconds, struct error *err)
{
	int code = fails("kvm_get_clock", err);

	must(vm->vm_fd >= 0);
	if (code == 0)
		*nanoseconds = fake_kvm.clock;
	return code;
}

int kvm_set_clock(const struct kvm_vm *vm, uint64_t nanoseconds, struct error *err)
{
	int code = fails("kvm_set_clock", err);

	must(vm->vm_fd >= 0);
	if (code == 0) {
		fake_kvm.clock = nanoseconds;
		fake_kvm.clock_sets++;
	}
	return code;
}

void kvm_vcpu_was_paused(const struct kvm_vcpu *vcpu)
{
	must(vcpu->fd >= 0);
	atomic_fetch_add(&fake_kvm.pauses, 1);
}

void kvm_vcpu_init(struct kvm_vcpu *vcpu)
{
	*vcpu = (struct kvm_vcpu){.fd = -1};
}

int kvm_vcpu_create(struct kvm_vcpu *vcpu, struct kvm_vm *vm, uint32_t index, const struct kvm_topology *topology,
		    struct error *err)
{
	int code = fails("kvm_vcpu_create", err);

	must(vm->vm_fd >= 0 && fake_kvm.irqchip && vcpu->fd == -1 && index < 256);
	vcpu->index = index;
	if (code < 0)
		return code;
	fake_kvm.topologies[index] = *topology;
	vcpu->fd = new_descriptor();
	vcpu->run_size = sizeof(struct fake_run);
	vcpu->run = calloc(1, vcpu->run_size);
	if (vcpu->run == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory for the fake vcpu");
	return 0;
}

void kvm_vcpu_release(struct kvm_vcpu *vcpu)
{
	close_descriptor(&vcpu->fd);
	free(vcpu->run);
	kvm_vcpu_init(vcpu);
}

int kvm_vcpu_set_start(struct kvm_vcpu *vcpu, const struct kvm_start *start, struct error *err)
{
	int code = fails("kvm_vcpu_set_start", err);

	must(vcpu->index == 0);
	fake_kvm.start = *start;
	return code;
}

/* As KVM: a read is complete when the guest goes on. */
static void finish_read(struct fake_run *run)
{
	if (run->open_read == NULL)
		return;
	memcpy(run->open_read->answer, run->data, sizeof(run->open_read->answer));
	run->open_read = NULL;
}

static int take_step(struct fake_run *run, struct fake_step *step, struct kvm_exit *exit, struct error *err)
{
	if (fake_kvm.before_step != NULL)
		fake_kvm.before_step();
	if (step->code < 0)
		return error_set(err, EXIT_STATUS_HOST, -step->code, "KVM_RUN: %s", strerror(-step->code));
	*exit = step->exit;
	exit->data = run->data;
	if (exit->is_write)
		memcpy(run->data, step->exit.data, (size_t)exit->size * exit->count);
	else
		run->open_read = step;
	return 0;
}

int kvm_vcpu_pre_fault(struct kvm_vcpu *vcpu, struct range gpa)
{
	struct error err;
	bool found = false;

	must(fake_kvm.limits.pre_fault && vcpu->fd >= 0 && gpa.size > 0 &&
	     fake_kvm.pre_faulted_count < FAKE_MEMSLOTS_MAX);
	for (size_t i = 0; i < fake_kvm.memslot_count; i++)
		found |= range_contains(fake_kvm.memslots[i].gpa, gpa);
	must(found);
	fake_kvm.pre_faulted[fake_kvm.pre_faulted_count++] = gpa;
	return fails("kvm_vcpu_pre_fault", &err);
}

int kvm_vcpu_run(struct kvm_vcpu *vcpu, struct kvm_exit *exit, struct error *err)
{
	const struct timespec a_moment = {0, 1000000};
	struct fake_run *run = vcpu->run;
	size_t step = atomic_load(&fake_kvm.step);

	finish_read(run);
	if (vcpu->index == 0 && step < fake_kvm.step_count) {
		atomic_store(&fake_kvm.step, step + 1);
		return take_step(run, &fake_kvm.steps[step], exit, err);
	}
	/* interrupted by the machine's signal or, at the latest, after a millisecond */
	while (atomic_exchange(&run->kicked, 0) == 0)
		nanosleep(&a_moment, NULL);
	*exit = (struct kvm_exit){.kind = KVM_EXIT_KIND_INTERRUPTED};
	return 0;
}

int kvm_vcpu_machine_check(struct kvm_vcpu *vcpu, uint64_t gpa, struct error *err)
{
	int code = fails("kvm_vcpu_machine_check", err);

	must(vcpu->fd >= 0);
	fake_kvm.machine_checks++;
	fake_kvm.broken = gpa;
	return code;
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	struct fake_run *run = vcpu->run;

	atomic_store(&run->kicked, 1);
}

void kvm_vcpu_dump(const struct kvm_vcpu *vcpu,
		   int (*read_guest)(void *context, uint64_t gpa, void *bytes, size_t size), void *context,
		   struct buf *text)
{
	uint8_t first;

	buf_printf(text, "the registers of vcpu %u; byte 0 %s\n", vcpu->index,
		   read_guest(context, 0, &first, 1) == 0 ? "read" : "not read");
}
