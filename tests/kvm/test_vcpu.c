/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/guest.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "vmm/base/buf.h"

static void port_sizes(void **state)
{
	static const uint8_t code[] = {
		0xba, 0xf8, 0x03,                   /* mov dx, 0x3f8 */
		0xb0, 0x41,                         /* mov al, 0x41 */
		0xee,                               /* out dx, al */
		0xb8, 0x34, 0x12,                   /* mov ax, 0x1234 */
		0xef,                               /* out dx, ax */
		0x66, 0xb8, 0xef, 0xcd, 0xab, 0x89, /* mov eax, 0x89abcdef */
		0x66, 0xef,                         /* out dx, eax */
		0xec,                               /* in al, dx */
		0xe6, 0x80,                         /* out 0x80, al */
		0x66, 0xed,                         /* in eax, dx */
		0x66, 0xe7, 0x80,                   /* out 0x80, eax */
	};
	struct guest *guest = guest_new();

	(void)state;
	guest_start_real(guest, code, sizeof(code));
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, 0x3f8, 1, 0x41);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, 0x3f8, 2, 0x1234);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, 0x3f8, 4, 0x89abcdef);
	guest_reads(&guest->vcpu, KVM_EXIT_KIND_IO, 0x3f8, 1, 0x5a);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 1, 0x5a);
	guest_reads(&guest->vcpu, KVM_EXIT_KIND_IO, 0x3f8, 4, 0xcafef00d);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, 0xcafef00d);
	guest_free(guest);
}

/* KVM may hand over a string in one exit or in several; together they are the string. */
static void string_out_and_in(void **state)
{
	static const uint8_t code[] = {
		0xfc,             /* cld */
		0xbe, 0x00, 0x18, /* mov si, GUEST_DATA */
		0xb9, 0x03, 0x00, /* mov cx, 3 */
		0xba, 0xf8, 0x03, /* mov dx, 0x3f8 */
		0xf3, 0x6f,       /* rep outsw */
		0xbf, 0x00, 0x19, /* mov di, GUEST_DATA + 0x100 */
		0xb9, 0x04, 0x00, /* mov cx, 4 */
		0xf3, 0x6c,       /* rep insb */
		0xe6, 0x80,       /* out 0x80, al */
	};
	struct guest *guest = guest_new();
	char out[6] = "", in[] = "wxyz";
	size_t done;

	(void)state;
	memcpy(guest->memory + GUEST_DATA, "abcdef", 6);
	guest_start_real(guest, code, sizeof(code));
	for (done = 0; done < 6;) {
		struct kvm_exit exit = guest_access(&guest->vcpu, KVM_EXIT_KIND_IO, 0x3f8, 2, true);

		assert_in_range(exit.count, 1, (6 - done) / 2);
		memcpy(out + done, exit.data, exit.count * 2);
		done += exit.count * 2;
	}
	assert_memory_equal(out, "abcdef", 6);
	for (done = 0; done < 4;) {
		struct kvm_exit exit = guest_access(&guest->vcpu, KVM_EXIT_KIND_IO, 0x3f8, 1, false);

		assert_in_range(exit.count, 1, 4 - done);
		memcpy(exit.data, in + done, exit.count);
		done += exit.count;
	}
	guest_access(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 1, true);
	assert_memory_equal(guest->memory + GUEST_DATA + 0x100, "wxyz", 4);
	guest_free(guest);
}

static void unbacked_memory(void **state)
{
	static const uint8_t code[] = {
		0xb0, 0x77,             /* mov al, 0x77 */
		0xa2, 0x00, 0x90,       /* mov [0x9000], al */
		0xa1, 0x02, 0x90,       /* mov ax, [0x9002] */
		0xe7, 0x80,             /* out 0x80, ax */
		0x66, 0xa1, 0x04, 0x90, /* mov eax, [0x9004] */
		0x66, 0xe7, 0x80,       /* out 0x80, eax */
	};
	struct guest *guest = guest_new();

	(void)state;
	guest_start_real(guest, code, sizeof(code));
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_MMIO, 0x9000, 1, 0x77);
	guest_reads(&guest->vcpu, KVM_EXIT_KIND_MMIO, 0x9002, 2, 0xbeef);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 2, 0xbeef);
	guest_reads(&guest->vcpu, KVM_EXIT_KIND_MMIO, 0x9004, 4, 0x01020304);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, 0x01020304);
	guest_free(guest);
}

static void long_mode(void **state)
{
	static const uint8_t code[] = {
		0x89, 0xf0,                                                 /* mov eax, esi */
		0xe7, 0x80,                                                 /* out 0x80, eax */
		0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* mov rax, 0x1122334455667788 */
		0xbb, 0x00, 0x00, 0x20, 0x00,                               /* mov ebx, 0x200000 */
		0x48, 0x89, 0x03,                                           /* mov [rbx], rax */
		0x48, 0x8b, 0x43, 0x08,                                     /* mov rax, [rbx + 8] */
		0x48, 0xc1, 0xe8, 0x20,                                     /* shr rax, 32 */
		0xe7, 0x80,                                                 /* out 0x80, eax */
	};
	struct guest *guest = guest_new();

	(void)state;
	guest_start_long(guest, code, sizeof(code));
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, 0x7000);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_MMIO, 0x200000, 8, UINT64_C(0x1122334455667788));
	guest_reads(&guest->vcpu, KVM_EXIT_KIND_MMIO, 0x200008, 8, UINT64_C(0xfeedface12345678));
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, 0xfeedface);
	guest_free(guest);
}

static void cpuid(void **state)
{
	static const uint8_t code[] = {
		0x66, 0xb8, 0x01, 0x00, 0x00, 0x00, /* mov eax, 1 */
		0x0f, 0xa2,                         /* cpuid */
		0x66, 0x89, 0xd8,                   /* mov eax, ebx */
		0x66, 0xe7, 0x80,                   /* out 0x80, eax */
		0x66, 0x89, 0xc8,                   /* mov eax, ecx */
		0x66, 0xe7, 0x80,                   /* out 0x80, eax */
	};
	struct guest *guest = guest_new();
	uint32_t ebx, ecx;

	(void)state;
	guest_start_real(guest, code, sizeof(code));
	memcpy(&ebx, guest_access(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, true).data, 4);
	memcpy(&ecx, guest_access(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, true).data, 4);
	assert_int_equal(ebx >> 16, 4); /* APIC id 0, four cores */
	assert_int_equal(ecx >> 31, 1); /* hypervisor */
	assert_int_equal(ecx >> 24 & 1, guest->vm.limits.tsc_deadline);
	guest_free(guest);
}

/* ------------------------------------------------------------------------------------------------ threads */

struct runner {
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	struct kvm_exit exit;
	int result;
};

static void *run_once(void *argument)
{
	struct runner *runner = argument;
	struct error err;

	runner->result = kvm_vcpu_run(runner->vcpu, &runner->exit, &err);
	return NULL;
}

static void nothing(int number)
{
	(void)number;
}

static void runner_start(struct runner *runner, struct kvm_vcpu *vcpu)
{
	const struct sigaction action = {.sa_handler = nothing};

	*runner = (struct runner){.vcpu = vcpu};
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(pthread_create(&runner->thread, NULL, run_once, runner), 0);
}

/* As the machine stops a vcpu: kick, then the signal. The vcpu must not have left the guest before. */
static void runner_stop(struct runner *runner)
{
	usleep(100 * 1000);
	assert_int_equal(pthread_tryjoin_np(runner->thread, NULL), EBUSY);
	kvm_vcpu_kick(runner->vcpu);
	assert_int_equal(pthread_kill(runner->thread, SIGUSR1), 0);
	assert_int_equal(pthread_join(runner->thread, NULL), 0);
	assert_int_equal(runner->result, 0);
	assert_int_equal(runner->exit.kind, KVM_EXIT_KIND_INTERRUPTED);
}

static void kick_ends_halt(void **state)
{
	static const uint8_t code[] = {0xf4}; /* hlt, with interrupts off: for ever */
	struct guest *guest = guest_new();
	struct runner runner;

	(void)state;
	guest_start_real(guest, code, sizeof(code));
	runner_start(&runner, &guest->vcpu);
	runner_stop(&runner);
	guest_free(guest);
}

static void kick_ends_loop(void **state)
{
	static const uint8_t code[] = {0xeb, 0xfe}; /* jmp to itself */
	struct guest *guest = guest_new();
	struct runner runner;

	(void)state;
	guest_start_real(guest, code, sizeof(code));
	runner_start(&runner, &guest->vcpu);
	runner_stop(&runner);
	guest_free(guest);
}

/* A kick between two runs is seen once, and an answered read takes effect all the same. */
static void kick_before_run(void **state)
{
	static const uint8_t code[] = {
		0xe4, 0x81, /* in al, 0x81 */
		0xe6, 0x80, /* out 0x80, al */
	};
	struct guest *guest = guest_new();

	(void)state;
	guest_start_real(guest, code, sizeof(code));
	kvm_vcpu_kick(&guest->vcpu);
	assert_int_equal(guest_run(&guest->vcpu).kind, KVM_EXIT_KIND_INTERRUPTED);
	guest_reads(&guest->vcpu, KVM_EXIT_KIND_IO, 0x81, 1, 0x3c);
	kvm_vcpu_kick(&guest->vcpu);
	assert_int_equal(guest_run(&guest->vcpu).kind, KVM_EXIT_KIND_INTERRUPTED);
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 1, 0x3c);
	guest_free(guest);
}

static void second_vcpu_waits_for_sipi(void **state)
{
	static const uint8_t boot_code[] = {
		0xbb, 0x00, 0x00, 0xe0, 0xfe, /* mov ebx, 0xfee00000 */
		0xc7, 0x83, 0x00, 0x03, 0x00,
		0x00, 0x00, 0x45, 0x0c, 0x00, /* mov dword [rbx + 0x300], INIT to all others */
		0xc7, 0x83, 0x00, 0x03, 0x00,
		0x00, 0x06, 0x46, 0x0c, 0x00, /* ... SIPI to GUEST_AP_CODE */
		0xf4,                         /* hlt */
	};
	static const uint8_t second_code[] = {
		0xb0, 0x55, /* mov al, 0x55 */
		0xe6, 0x80, /* out 0x80, al */
	};
	const struct kvm_topology topology = {.apic_id = 1, .core_bits = 2, .package_cores = 4, .cpus = 4};
	struct guest *guest = guest_new();
	struct kvm_vcpu second;
	struct runner runner, boot;
	struct kvm_exit exit;

	(void)state;
	kvm_vcpu_init(&second);
	guest_ok(kvm_vcpu_create(&second, &guest->vm, 1, &topology, &guest_err));
	memcpy(guest->memory + GUEST_AP_CODE, second_code, sizeof(second_code));
	guest_start_long(guest, boot_code, sizeof(boot_code));
	runner_start(&runner, &second);
	runner_stop(&runner); /* still waiting */
	runner_start(&boot, &guest->vcpu);
	do {
		exit = guest_run(&second);
	} while (exit.kind == KVM_EXIT_KIND_INTERRUPTED);
	assert_int_equal(exit.kind, KVM_EXIT_KIND_IO);
	assert_int_equal(exit.data[0], 0x55);
	runner_stop(&boot);
	kvm_vcpu_release(&second);
	guest_free(guest);
}

/*
 * ------------------------------------------------------------------------------------------------ crashes and errors

 */

static int read_guest(void *context, uint64_t gpa, void *bytes, size_t size)
{
	const struct guest *guest = context;

	if (gpa > GUEST_MEMORY || size > GUEST_MEMORY - gpa)
		return -EFAULT;
	memcpy(bytes, guest->memory + gpa, size);
	return 0;
}

static void triple_fault(void **state)
{
	static const uint8_t code[] = {0x0f, 0x0b}; /* ud2, and the IDT is empty */
	struct guest *guest = guest_new();
	struct buf text = {0};

	(void)state;
	guest_start_long(guest, code, sizeof(code));
	assert_int_equal(guest_run(&guest->vcpu).kind, KVM_EXIT_KIND_SHUTDOWN);
	kvm_vcpu_dump(&guest->vcpu, read_guest, guest, &text);
	buf_u8(&text, 0);
	/* AMD: the reset state, and the text says so; elsewhere the place of the fault */
	if (strstr((const char *)text.data, "the place of the fault is not known") == NULL)
		assert_non_null(strstr((const char *)text.data, "rip=0000000000001000"));
	else
		assert_non_null(strstr((const char *)text.data, "rip=000000000000fff0"));
	buf_release(&text);
	guest_free(guest);
}

static void dump(void **state)
{
	static const uint8_t code[] = {
		0xb8, 0x44, 0x33, 0x22, 0x11, /* mov eax, 0x11223344 */
		0xe7, 0x80,                   /* out 0x80, eax */
		0xf4,                         /* hlt */
	};
	struct guest *guest = guest_new();
	struct buf text = {0};
	char want[64];
	struct kvm_regs regs;

	(void)state;
	guest_start_long(guest, code, sizeof(code));
	guest_writes(&guest->vcpu, KVM_EXIT_KIND_IO, GUEST_PORT, 4, 0x11223344);
	assert_int_equal(ioctl(guest->vcpu.fd, KVM_GET_REGS, &regs), 0);
	assert_in_range(regs.rip, GUEST_CODE + 5, GUEST_CODE + 7); /* KVM may or may not have stepped over the out */
	kvm_vcpu_dump(&guest->vcpu, read_guest, guest, &text);
	buf_u8(&text, 0);
	assert_memory_equal(text.data, "vcpu 0:\n", 8);
	snprintf(want, sizeof(want), "rip=%016llx", regs.rip);
	assert_non_null(strstr((const char *)text.data, want));
	assert_non_null(strstr((const char *)text.data, "rax=0000000011223344"));
	assert_non_null(strstr((const char *)text.data, "cs=0010"));
	assert_non_null(strstr((const char *)text.data,
			       regs.rip == GUEST_CODE + 5 ? "44 33 22 11 <e7> 80 f4" : "44 33 22 11 e7 80 <f4>"));
	buf_release(&text);
	guest_free(guest);
}

/* Code in a place that is not mapped. */
static void dump_without_code(void **state)
{
	static const uint8_t code[] = {0xf4};
	struct guest *guest = guest_new();
	struct buf text = {0};
	struct kvm_regs regs;

	(void)state;
	guest_start_long(guest, code, sizeof(code));
	assert_int_equal(ioctl(guest->vcpu.fd, KVM_GET_REGS, &regs), 0);
	regs.rip = 2; /* also: fewer than 16 bytes before it */
	assert_int_equal(ioctl(guest->vcpu.fd, KVM_SET_REGS, &regs), 0);
	kvm_vcpu_dump(&guest->vcpu, read_guest, guest, &text);
	buf_u8(&text, 0);
	assert_non_null(strstr((const char *)text.data, "    code 00 00 <00> 00"));
	buf_release(&text);
	regs.rip = GIB + 0x10; /* no page table there */
	assert_int_equal(ioctl(guest->vcpu.fd, KVM_SET_REGS, &regs), 0);
	kvm_vcpu_dump(&guest->vcpu, read_guest, guest, &text);
	buf_u8(&text, 0);
	assert_non_null(strstr((const char *)text.data, " -- <--> --"));
	buf_release(&text);
	guest_free(guest);
}

static void dump_without_vcpu(void **state)
{
	struct kvm_vcpu vcpu;
	struct buf text = {0};

	(void)state;
	kvm_vcpu_init(&vcpu);
	kvm_vcpu_dump(&vcpu, read_guest, NULL, &text);
	buf_u8(&text, 0);
	assert_string_equal((const char *)text.data, "vcpu 0: the registers cannot be read: Bad file descriptor\n");
	buf_release(&text);
}

static void bounds(void **state)
{
	struct guest *guest = guest_new();
	struct kvm_topology topology = guest_topology;
	struct error err = {0};
	struct kvm_vcpu vcpu;
	char want[600];

	(void)state;
	kvm_vcpu_init(&vcpu);
	topology.apic_id = 1;
	assert_int_equal(kvm_vcpu_create(&vcpu, &guest->vm, guest->vm.limits.max_vcpus, &topology, &err), -EINVAL);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	snprintf(want, sizeof(want),
		 "too many vcpus: this host's KVM allows %u in one machine; ask for at most %u CPUs",
		 guest->vm.limits.max_vcpus, guest->vm.limits.max_vcpus);
	assert_string_equal(err.text, want);
	topology.apic_id = guest->vm.limits.max_vcpu_id;
	assert_int_equal(kvm_vcpu_create(&vcpu, &guest->vm, 1, &topology, &err), -EINVAL);
	snprintf(
		want, sizeof(want),
		"vcpu 1: APIC id %u is too high: this host's KVM allows ids below %u; use fewer CPUs, or fewer nodes with "
		"CPUs",
		guest->vm.limits.max_vcpu_id, guest->vm.limits.max_vcpu_id);
	assert_string_equal(err.text, want);
	assert_int_equal(kvm_vcpu_create(&vcpu, &guest->vm, 0, &guest_topology, &err), -EEXIST);
	assert_string_equal(err.text, "vcpu 0: KVM_CREATE_VCPU: File exists");
	assert_int_equal(vcpu.fd, -1);
	kvm_vcpu_release(&vcpu);
	guest_free(guest);
}

/* A page that the host cannot give, as when huge pages run out: here its owner may not touch it. */
static void memory_is_gone(void **state)
{
	static const uint8_t code[] = {0xf4};
	struct guest *guest = guest_new();
	struct kvm_exit exit;
	struct error err = {0};

	(void)state;
	guest_start_real(guest, code, sizeof(code));
	assert_int_equal(mprotect(guest->memory, GUEST_MEMORY, PROT_NONE), 0);
	if (guest->vm.limits.hardware) {
		assert_int_equal(kvm_vcpu_run(&guest->vcpu, &exit, &err), -EFAULT);
		assert_int_equal(err.status, EXIT_STATUS_HOST);
		assert_memory_equal(err.text, "vcpu 0: KVM_RUN: Bad address", 28);
		assert_non_null(strstr(err.text,
				       ": the host has no memory for a page of the guest; see that huge pages, "
				       "memory and limits (ulimit, cgroup) suffice"));
	} else {
		/* a software backend, which runs guests with KVM's emulator, takes the page for a device's */
		guest_ok(kvm_vcpu_run(&guest->vcpu, &exit, &guest_err));
		assert_true(exit.kind == KVM_EXIT_KIND_MMIO || exit.kind == KVM_EXIT_KIND_CRASH);
	}
	guest_free(guest);
}

static void run_without_vcpu(void **state)
{
	struct kvm_vcpu vcpu;
	struct kvm_exit exit;
	struct error err = {0};

	(void)state;
	kvm_vcpu_init(&vcpu);
	assert_int_equal(kvm_vcpu_run(&vcpu, &exit, &err), -EBADF);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text, "vcpu 0: KVM_RUN: Bad file descriptor");
	assert_int_equal(kvm_vcpu_set_start(&vcpu, &(struct kvm_start){0}, &err), -EBADF);
	assert_string_equal(err.text, "vcpu 0: KVM_GET_SREGS: Bad file descriptor");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_sizes),
		cmocka_unit_test(string_out_and_in),
		cmocka_unit_test(unbacked_memory),
		cmocka_unit_test(long_mode),
		cmocka_unit_test(cpuid),
		cmocka_unit_test(kick_ends_halt),
		cmocka_unit_test(kick_ends_loop),
		cmocka_unit_test(kick_before_run),
		cmocka_unit_test(second_vcpu_waits_for_sipi),
		cmocka_unit_test(triple_fault),
		cmocka_unit_test(dump),
		cmocka_unit_test(dump_without_code),
		cmocka_unit_test(dump_without_vcpu),
		cmocka_unit_test(bounds),
		cmocka_unit_test(memory_is_gone),
		cmocka_unit_test(run_without_vcpu),
	};

	guest_deadline();
	return cmocka_run_group_tests_name("vcpu", tests, NULL, NULL);
}
