/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KVM_KVM_H
#define SPMVM_KVM_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/range.h"

/*
 * /dev/kvm and one virtual machine; this folder is its only user. Linux Documentation/virt/kvm/api.rst. Errors are
 * EXIT_STATUS_HOST unless said otherwise and name the remedy (the group to join, the module to load).
 */

/* What this host's KVM gives, asked once. */
struct kvm_limits {
	unsigned phys_bits; /* guest-physical bits that CPUID 0x80000008 offers and KVM can map: the lower of the two */
	unsigned max_vcpus; /* vcpus in one VM */
	unsigned max_vcpu_id;  /* APIC ids are below this */
	unsigned max_memslots; /* memslots in one VM */
	bool tsc_deadline;     /* the local APIC's timer has its TSC-deadline mode (KVM_CAP_TSC_DEADLINE_TIMER) */
	bool x2apic_ids;       /* KVM_CAP_X2APIC_API with 32-bit ids and without the broadcast quirk */
	bool readonly_memory;  /* KVM_CAP_READONLY_MEM */
	bool pre_fault;        /* KVM_CAP_PRE_FAULT_MEMORY: nested page tables, and Linux 6.11 */
	bool hardware;         /* false when KVM is a software backend, which cannot run a stock kernel */
	char backend[32]; /* "kvm_amd", "kvm_intel", "kvm_pvm", ...: the module that implements KVM, or "unknown" */
};

struct kvm_vm {
	int kvm_fd, vm_fd; /* owned; -1 when unset */
	struct kvm_limits limits;
	void *cpuid;     /* struct kvm_cpuid2: what KVM supports; heap, owned */
	size_t run_size; /* of each vcpu's struct kvm_run */
	uint32_t next_memslot;
};

/*
 * Opens the device (NULL means /dev/kvm), checks the API version and every capability that spmvm cannot do without, and
 * fills in limits. No VM yet. vm comes from kvm_init() and is released with kvm_release(), also after a failure.
 */
int kvm_open(struct kvm_vm *vm, const char *device, struct error *err);

/* Makes the VM. Its memslots come next, then kvm_create_irqchip(), then all else: see there. */
int kvm_create_vm(struct kvm_vm *vm, struct error *err);

/*
 * Makes the in-kernel irqchip (IOAPIC and local APICs; the 8259s are masked and get no routes, because a
 * hardware-reduced guest never programs them; no PIT), x2APIC ids of 32 bits where KVM has them. Before the first vcpu
 * and irqfd. A memslot that comes later works, but can take long (Linux 6.18: milliseconds).
 */
int kvm_create_irqchip(struct kvm_vm *vm, struct error *err);

/* Nothing open yet; the state before kvm_open() and after kvm_release(). */
void kvm_init(struct kvm_vm *vm);

/* Closes everything; takes a vm that is only initialised, half made or released before. Vcpus are released first. */
void kvm_release(struct kvm_vm *vm);

/*
 * Registers guest memory as the next memslot (KVM_SET_USER_MEMORY_REGION): gpa is what the guest sees at hva. Both
 * sides are multiples of 4 KiB. The caller keeps the memory mapped until kvm_release(). Fails when the slots are used
 * up or gpa overlaps a slot.
 */
int kvm_add_memslot(struct kvm_vm *vm, struct range gpa, void *hva, struct error *err);

/*
 * The same for memory that the guest can only read (KVM_MEM_READONLY, where limits.readonly_memory): a write is an exit of the MMIO kind, or an
 * ioeventfd's.
 */
int kvm_add_readonly_memslot(struct kvm_vm *vm, struct range gpa, void *hva, struct error *err);

/*
 * Every write to eventfd pulses GSI gsi (KVM_IRQFD): an edge, so the pin must be programmed as edge-triggered. GSIs
 * 0..23 are the IOAPIC's pins; others are refused. The caller keeps eventfd; closing it takes the route away.
 */
enum { KVM_GSI_COUNT = 24 };
int kvm_add_irqfd(struct kvm_vm *vm, int eventfd, uint32_t gsi, struct error *err);

/*
 * An eventfd that is signalled, without an exit to us, when the guest writes value with four bytes to the guest-physical address gpa
 * (KVM_IOEVENTFD). -EEXIST when another has it.
 */
int kvm_add_ioeventfd(struct kvm_vm *vm, int eventfd, uint64_t gpa, uint32_t value, struct error *err);

/*
 * The guest's kvmclock in nanoseconds (KVM_GET_CLOCK, KVM_SET_CLOCK): read while all vcpus stand still and set again
 * before they go on, it has stood still too.
 */
int kvm_get_clock(const struct kvm_vm *vm, uint64_t *nanoseconds, struct error *err);
int kvm_set_clock(const struct kvm_vm *vm, uint64_t nanoseconds, struct error *err);

/* -------------------------------------------------------------------------------------------------- vcpus */

/*
 * A processor's place, from which CPUID's topology leaves are made (Intel SDM vol. 3 §9.9; AMD64 APM vol. 3 E.4). One
 * package per NUMA node with CPUs.
 */
struct kvm_topology {
	uint32_t apic_id;
	unsigned core_bits;     /* bits of the APIC id that number the cores of a package */
	unsigned package_cores; /* cores in this package */
	unsigned cpus;          /* in the machine */
};

/* Registers of a vcpu that starts in long mode, or of a test's real-mode payload. */
struct kvm_start {
	bool long_mode;                    /* otherwise real mode with all segments at 0; entry, stack and rsi only */
	uint64_t entry, stack, page_table; /* rip, rsp, cr3 */
	uint64_t rsi;
	uint64_t gdt;       /* GPA of a GDT that starts with KVM_BOOT_GDT's entries */
	uint16_t gdt_limit; /* its size in bytes less one */
};

/*
 * The GDT of Linux's 64-bit boot protocol: null, null, __BOOT_CS at 0x10, __BOOT_DS at 0x18 (boot.rst, "64-bit boot
 * protocol").
 */
extern const uint64_t KVM_BOOT_GDT[4];

enum kvm_exit_kind {
	KVM_EXIT_KIND_IO,          /* port access: address, size, count, data, is_write */
	KVM_EXIT_KIND_MMIO,        /* memory access outside every memslot */
	KVM_EXIT_KIND_INTERRUPTED, /* a signal or immediate_exit: look at the stop flag */
	KVM_EXIT_KIND_HALTED,      /* only without an in-kernel irqchip */
	KVM_EXIT_KIND_SHUTDOWN,    /* triple fault */
	KVM_EXIT_KIND_RESET,       /* KVM_EXIT_SYSTEM_EVENT reset or shutdown */
	KVM_EXIT_KIND_CRASH        /* internal error, fail entry, unknown: text says which; nothing else can be done */
};

struct kvm_exit {
	enum kvm_exit_kind kind;
	uint64_t address;
	uint8_t *data;  /* into struct kvm_run; for a read the caller fills it before the next kvm_vcpu_run() */
	uint32_t size;  /* of one access in bytes: 1, 2 or 4 for IO; 1 to 8, odd ones too, for MMIO over a page's end */
	uint32_t count; /* string I/O: this many accesses of size, one behind the other in data */
	bool is_write;
	char text[160]; /* of KVM_EXIT_KIND_CRASH; empty otherwise */
};

struct kvm_vcpu {
	int fd;    /* owned; -1 when unset */
	void *run; /* struct kvm_run, mapped; owned */
	size_t run_size;
	uint32_t index;
};

/*
 * Makes vcpu index with the topology's APIC id (which is KVM's vcpu id too), its CPUID and MSRs. Vcpu 0 is the boot
 * processor and has APIC id 0; the others wait for INIT and SIPI in kvm_vcpu_run(). vcpu comes from kvm_vcpu_init();
 * release it, also after a failure, and before the VM.
 */
int kvm_vcpu_create(struct kvm_vcpu *vcpu, struct kvm_vm *vm, uint32_t index, const struct kvm_topology *topology,
		    struct error *err);

/* The state before kvm_vcpu_create() and after kvm_vcpu_release(), which takes a half-made vcpu too. */
void kvm_vcpu_init(struct kvm_vcpu *vcpu);
void kvm_vcpu_release(struct kvm_vcpu *vcpu);

/* Sets the registers of the boot processor. Before its thread runs. */
int kvm_vcpu_set_start(struct kvm_vcpu *vcpu, const struct kvm_start *start, struct error *err);

/*
 * Enters pages that the host has got already into KVM's page tables, so that the guest's first access to each is no exit (KVM_PRE_FAULT_MEMORY, api.rst
 * §4.143). With limits.pre_fault, gpa within one memslot and in whole pages, before the vcpu's thread runs. 0, or -errno with the pages from there on as they
 * were: nothing but time is lost.
 */
int kvm_vcpu_pre_fault(struct kvm_vcpu *vcpu, struct range gpa);

/*
 * Runs the guest until it exits. Called by the vcpu's own thread only. Returns 0 with *exit filled, or -errno with err
 * set (a fault of the host or of ours). EINTR and EAGAIN become KVM_EXIT_KIND_INTERRUPTED, at which a pending kick
 * counts as seen (immediate_exit is cleared). A read that was answered in exit->data takes effect with the next call,
 * also when that one is interrupted at once.
 */
int kvm_vcpu_run(struct kvm_vcpu *vcpu, struct kvm_exit *exit, struct error *err);

/*
 * Tells the guest, when it runs next, that the memory at gpa which it has just read is broken: a machine check, "action
 * required" (Intel SDM vol. 3B, "Architecturally Defined SRAR Errors"). -EHWPOISON (EXIT_STATUS_BACKING) when the
 * guest has not enabled them; one that is handling another gets a triple fault. Own thread, between two kvm_vcpu_run().
 */
int kvm_vcpu_machine_check(struct kvm_vcpu *vcpu, uint64_t gpa, struct error *err);

/*
 * The vcpu stood still for a while that was not the guest's: its watchdogs are told (KVM_KVMCLOCK_CTRL), where it has a
 * kvmclock. Own thread, between two kvm_vcpu_run().
 */
void kvm_vcpu_was_paused(const struct kvm_vcpu *vcpu);

/*
 * Makes the next kvm_vcpu_run() return at once with KVM_EXIT_KIND_INTERRUPTED. Any thread, async-signal-safe. For a
 * vcpu that may be inside the guest, also send its thread a signal that has a handler. The order that loses no stop:
 * set the stop flag, kick, signal; the vcpu's thread reads the flag after every KVM_EXIT_KIND_INTERRUPTED.
 */
void kvm_vcpu_kick(struct kvm_vcpu *vcpu);

/*
 * Appends the registers and the code bytes around rip (through KVM_TRANSLATE and read_guest, which returns 0 or -errno
 * for guest-physical bytes) as lines of text for a crash report. Own thread or after it has ended. What cannot be read
 * is said or shown as "--". After a triple fault, KVM on AMD has already reset the registers (svm.c,
 * shutdown_interception()); the text says so when it looks like that.
 */
struct buf;
void kvm_vcpu_dump(const struct kvm_vcpu *vcpu,
		   int (*read_guest)(void *context, uint64_t gpa, void *bytes, size_t size), void *context,
		   struct buf *text);

#endif
